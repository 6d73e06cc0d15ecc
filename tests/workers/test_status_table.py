"""What people see of the queue."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.types import Job, OutputOptions, Source, SpeechOptions
from workers.ledger_records import Counts, Line, Record
from workers.remote import expected
from workers.status_table import (
    Forecast,
    JobStatus,
    Pace,
    Status,
    forecast,
    pace,
    show,
    show_changes,
    totals,
)

NOW_S = 10_000.0
JOB = Job(Source(Path("/media/talk.mp3"), 9, 9), SpeechOptions(), OutputOptions())
QUEUED = Record(
    id="0123456789abcdef01234567",
    job=JOB,
    state="queued",
    stage="convert",
    priority="normal",
    attempts=0,
    owner=None,
    queued_s=NOW_S - 200,
    started_s=None,
    ended_s=None,
    lease_until_s=None,
    due_s=None,
    pipeline_stage=None,
    done_s=0.0,
    total_s=None,
    length_s=600.0,
    reason=None,
    error=None,
    outputs=(),
    duration_s=None,
    took_s=None,
    notes=(),
)
RUNNING = replace(
    QUEUED,
    state="running",
    stage="speech",
    attempts=1,
    owner="box-1/speech",
    started_s=NOW_S - 10,
    pipeline_stage="transcribe",
    done_s=100.0,
    total_s=600.0,
)
FAILED = replace(
    QUEUED, state="failed", attempts=1, reason="talk.mp3 has no audio", error="NoAudio"
)
COUNTS = Counts(
    by_state=(("queued", 2), ("running", 1), ("done", 3), ("failed", 0)),
    ready=(("convert", 2),),
    newer=0,
    paused=False,
    media_done_s=7200.0,
    work_done_s=720.0,
    oldest_ready_s=NOW_S - 65,
    now_s=NOW_S,
    waiting_media_s=1200.0,
)


def status(counts=COUNTS, *jobs):
    return Status(counts, forecast(counts, tuple(one for one in jobs if one.owner)), jobs)


def shown(what, **options):
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        show(what, console, as_json=False, **options)
    return captured.get().splitlines()


# ── when all will be done ────────────────────────────────────────────────────────────────────


def test_the_backlog_is_divided_by_the_speed_of_all_that_work():
    one = forecast(COUNTS, (RUNNING,))
    assert (one.media_s, one.takes_s) == (1700.0, 170.0)  # 500 s of the running one are left
    assert one.reason == "one at a time, at 10.0x"
    two = forecast(COUNTS, (RUNNING, RUNNING))
    assert (two.media_s, two.takes_s) == (2200.0, 110.0)
    assert two.reason == "2 at once, at 20.0x"


def test_what_is_being_converted_is_still_to_be_heard():
    converting = replace(RUNNING, stage="convert", pipeline_stage="convert", done_s=600.0)
    assert forecast(COUNTS, (converting,)).media_s == 1800.0


@pytest.mark.parametrize(
    ("counts", "running", "why"),
    [
        (replace(COUNTS, paused=True), (RUNNING,), "transcribe resume"),
        (COUNTS, (), "transcribe worker"),
        (replace(COUNTS, media_done_s=0.0, work_done_s=0.0), (RUNNING,), "no job is done yet"),
    ],
)
def test_where_nobody_can_tell_when_the_reason_is_told(counts, running, why):
    found = forecast(counts, running)
    assert found.takes_s is None
    assert why in found.reason


def test_an_empty_queue_takes_no_time():
    assert forecast(replace(COUNTS, waiting_media_s=0.0), ()) == Forecast(0, 0, "nothing waits")


def test_a_running_job_has_a_speed_and_a_rest_once_it_has_begun():
    assert pace(RUNNING, NOW_S) == Pace(speed=10.0, left_s=50.0)
    assert pace(replace(RUNNING, total_s=None), NOW_S) == Pace(speed=10.0, left_s=None)
    assert pace(replace(RUNNING, done_s=0.0), NOW_S) is None
    assert pace(RUNNING, RUNNING.started_s) is None
    assert pace(QUEUED, NOW_S) is None


# ── tables and lines ─────────────────────────────────────────────────────────────────────────


def test_what_an_earlier_attempt_heard_makes_no_speed():
    resumed = replace(
        RUNNING, started_s=NOW_S - 60, stage_began_s=NOW_S - 10, taken_up_s=60.0, done_s=100.0
    )
    assert pace(resumed, NOW_S) == Pace(4.0, 125.0)
    assert pace(replace(resumed, done_s=60.0), NOW_S) is None


def test_a_row_tells_where_a_job_is_and_how_fast_it_goes():
    title, running, queued, failed, *_ = shown(status(COUNTS, RUNNING, QUEUED, FAILED))
    assert title.split() == (
        ["id", "file", "state", "stage", "done", "speed", "left", "worker", "tries", "why"]
    )
    assert running.split() == [
        *("0123456789", "talk.mp3", "running", "transcribe", "17%", "10.0x", "0:50"),
        *("box-1/speech", "1"),
    ]
    assert queued.split() == ["0123456789", "talk.mp3", "queued", "convert"]
    assert failed.split() == (
        ["0123456789", "talk.mp3", "failed", "convert", "1", "talk.mp3", "has", "no", "audio"]
    )


def test_a_job_that_waits_for_another_attempt_says_how_long_and_why():
    waits = replace(QUEUED, attempts=1, due_s=NOW_S + 25, reason="disk full", error="StorageFailed")
    assert shown(status(COUNTS, waits))[1].endswith("again in 0:25: disk full")


def test_under_the_table_stands_what_is_to_be_known_of_all():
    assert totals(status(COUNTS, RUNNING)) == (
        "2 queued, 1 running, 3 done",
        "done: 2:00:00 of media in 12:00 of work, 10.0x",
        "to do: about 28:20 of media, done in 2:50 (one at a time, at 10.0x)",
        "the longest wait by now: 1:05",
    )


def test_a_pause_and_jobs_of_a_newer_version_are_told():
    lines = totals(status(replace(COUNTS, paused=True, newer=2)))
    assert "Paused: nothing new is begun until transcribe resume." in lines
    assert any(line.startswith("2 jobs are of a newer version") for line in lines)


def test_an_empty_queue_says_so():
    nothing = replace(
        COUNTS,
        by_state=(("queued", 0),),
        media_done_s=0.0,
        oldest_ready_s=None,
        waiting_media_s=0.0,
    )
    assert shown(status(nothing)) == ["The queue is empty."]


def test_names_from_strangers_are_harmless_and_long_ones_are_cut():
    evil = replace(JOB, source=Source(Path("/m/[red]\x1b[2J" + "x" * 300), 9, 9))
    lines = shown(status(COUNTS, replace(QUEUED, job=evil)))
    assert all("\x1b" not in line for line in lines)
    assert lines[1].startswith("0123456789  [red]\\x1b[2Jxxx")
    assert max(map(len, lines)) <= 120


def test_one_job_is_shown_with_all_that_happened_to_it():
    done = replace(
        RUNNING,
        state="done",
        owner=None,
        ended_s=NOW_S,
        outputs=(Path("/media/talk.en.srt"),),
        notes=("no speech was found",),
    )
    history = (Line(NOW_S - 200, "accepted"), Line(NOW_S, "done"))
    lines = shown(JobStatus(done, history, NOW_S))
    facts = dict(line.split(maxsplit=1) for line in lines[: lines.index("")])
    assert facts["job"] == done.id
    assert facts["file"] == "/media/talk.mp3"
    assert facts["state"] == "done, normal priority"
    assert facts["output"] == "/media/talk.en.srt"
    assert facts["note"] == "no speech was found"
    assert [line.split("  ")[1] for line in lines[-2:]] == ["accepted", "done"]


def test_a_running_job_is_shown_with_how_far_it_is():
    lines = shown(JobStatus(RUNNING, (), NOW_S))
    assert "stage      speech: transcribe 17%, 0:50 left" in lines


def test_a_remote_job_is_shown_with_its_address():
    url = "https://media.example/shows/talk.mp3?a=b"
    remote = replace(QUEUED, job=replace(JOB, source=expected(url)))
    assert f"file       {url}" in shown(JobStatus(remote, (), NOW_S))
    assert "talk.mp3" in shown(status(COUNTS, remote))[1].split()


# ── again and again, and for programs ────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_is_shown_again_until_somebody_stops_it(is_terminal):
    console = Console(width=120, force_terminal=is_terminal)
    looks = iter((status(COUNTS, QUEUED), status(COUNTS, RUNNING), status(COUNTS, FAILED)))
    pauses = iter((None, None))

    def pause():
        if next(pauses, "over") == "over":
            raise KeyboardInterrupt

    with console.capture() as captured, pytest.raises(KeyboardInterrupt):
        show_changes(lambda: next(looks), console, pause, as_json=False)
    text = captured.get()
    for word in ("queued", "transcribe", "no audio"):
        assert word in text


def test_programs_get_the_same_in_json(capsys):
    show(status(COUNTS, RUNNING), Console(), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["jobs"][0]["job"]["source"]["path"] == "/media/talk.mp3"
    assert found["jobs"][0]["pipeline_stage"] == "transcribe"
    assert found["forecast"]["takes_s"] == 170.0
    assert found["counts"]["by_state"][0] == ["queued", 2]
    show(JobStatus(RUNNING, (Line(1.0, "accepted"),), NOW_S), Console(), as_json=True)
    assert json.loads(capsys.readouterr().out)["history"] == [{"at_s": 1.0, "what": "accepted"}]
