"""Versions side by side on one queue, and messages that nobody here would send."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.faults.processes import until
from tests.faults.yard import ROOT
from workers.app import WAKE, new_app, queue_of
from workers.ledger_records import FORMAT

SLOW = pytest.mark.slow


@pytest.fixture
def newer(tmp_path):
    """The whole program in its next version, whose jobs have a newer format."""
    root = tmp_path / "newer"
    ignored = shutil.ignore_patterns("demo", "__pycache__")
    for package in ("pipeline", "workers", "models"):
        shutil.copytree(ROOT / package, root / package, ignore=ignored)
    records = root / "workers" / "ledger_records.py"
    text, line = records.read_text(), f"\nFORMAT = {FORMAT} "
    assert line in text
    records.write_text(text.replace(line, f"\nFORMAT = {FORMAT + 1} "))
    return root


@pytest.fixture
def ask_newly(yard, monkeypatch):
    """Ask for a job as the next version would."""

    def ask(*arguments, **wishes):
        with monkeypatch.context() as patched:
            patched.setattr("workers.ledger_view.FORMAT", FORMAT + 1)
            return yard.ask(*arguments, **wishes)

    return ask


@pytest.mark.slow
def test_a_job_of_a_newer_version_is_left_alone_until_a_newer_worker_comes(yard, newer, ask_newly):
    new = ask_newly("new.wav", 60, priority="high")
    old = yard.ask("old.wav", 30)
    older = yard.start()
    until(lambda: yard.ledger.record(old.id).state == "done", "the older job waits")
    until(lambda: "1 jobs are of a newer version: update me" in yard.log(), "nobody says so")
    counts = yard.ledger.counts()
    assert (counts.newer, yard.ledger.record(new.id).attempts) == (1, 0)
    yard.ask("another old.wav", 31)
    yard.start(root=newer)
    yard.until_ended()
    assert older.term() == 0
    yard.check()
    assert yard.ledger.record(new.id).attempts == 1


@SLOW
def test_an_older_and_a_newer_worker_share_a_queue(yard, newer, ask_newly):
    for number in range(4):
        yard.ask(f"old {number}.wav", 60 + number, "pace=0.2")
        ask_newly(f"new {number}.wav", 80 + number, "pace=0.2")
    yard.start()
    yard.start(root=newer)
    yard.until_ended()
    yard.check()
    assert all(yard.ledger.record(one.id).attempts == 1 for one in yard.asked)


@SLOW
def test_an_older_worker_that_is_replaced_in_mid_job_by_a_newer_one(yard, newer):
    one = yard.ask("one.wav", 400, "pace=0.3")
    older = yard.start(grace_s=1.0)
    yard.until_at(one, "transcribe", done_s=50)
    yard.start(root=newer)
    assert older.term() == 0
    yard.until_ended()
    yard.check()
    assert "continued at" in yard.log()


@SLOW
def test_a_burst_of_an_older_worker_ends_although_newer_jobs_wait(yard, ask_newly):
    ask_newly("new.wav", 60)
    yard.ask("old.wav", 30)
    fleet = yard.start(burst=True)
    assert fleet.process.wait(60) == 0
    assert [yard.ledger.record(one.id).state for one in yard.asked] == ["queued", "done"]


ODD_TASKS = (
    {"name": WAKE, "args": ()},
    {"name": WAKE, "args": ("speech", "more", 3)},
    {"name": WAKE, "kwargs": {"stage": "speech", "job": "0123"}},
    {"name": "transcribe.transcribe_file", "args": ("/media/one.wav",)},
)
ODD_TEXTS = ("", "no json", "[]", "{}", '{"body": 7}', json.dumps({"properties": {}}))


@SLOW
def test_messages_of_other_versions_and_of_nobody_stop_no_worker(yard):
    one = yard.ask("one.wav", 200, "pace=0.2")
    yard.start()
    yard.until_at(one, "transcribe")
    app = new_app(yard.redis.url)
    for task in ODD_TASKS:
        for stage in ("convert", "speech"):
            app.send_task(queue=queue_of(stage), **task)
    for text in ODD_TEXTS:
        for stage in ("convert", "speech"):
            yard.redis.client.lpush(f"transcribe:{queue_of(stage)}", text)
    app.close()
    yard.ask("two.wav", 30)
    yard.until_ended()
    yard.check()
    assert yard.ledger.record(one.id).attempts == 1
