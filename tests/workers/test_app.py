"""The application that wakes workers."""

from __future__ import annotations

import json

import pytest

import workers.app
from pipeline.errors import QueueUnavailable
from workers.app import WAKE, Bell, new_app, queue_of
from workers.connection import connect
from workers.ledger_view import PREFIX


@pytest.fixture
def bell(redis_server):
    return Bell(new_app(redis_server.url), redis_server.client)


def messages(redis_server, stage):
    return redis_server.client.lrange(PREFIX + queue_of(stage), 0, -1)


def test_a_bell_leaves_one_message_that_names_the_stage_and_no_job(redis_server, bell):
    for _ in range(3):
        bell.ring("speech")
    (message,) = messages(redis_server, "speech")
    assert json.loads(message)["headers"]["task"] == WAKE
    assert messages(redis_server, "convert") == []


def test_all_keys_have_the_prefix(redis_server, bell):
    bell.ring("convert")
    assert all(key.startswith(PREFIX) for key in redis_server.client.scan_iter())


def test_without_redis_nobody_can_be_woken_and_that_is_said():
    url = "redis://127.0.0.1:1/0"
    with pytest.raises(QueueUnavailable):
        Bell(new_app(url), connect(url)).ring("speech")


def test_celerys_own_commands_find_the_application(monkeypatch):
    monkeypatch.setenv("TRANSCRIBE_REDIS_URL", "redis://127.0.0.1:7/3")
    app = workers.app.app
    assert app.conf.broker_url == "redis://127.0.0.1:7/3"
    assert WAKE in app.tasks


def test_messages_are_acknowledged_early_and_never_fetched_ahead():
    conf = new_app("redis://127.0.0.1:7/0").conf
    assert not conf.task_acks_late
    assert conf.worker_disable_prefetch
    assert conf.task_ignore_result
    assert conf.accept_content == ["json"]
