"""A claim is kept while its work goes on, and the work hears when it is to end."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Event

import pytest

from pipeline.errors import QueueUnavailable
from pipeline.types import Job, OutputOptions, Source, SpeechOptions
from workers.beat import Beat, BeatOptions, Stopped
from workers.ledger import Ledger
from workers.ledger_records import Entry
from workers.log import job_log

OPTIONS = BeatOptions(lease_s=60.0, beat_s=0.02, slice_s=600.0, grace_s=30.0)
PATIENCE_S = 20.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class AwayFor:
    """A ledger's beats, of which the first few find no Redis."""

    def __init__(self, ledger, beats, clock, beat_takes_s):
        self._ledger = ledger
        self._left = beats
        self._clock = clock
        self._takes_s = beat_takes_s

    def beat(self, *arguments):
        self._clock.now_s += self._takes_s
        if self._left > 0:
            self._left -= 1
            raise QueueUnavailable("Redis is away.")
        return self._ledger.beat(*arguments)


@pytest.fixture
def ledger(redis_server):
    return Ledger(redis_server.client)


@pytest.fixture
def claim(ledger, tmp_path):
    source = Source(tmp_path / "talk.wav", 1000, 1)
    ledger.accept([Entry(Job(source, SpeechOptions(), OutputOptions()), "normal", 10.0)])
    return ledger.claim("convert", "worker/1", OPTIONS.lease_s)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def beat(ledger, claim, clock):
    """One whose thread does not run: it beats when a stage begins, and only then."""
    return Beat(ledger, claim, OPTIONS, job_log(claim), clock)


def until(condition):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        Event().wait(0.01)


def is_stopped(beat):
    try:
        beat.check()
    except Stopped:
        return True
    return False


def test_a_stage_that_begins_is_in_the_ledger_at_once(ledger, claim, beat):
    beat.stage("convert", 100.0)
    record = ledger.record(claim.id)
    assert (record.pipeline_stage, record.done_s, record.total_s) == ("convert", 0.0, 100.0)


def test_progress_is_in_the_ledger_with_the_next_beat(ledger, claim):
    with Beat(ledger, claim, OPTIONS, job_log(claim)) as beat:
        beat.stage("convert", 100.0)
        beat.progress(42.0)
        until(lambda: ledger.record(claim.id).done_s == 42.0)


def test_what_an_earlier_run_heard_is_told_apart(ledger, claim, beat, clock):
    def known():
        beat.note("")  # nothing is told by it
        beat._tell()
        record = ledger.record(claim.id)
        return record.taken_up_s, record.done_s

    beat.stage("transcribe", 100.0)
    beat.progress(40.0)  # at once: an earlier run did that
    assert known() == (40.0, 40.0)
    beat.stage("transcribe", 100.0)
    clock.now_s += 9.0
    beat.progress(30.0)  # heard now
    assert known() == (0.0, 30.0)


def test_a_lease_does_not_run_out_while_the_work_goes_on(ledger, claim):
    short = replace(OPTIONS, lease_s=0.3)
    ledger.beat(claim, short.lease_s, None, 0.0, None, short.slice_s)
    began_s = ledger.record(claim.id).lease_until_s - short.lease_s
    with Beat(ledger, claim, short, job_log(claim)):
        until(lambda: ledger.record(claim.id).lease_until_s > began_s + 5 * short.lease_s)
        assert ledger.reap() == 0
    until(lambda: ledger.reap() == 1)


def test_two_beats_may_be_lost_before_a_lease_is():
    assert replace(OPTIONS, lease_s=3.0, beat_s=2.0).every_s == 1.0


def test_work_that_is_cancelled_is_stopped_by_its_next_report(ledger, claim):
    with Beat(ledger, claim, OPTIONS, job_log(claim)) as beat:
        ledger.cancel([claim.id])
        until(lambda: is_stopped(beat))
        with pytest.raises(Stopped) as stopped:
            beat.progress(1.0)
    assert stopped.value.verdict == "cancelled"


def test_work_whose_job_is_anothers_does_not_write(ledger, claim, beat):
    ledger.beat(claim, 0.001, None, 0, None, OPTIONS.slice_s)
    until(lambda: ledger.claim("convert", "other/1", OPTIONS.lease_s))
    with pytest.raises(Stopped) as stopped:
        beat.stage("write", None)
    assert stopped.value.verdict == "lost"


def test_work_gives_way_after_its_slice(ledger, claim, clock):
    quick = replace(OPTIONS, slice_s=0.0)
    short = Source(claim.job.source.path.with_name("short.wav"), 10, 1)
    ledger.accept([Entry(replace(claim.job, source=short), "high", 1.0)])
    beat = Beat(ledger, claim, quick, job_log(claim), clock)
    with pytest.raises(Stopped) as stopped:
        beat.stage("transcribe", 100.0)
    assert stopped.value.verdict == "give way"


def test_work_that_will_be_done_within_the_grace_may_stay(ledger, beat, clock):
    ledger.stop("worker", 60.0)
    beat.stage("transcribe", 100.0)  # the grace begins
    beat.progress(10.0)  # an earlier run came so far
    clock.now_s += 2.0
    beat.progress(20.0)  # 80 s are left, at 5 s in one: 16 s
    clock.now_s += 10.0
    beat.progress(90.0)


def test_work_that_will_not_is_stopped_at_once(ledger, beat, clock):
    ledger.stop("worker", 60.0)
    beat.stage("transcribe", 1000.0)
    beat.progress(10.0)
    clock.now_s += 2.0
    with pytest.raises(Stopped) as stopped:
        beat.progress(20.0)  # 980 s are left, at 5 s in one: 196 s
    assert stopped.value.verdict == "stop"


def test_work_that_tells_nothing_is_stopped_when_the_grace_ends(ledger, beat, clock):
    ledger.stop("worker", 60.0)
    beat.stage("language", None)
    clock.now_s += 29.0
    beat.check()
    clock.now_s += 2.0
    assert is_stopped(beat)


def test_work_that_is_about_to_write_is_not_stopped_any_more(ledger, beat, clock):
    ledger.stop("worker", 60.0)
    beat.stage("write", None)
    clock.now_s += 100.0
    beat.check()


def test_work_goes_on_while_redis_is_away(ledger, claim, clock):
    beat = Beat(AwayFor(ledger, 99, clock, 1.0), claim, OPTIONS, job_log(claim), clock)
    beat.stage("transcribe", 100.0)
    beat.progress(50.0)
    beat.stage("write", None)  # the lease has not run out


def test_nothing_is_written_when_the_lease_may_have_run_out_before_redis_is_back(
    ledger, claim, clock
):
    away = AwayFor(ledger, 5, clock, OPTIONS.lease_s)
    ledger.cancel([claim.id])
    beat = Beat(away, claim, OPTIONS, job_log(claim), clock)
    with pytest.raises(Stopped):
        beat.stage("write", None)
