"""What a person sees."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.types import Outcome
from workers.batch import Request
from workers.options import DisplayOptions
from workers.progress import Lines, Pace, Silence, clock, displayed, sentence

A, B = Request(Path("a.mp3")), Request(Path("b.mp3"))


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=40)


def lines(console):
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3723, "1:02:03")]
)
def test_times_are_written_as_on_a_player(seconds, shown):
    assert clock(seconds) == shown


def test_pace_tells_percent_speed_and_time_left():
    now = Clock()
    pace = Pace(200.0, now)
    assert pace.text(0.0).strip() == "0%"
    now.now_s = 2.0
    assert pace.text(50.0).split("  ") == [" 25%", "25x", "0:06 left"]


def test_a_continued_stage_does_not_boast_of_what_was_done_before():
    now = Clock()
    pace = Pace(200.0, now)
    pace.text(100.0)
    now.now_s = 10.0
    assert pace.text(120.0).split("  ") == [" 60%", "2x", "0:40 left"]


def test_of_an_unknown_length_no_percent_is_made_up():
    now = Clock()
    pace = Pace(None, now)
    pace.text(0.0)
    now.now_s = 1.0
    assert pace.text(3.0) == "3x"


def test_a_done_file_tells_where_and_how_fast():
    done = Outcome(Path("/m/a.mp3"), "done", (Path("/m/a.en.srt"),), duration_s=200, took_s=10)
    assert sentence(done) == "/m/a.en.srt  (3:20 in 0:10, 20x)"


def test_plain_lines_are_few_and_a_long_stage_speaks_every_half_minute(console):
    now = Clock()
    display = Lines(console, now, verbose=False)
    listener = display.listen(A)
    listener.note("audio stream 1: English")
    listener.stage("transcribe", 300.0)
    for second in range(100):
        now.now_s = float(second)
        listener.progress(second * 3.0)
    display.show(A, Outcome(Path("a.mp3"), "failed", reason="a.mp3: broken"))
    shown = lines(console)
    assert shown[0] == "a.mp3: audio stream 1: English"
    assert [line.split()[2] for line in shown[1:-1]] == ["30%", "60%", "90%"]
    assert shown[-1] == "failed: a.mp3: broken"


def test_a_traceback_is_only_for_those_who_ask(console):
    for verbose in (False, True):
        Lines(console, Clock(), verbose=verbose).listen(Request(Path("a"))).note("Trace\nback")
    assert lines(console) == ["a: Trace", "back"]


def test_silence_tells_failures_only(console):
    display = Silence(console)
    listener = display.listen(A)
    listener.stage("convert", 1.0)
    listener.progress(1.0)
    listener.note("something")
    display.show(A, Outcome(Path("a.mp3"), "done"))
    display.show(B, Outcome(Path("b.mp3"), "failed", reason="b.mp3: broken"))
    assert lines(console) == ["b.mp3: broken"]


def test_silence_tells_of_a_summary_that_failed_too(console):
    outcome = Outcome(Path("a.mp3"), "done", summary_failure="it is down.", exit_code=3)
    Silence(console).show(A, outcome)
    assert lines(console) == ["a.mp3 has no summary: it is down."]


def test_on_a_terminal_lasting_lines_stand_above_a_bar():
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with displayed(console, DisplayOptions(quiet=False, verbose=False, as_json=False)) as display:
        odd = Request(Path("a [red].mp3"))
        listener = display.listen(odd)
        listener.stage("transcribe", 10.0)
        listener.progress(5.0)
        listener.note("a note")
        display.show(odd, Outcome(odd.path, "skipped", reason="exists"))
    shown = console.file.getvalue()
    assert "a [red].mp3" in shown
    assert "a note" in shown
    assert "skipped: exists" in shown
