"""Whatever Redis does, short of forgetting what it has acknowledged: every job ends once."""

from __future__ import annotations

import pytest

from tests.faults.processes import until
from workers.app import WAKE, new_app, queue_of


def test_a_restart_of_redis_in_the_midst_of_work_costs_nothing(yard):
    one = yard.ask("one.wav", 200, "pace=0.2")
    yard.ask("two.wav", 30)
    yard.start()
    yard.until_at(one, "transcribe", done_s=50)
    yard.redis.kill()
    until(lambda: "The work goes on" in yard.log(), "nobody noticed")
    yard.redis.start()
    yard.until_ended()
    yard.check()


def test_wiping_what_celery_keeps_loses_nothing(yard):
    jobs = [yard.ask(f"{number}.wav", 40 + number, "pace=0.3") for number in range(5)]
    yard.start(processes=2)
    yard.until_at(jobs[0], "transcribe", "convert")
    for _ in range(20):
        for pattern in ("wake:*", "_kombu*", "unacked*"):
            for key in yard.redis.client.keys(f"transcribe:{pattern}"):
                yard.redis.client.delete(key)
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_messages_that_come_twice_and_for_nothing_are_harmless(yard):
    jobs = [yard.ask(f"{number}.wav", 40 + number, "pace=0.1") for number in range(5)]
    app = new_app(yard.redis.url)
    for stage in ("convert", "speech") * 20:
        app.send_task(WAKE, (stage,), queue=queue_of(stage))
    yard.start(processes=2)
    yard.until_ended()
    yard.check()
    assert all(yard.ledger.record(one.id).attempts == 1 for one in jobs)


@pytest.mark.slow
def test_connections_that_are_reset_double_nothing(yard):
    jobs = [yard.ask(f"{number}.wav", 60 + number, "pace=0.2") for number in range(3)]
    yard.start(processes=2)
    for one in jobs:
        yard.until_at(one, "transcribe")
        yard.redis.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    yard.until_ended()
    yard.check()
    assert all(yard.ledger.record(one.id).attempts == 1 for one in jobs)


@pytest.mark.parametrize(
    ("setting", "bad", "good", "noticed"),
    [
        ("maxmemory", "1", "0", "maxmemory"),
        pytest.param("min-replicas-to-write", "1", "0", "The work goes on", marks=pytest.mark.slow),
    ],
    ids=["out of memory", "read-only"],
)
def test_a_redis_that_takes_nothing_for_a_while_is_waited_for(yard, setting, bad, good, noticed):
    one = yard.ask("one.wav", 300, "pace=0.3")
    yard.ask("two.wav", 30)
    yard.start()
    yard.until_at(one, "transcribe")
    yard.redis.client.config_set(setting, bad)
    until(lambda: noticed in yard.log(), "nobody noticed")
    yard.redis.client.config_set(setting, good)
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_a_redis_that_is_slower_than_the_lease_doubles_nothing(yard):
    one = yard.ask("one.wav", 200, "pace=0.2")
    yard.start(processes=2)
    yard.until_at(one, "transcribe")
    yard.redis.client.execute_command("CLIENT", "PAUSE", "3000", "ALL")
    yard.until_ended()
    yard.check()
