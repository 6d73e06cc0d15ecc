"""Lines that people and programs can read, with the job in them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from pipeline.types import Job, OutputOptions, Source, SpeechOptions
from workers.ledger_records import Claim
from workers.log import LogOptions, install, job_log, process_log
from workers.remote import expected


@pytest.fixture
def claim(tmp_path):
    source = Source(tmp_path / "talk.wav", 1, 1)
    job = Job(source, SpeechOptions(), OutputOptions())
    return Claim("0123456789abcdef01234567", job, "speech", 7, 2, 3)


@pytest.fixture(autouse=True)
def own_logging():
    """What a test installs is gone afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_for_people_names_the_job_by_the_beginning_of_its_id(claim, capsys):
    install(LogOptions(), "speech")
    job_log(claim).info("done: %s", "talk.srt")
    assert capsys.readouterr().err.rstrip().endswith("speech 0123456789 done: talk.srt")


def test_a_file_from_the_web_has_its_address_for_a_name(claim, capsys):
    url = "https://media.example/talk.mp3"
    far = replace(claim, job=replace(claim.job, source=expected(url)))
    install(LogOptions(as_json=True), "convert")
    job_log(far).info("converted")
    assert json.loads(capsys.readouterr().err)["file"] == url


def test_a_warning_says_that_it_is_one(claim, capsys):
    install(LogOptions(), "speech")
    job_log(claim).warning("no room")
    assert "speech 0123456789 warning: no room" in capsys.readouterr().err


def test_a_line_for_programs_holds_all_there_is_to_know_of_the_job(claim, capsys):
    install(LogOptions(as_json=True), "speech")
    job_log(claim).info("done: %s", "talk.srt")
    event = json.loads(capsys.readouterr().err)
    assert event["job"] == claim.id
    assert (event["stage"], event["attempt"]) == ("speech", 2)
    assert event["file"] == str(claim.job.source.path)
    assert (event["level"], event["process"], event["message"]) == (
        "info",
        "speech",
        "done: talk.srt",
    )
    assert event["time"].endswith("+00:00")


def test_a_failure_of_ours_has_its_traceback_in_the_same_event(capsys):
    install(LogOptions(as_json=True), "speech")
    process_log().error("internal error", exc_info=RuntimeError("a screw is loose"))
    assert "a screw is loose" in json.loads(capsys.readouterr().err)["message"]


def test_quiet_leaves_failures_only(capsys):
    install(LogOptions(quiet=True), "worker")
    process_log().info("busy")
    process_log().warning("broken")
    assert "busy" not in (said := capsys.readouterr().err)
    assert "broken" in said


def test_celerys_own_words_are_for_those_who_want_to_know_more(capsys):
    for options in (LogOptions(), LogOptions(verbose=True)):
        install(options, "worker")
        logging.getLogger("celery.worker").info("task received %s", options.verbose)
    assert capsys.readouterr().err.count("task received") == 1
