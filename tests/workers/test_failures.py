"""What has failed, here and in the queue."""

from __future__ import annotations

import time

from pipeline.folder import Failure
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, Outcome, OutputOptions, SpeechOptions
from workers.failures import failures
from workers.ledger import Ledger
from workers.ledger_records import Entry


def job_of(path, text):
    path.write_text(text)
    return Job(take(path), SpeechOptions(), OutputOptions())


def fail_in_queue(ledger, job):
    ledger.accept([Entry(job, "normal", 1.0)])
    claim = ledger.claim("convert", "worker/1", 60.0)
    reason = f"{job.source.path.name} is bad"
    ledger.finish(
        claim, Outcome(job.source.path, "failed", reason=reason, error="NotMedia", exit_code=2)
    )


def test_each_file_is_told_once_the_latest_first(tmp_path, redis_server):
    store, ledger = Store(tmp_path / "home"), Ledger(redis_server.client)
    here, there = (job_of(tmp_path / name, "text") for name in ("here.mp3", "there.mp3"))
    store.note_failure(here, Failure("it is bad", "NotMedia", 2, time.time() - 60))
    for job in (here, there):
        fail_in_queue(ledger, job)
    assert [(one.source.name, one.reason, one.exit_code) for one in failures(store, ledger, 9)] == [
        ("there.mp3", "there.mp3 is bad", 2),
        ("here.mp3", "it is bad", 2),
    ]
    assert len(failures(store, ledger, 1)) == 1


def test_a_file_that_was_replaced_since_has_not_failed(tmp_path, redis_server):
    store, ledger = Store(tmp_path / "home"), Ledger(redis_server.client)
    fail_in_queue(ledger, job_of(tmp_path / "talk.mp3", "text"))
    (tmp_path / "talk.mp3").write_text("other text")
    assert failures(store, ledger, 9) == ()


def test_a_file_that_only_other_machines_see_is_told(tmp_path, redis_server):
    store, ledger = Store(tmp_path / "home"), Ledger(redis_server.client)
    fail_in_queue(ledger, job_of(tmp_path / "talk.mp3", "text"))
    (tmp_path / "talk.mp3").unlink()
    assert [one.source.name for one in failures(store, ledger, 9)] == ["talk.mp3"]
