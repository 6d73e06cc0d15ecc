"""Waiting for jobs that other processes do; the tests play the workers between two looks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.types import Job, Outcome, OutputOptions, Source, SpeechOptions
from workers.follow import exit_code, follow
from workers.ledger import Ledger
from workers.ledger_records import Entry


class Heard:
    """A display and a listener that remember what they are told."""

    def __init__(self):
        self.told = []

    def listen(self, request):
        self.told.append(("listen", request.path.name))
        return self

    def show(self, request, outcome):
        self.told.append(("show", request.path.name, outcome.state))

    def stage(self, stage, total_s):
        self.told.append((stage, total_s))

    def progress(self, done_s):
        self.told.append(done_s)

    def note(self, text):
        self.told.append(text)


@pytest.fixture
def ledger(redis_server):
    return Ledger(redis_server.client, attempts=1)


@pytest.fixture
def accept(ledger):
    def accept(*names):
        jobs = [Job(Source(Path("/m", n), 9, 9), SpeechOptions(), OutputOptions()) for n in names]
        # the shorter ones come first, so the order is known
        entries = (Entry(job, "normal", 60.0 + number) for number, job in enumerate(jobs))
        accepted = ledger.accept(entries)
        return {one.id: Path(name) for one, name in zip(accepted, names, strict=True)}

    return accept


def wait(names, ledger, *steps):
    """Follow; before each further look, one step is taken."""
    shown, rest = Heard(), iter(steps)

    def pause():
        next(rest)()

    outcomes = list(follow(names, ledger, shown, pause))
    assert list(rest) == []
    return outcomes, shown.told


def test_progress_and_the_end_are_passed_on_as_if_the_work_were_done_here(ledger, accept):
    names = accept("a.mp3")

    def begin():
        nonlocal claim
        claim = ledger.claim("convert", "here", 60)
        ledger.beat(claim, 60, "convert", 10.0, 60.0, 600)

    def go_on():
        ledger.advance(claim, 60.0)

    def hear():
        nonlocal claim
        claim = ledger.claim("speech", "there", 60)
        ledger.beat(claim, 60, "transcribe", 30.0, 58.0, 600)

    def end():
        ledger.finish(claim, Outcome(Path("/m/a.mp3"), "done", (Path("/m/a.en.srt"),), "en", 60.0))

    claim = None
    outcomes, told = wait(names, ledger, begin, go_on, hear, end)
    (outcome,) = outcomes
    assert (outcome.state, outcome.outputs, outcome.duration_s) == (
        "done",
        (Path("/m/a.en.srt"),),
        60.0,
    )
    assert told == [
        ("listen", "a.mp3"),
        *(("convert", 60.0), 10.0),
        *(("transcribe", 58.0), 30.0),
        ("show", "a.mp3", "done"),
    ]


def test_each_job_is_told_when_it_ends_whatever_the_others_do(ledger, accept):
    names = accept("a.mp3", "b.mp3", "c.mp3")

    def fail_one():
        claim = ledger.claim("convert", "here", 60)
        ledger.fail(claim, "no audio", "NoAudio", None)

    def cancel_another():
        ledger.cancel([list(names)[2]])

    def lose_the_last():
        claim = ledger.claim("convert", "here", 60)
        ledger.fail(claim, "disk full", "StorageFailed", 30.0)

    outcomes, _ = wait(names, ledger, fail_one, cancel_another, lose_the_last)
    assert [(one.source.name, one.exit_code) for one in outcomes] == [
        ("a.mp3", 2),
        ("c.mp3", 130),
        ("b.mp3", 3),
    ]
    assert [one.state for one in outcomes] == ["failed"] * 3
    assert "transcribe retry" in outcomes[1].reason
    assert "disk full" in outcomes[2].reason


def test_what_was_skipped_is_told_as_such(ledger, accept):
    names = accept("a.mp3")
    claim = ledger.claim("convert", "here", 60)
    there = Outcome(Path("/m/a.mp3"), "skipped", (Path("/m/a.srt"),), reason="a.srt exists")
    ledger.finish(claim, there)
    (outcome,), _ = wait(names, ledger)
    assert (outcome.state, outcome.reason, outcome.exit_code) == ("skipped", "a.srt exists", 0)


def test_a_job_that_was_forgotten_is_not_waited_for(ledger, accept):
    names = accept("a.mp3")
    ledger.cancel(list(names))
    ledger.forget(list(names))
    (outcome,), _ = wait(names, ledger)
    assert (outcome.state, outcome.exit_code) == ("failed", 130)


def test_more_jobs_than_are_looked_at_at_once_all_come_to_their_end(ledger, accept):
    names = accept(*(f"{number}.mp3" for number in range(1200)))
    ledger.cancel(list(names))
    outcomes, _ = wait(names, ledger, *([lambda: None] * 2))
    assert len({one.source for one in outcomes}) == 1200


def test_a_class_of_error_has_its_exit_code_and_an_unknown_one_is_our_bug():
    names = ("NoAudio", "StorageFailed", "Busy", "Undelivered", "WorkerLost")
    assert [exit_code(name) for name in names] == [2, 3, 4, 3, 3]
    assert [exit_code(name) for name in (None, "ZeroDivisionError", "annotations")] == [1, 1, 1]
