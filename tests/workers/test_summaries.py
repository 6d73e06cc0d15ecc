"""Summaries after subtitles: nothing that happens to them touches what is out."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest

from models.demo import EPISODE
from models.engines import scripted as speech
from models.engines.scripted import ScriptedEngines
from pipeline.errors import Busy, NoSuchFile, OutOfMemory, TextEngineFailed
from pipeline.ffmpeg import Tools
from pipeline.source import take
from pipeline.store import Store
from pipeline.summaries.options import SummaryOptions
from pipeline.types import Job, Outcome, OutputOptions, SpeechOptions
from tests.pipeline.summaries.scripted_engine import ScriptedEngine
from workers.batch import Machinery, Request
from workers.interruption import Interruption
from workers.progress import sentence
from workers.summaries import summarised, with_summary

SRT = "1\n00:00:01,000 --> 00:00:04,000\nThe ship lies in the harbour.\n"


class Engines(ScriptedEngines):
    """Lends a scripted language model, or fails to."""

    def __init__(self):
        super().__init__(speech.ScriptedEngine(), speech.ScriptedDetector(()))
        self.failure = None
        self.on_loan = lambda: None
        self.rested = 0

    @contextmanager
    def text(self, llm):
        self.on_loan()
        if self.failure:
            raise self.failure
        yield ScriptedEngine()

    def rest(self):
        self.rested += 1


class Shown:
    """A display and a listener that remember."""

    def __init__(self):
        self.told = []

    def listen(self, request):
        self.told.append(("listen", request.path.name))
        return self

    def show(self, request, outcome):
        self.told.append(("show", request.path.name, sentence(outcome)))

    def stage(self, stage, total_s):
        self.told.append((stage, total_s))

    def progress(self, done_s):
        """Too often to be remembered."""

    def note(self, text):
        self.told.append(text)


@pytest.fixture
def engines():
    return Engines()


@pytest.fixture
def machinery(tmp_path, engines):
    return Machinery(Store(tmp_path / "home"), engines, Tools())


@pytest.fixture
def talked(tmp_path):
    """A file whose subtitles are out: its request and its outcome."""

    def talked(name):
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(EPISODE.read_bytes() + name.encode())
        srt = tmp_path / f"{name}.en.srt"
        srt.write_text(SRT)
        return Request(path), Outcome(path, "done", (srt,), "en", 188.0, 5.0, notes=("a note",))

    return talked


def job_of(request, **wish):
    options = SummaryOptions(llm="scripted", **wish)
    return Job(take(request.path), SpeechOptions(language="en"), OutputOptions(), options)


def test_an_outcome_gets_the_summarys_files(talked, machinery):
    request, outcome = talked("a")
    found = with_summary(outcome, job_of(request), machinery, Shown())
    assert found == replace(outcome, outputs=found.outputs)
    assert [path.name for path in found.outputs] == [
        *("a.en.srt", "a.summary.md", "a.summary.json", "a.chapters.json")
    ]


def test_without_a_wish_or_without_subtitles_nobody_is_asked(talked, machinery, engines):
    engines.failure = AssertionError("nobody was to be asked")
    request, outcome = talked("a")
    job = job_of(request)
    assert with_summary(outcome, replace(job, summary=None), machinery, Shown()) is outcome
    failed = replace(outcome, state="failed")
    assert with_summary(failed, job, machinery, Shown()) is failed


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        (TextEngineFailed("It is down."), "TextEngineFailed", 3),
        (OutOfMemory("It does not fit."), "OutOfMemory", 3),
        (RuntimeError("a screw is loose"), "TranscribeError", 1),
    ],
)
def test_whatever_happens_the_subtitles_are_out_and_the_reason_is_told(
    talked, machinery, engines, failure, error, code
):
    engines.failure = failure
    request, outcome = talked("a")
    found = with_summary(outcome, job_of(request), machinery, Shown())
    assert (found.state, found.outputs) == ("done", outcome.outputs)
    assert (found.error, found.exit_code) == (error, code)
    assert str(failure) in found.summary_failure
    assert f"no summary: {found.summary_failure}" in sentence(found)
    assert outcome.outputs[0].read_text() == SRT


def test_a_job_that_another_process_is_at_is_busy(talked, machinery):
    request, outcome = talked("a")
    job = job_of(request)
    with machinery.store.open_folder(job):
        found = with_summary(outcome, job, machinery, Shown())
    assert (found.error, found.exit_code) == ("Busy", Busy.exit_code)


def through(ended, machinery, shown, job=job_of):
    return list(summarised(ended, job, machinery, shown, Interruption()))


def test_one_file_after_the_other_is_shown_with_what_came_of_it(talked, machinery):
    ended, shown = [talked("a"), talked("b")], Shown()
    found = through(ended, machinery, shown)
    assert [request for request, _ in found] == [request for request, _ in ended]
    shows = [one for one in shown.told if one[0] in ("listen", "show")]
    assert [one[:2] for one in shows] == [
        *(("listen", "a.mp3"), ("show", "a.mp3"), ("listen", "b.mp3"), ("show", "b.mp3")),
    ]
    assert "a.summary.md" in shows[1][2]
    assert "srt" not in shows[1][2]  # that was told before


def test_a_summary_that_is_there_is_told_as_one_that_stays_like_subtitles(talked, machinery):
    ended, names = [talked("a")], ("a.summary.md", "a.summary.json", "a.chapters.json")
    made, known = Shown(), Shown()
    ((_, first),) = through(ended, machinery, made)
    ((_, second),) = through(ended, machinery, known)
    assert second == first
    files = ", ".join(str(ended[0][0].path.with_name(name)) for name in names)
    assert made.told[-1] == ("show", "a.mp3", files)
    again = f"skipped: {files} exist: --overwrite makes them again."
    assert known.told[-1] == ("show", "a.mp3", again)


def test_one_file_that_is_there_is_it_and_not_them(talked, machinery):
    def markdown(request):
        return job_of(request, formats=("md",))

    ended, shown = [talked("a")], Shown()
    for _ in range(2):
        through(ended, machinery, shown, markdown)
    assert "a.summary.md exists: --overwrite makes it again." in shown.told[-1][2]


@pytest.mark.parametrize("failure", [None, KeyboardInterrupt()])
def test_nobody_wants_a_model_after_the_last_file(talked, machinery, engines, failure):
    rested = []
    engines.on_loan = lambda: rested.append(engines.rested)
    engines.failure = failure
    with nullcontext() if failure is None else pytest.raises(KeyboardInterrupt):
        through([talked("a"), talked("b")], machinery, Shown())
    assert set(rested) == {0}
    assert engines.rested == 1


def test_a_failure_is_told_and_the_next_is_summed_up(talked, machinery, engines):
    failures = iter([TextEngineFailed("It is down."), None])
    engines.on_loan = lambda: setattr(engines, "failure", next(failures))
    shown = Shown()
    (_, first), (_, second) = through([talked("a"), talked("b")], machinery, shown)
    assert (first.exit_code, first.summary_failure) == (3, "It is down.")
    assert (second.exit_code, second.summary_failure) == (0, None)
    (told,) = (one for one in shown.told if one[:2] == ("show", "a.mp3"))
    assert "a.mp3 has no summary: It is down." in told[2]


def test_a_file_that_failed_is_passed_on(talked, machinery, engines):
    engines.failure = AssertionError("nobody was to be asked")
    request, outcome = talked("a")
    failed = replace(outcome, state="failed", exit_code=2)
    assert through([(request, failed)], machinery, Shown()) == [(request, failed)]


def test_media_that_are_gone_by_now_stop_no_other(talked, machinery):
    ended = [talked("a"), talked("b")]
    ended[0][0].path.unlink()
    (_, first), (_, second) = through(ended, machinery, Shown())
    assert (first.state, first.error) == ("done", NoSuchFile.__name__)
    assert "a.mp3 does not exist" in first.summary_failure
    assert len(second.outputs) == 4


def test_a_wish_to_stop_ends_it_between_two_questions(talked, machinery, engines):
    interruption = Interruption()

    def stop():
        interruption._wanted = True

    engines.on_loan = stop
    with pytest.raises(KeyboardInterrupt):
        list(summarised([talked("a")], job_of, machinery, Shown(), interruption))
