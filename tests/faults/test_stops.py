"""Told to stop, a fleet finishes or gives back; frozen, it loses what it had and does no harm."""

from __future__ import annotations

import signal

import pytest

from tests.faults.oracle import processes_of
from tests.faults.processes import kill, until


def test_a_job_that_fits_into_the_grace_is_finished(yard):
    one = yard.ask("one.wav", 90, "pace=0.2")
    fleet = yard.start()
    yard.until_at(one, "transcribe")
    assert fleet.term() == 0
    yard.check()
    assert yard.ledger.record(one.id).attempts == 1


def test_a_job_that_does_not_is_given_back_without_an_attempt_and_goes_on_elsewhere(yard):
    one = yard.ask("one.wav", 400, "pace=0.3")
    fleet = yard.start(grace_s=1.0)
    yard.until_at(one, "transcribe", done_s=50)
    assert fleet.term() == 0
    record = yard.ledger.record(one.id)
    assert (record.state, record.attempts) == ("queued", 0)
    yard.start()
    yard.until_ended()
    yard.check()
    assert yard.ledger.record(one.id).attempts == 1
    assert "continued at" in yard.log()


@pytest.mark.slow
def test_a_stop_while_converting_leaves_no_ffmpeg(yard):
    one = yard.ask("one.wav", 200)
    fleet = yard.start(grace_s=0.5, convert_speed=10)
    yard.until_at(one, "convert", done_s=2)
    assert fleet.term() == 0
    assert processes_of(yard.home) == []
    assert list(yard.home.rglob("*.part")) == []
    yard.start()
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_a_second_signal_ends_the_grace(yard):
    one = yard.ask("one.wav", 2000, "pace=0.3")
    fleet = yard.start(grace_s=100.0)
    yard.until_at(one, "transcribe")
    fleet.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in yard.log(), "it does not stop")
    assert fleet.term() == 0
    assert processes_of(yard.home) == []
    yard.ledger.cancel([one.id])
    yard.asked.clear()  # nothing more is promised of it than that it is still there
    assert yard.ledger.record(one.id).state == "cancelled"


def test_a_cancelled_job_ends_within_seconds_and_the_next_one_begins(yard):
    one = yard.ask("one.wav", 2000, "pace=0.3", ends=("cancelled",), priority="high")
    yard.ask("two.wav", 30)
    yard.start()
    yard.until_at(one, "transcribe")
    assert yard.ledger.cancel([one.id]) == (one.id,)
    yard.until_ended()
    yard.check()


def test_a_frozen_worker_loses_its_job_to_another_machine_and_writes_nothing_when_it_wakes(yard):
    one = yard.ask("one.wav", 200, "pace=0.2")
    fleet = yard.start(home=yard.home.with_name("frozen"))
    yard.until_at(one, "transcribe", done_s=50)
    frozen = processes_of(fleet.home)
    for pid in frozen:
        kill(pid, signal.SIGSTOP)
    other = yard.start()
    yard.until_ended()
    done = one.srt.stat()
    for pid in frozen:
        kill(pid, signal.SIGCONT)
    until(lambda: "put down: the job is lost" in yard.log(), "nobody told the frozen one")
    assert fleet.term() == 0
    assert other.term() == 0
    yard.check()
    assert one.srt.stat().st_mtime_ns == done.st_mtime_ns
    assert yard.ledger.record(one.id).attempts == 2


@pytest.mark.slow
def test_a_frozen_worker_that_wakes_up_on_the_same_machine_shares_the_job_with_nobody(yard):
    one = yard.ask("one.wav", 200, "pace=0.2")
    fleet = yard.start()
    yard.until_at(one, "transcribe", done_s=50)
    frozen = fleet.workers()
    for pid in frozen:
        kill(pid, signal.SIGSTOP)
    yard.start()
    until(lambda: "in work elsewhere" in yard.log(), "nobody else came for it")
    for pid in frozen:
        kill(pid, signal.SIGCONT)
    yard.until_ended()
    yard.check()


def test_a_long_job_gives_way_to_a_short_one_and_is_done_later(yard):
    long = yard.ask("long.wav", 1200, "pace=0.1")
    yard.start(slice_s=1.0)
    yard.until_at(long, "transcribe", done_s=30)
    short = yard.ask("short.wav", 30)
    until(lambda: yard.ledger.record(short.id).state == "done", "the short one waits")
    assert yard.ledger.record(long.id).state != "done"
    yard.until_ended()
    yard.check()
    assert yard.ledger.record(long.id).attempts == 1


@pytest.mark.slow
def test_burst_ends_when_nothing_is_left(yard):
    for number in range(4):
        yard.ask(f"{number}.wav", 20 + number)
    fleet = yard.start(burst=True)
    assert fleet.process.wait(60) == 0
    yard.check()
