"""The queue's last stage: subtitles are out, their summary is to come. Redis and files are real."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from models.demo import clips
from models.engines.scripted import ScriptedDetector, ScriptedEngine, ScriptedEngines, spoken
from pipeline.errors import BadCheckpoint, OutOfMemory, QueueUnavailable, TextEngineFailed
from pipeline.ffmpeg import Tools
from pipeline.source import take
from pipeline.summaries.job import STAYS
from pipeline.summaries.options import SummaryOptions
from pipeline.types import Job, Outcome, OutputOptions, Span, SpeechOptions
from tests.pipeline.summaries import scripted_engine
from tests.workers.test_tasks import OPTIONS, Desk
from workers.enqueue import entry_of
from workers.follow import outcome_of
from workers.ledger import job_id
from workers.progress import sentence
from workers.remedies import MemoryWaits, wait_for_memory
from workers.remote import expected
from workers.tasks import Workplace, drain

CLIP = clips()[0].path
SRT = "1\n00:00:01,000 --> 00:00:04,000\nThe ship lies in the harbour.\n"


class Engines(ScriptedEngines):
    """Hears, and lends a scripted language model or fails to; it counts both."""

    def __init__(self):
        super().__init__(
            ScriptedEngine(lambda window: spoken(window, self.said)),
            ScriptedDetector((Span(0.5, 4.0),)),
        )
        self.failure = None
        self.said = "The ship is here."
        self.heard = self.asked_for = 0

    @contextmanager
    def speech(self, options):
        self.heard += 1
        with super().speech(options) as engine:
            yield engine

    @contextmanager
    def text(self, llm):
        self.asked_for += 1
        if self.failure:
            raise self.failure
        yield scripted_engine.ScriptedEngine()


class Office(Desk):
    """A queue whose workers know summaries, too."""

    def __init__(self, server, folder):
        super().__init__(server, folder)
        self.engines = Engines()

    def ask(self, **output):
        job = self.job(**output)
        (accepted,) = self.ledger.accept([entry_of(job, "normal", 10.0)])
        return accepted.id

    def job(self, summary=SummaryOptions(llm="scripted"), **output):  # noqa: B008  - frozen
        output = OutputOptions(output_dir=self.folder / "out", **output)
        return Job(take(CLIP), SpeechOptions(language="en"), output, summary)

    def work(self, *stages):
        for stage in stages:
            drain(self.place(stage))

    def place(self, stage):
        return Workplace(
            stage,
            f"worker/{stage}",
            self.ledger,
            self.bell,
            self.store,
            Tools(),
            lambda note, heed: self.engines,
            OPTIONS,
        )

    def made(self):
        return sorted(path.name for path in (self.folder / "out").iterdir())


ALL = ("convert", "speech", "text")
WAITS = MemoryWaits()
STEM = CLIP.stem
MADE = sorted(
    f"{STEM}.{rest}" for rest in ("en.srt", "summary.md", "summary.json", "chapters.json")
)


@pytest.fixture
def office(redis_server, tmp_path):
    return Office(redis_server, tmp_path)


def test_a_summary_comes_after_the_subtitles(office):
    job = office.ask()
    office.work("convert", "speech")
    record = office.ledger.record(job)
    assert (record.state, record.stage) == ("queued", "text")
    assert [path.name for path in record.outputs] == office.made() == [f"{STEM}.en.srt"]
    assert office.messages("text") == 1
    office.work("text")
    record = office.ledger.record(job)
    assert (record.state, record.reason) == ("done", None)
    assert sorted(path.name for path in record.outputs) == office.made() == MADE
    assert record.duration_s > 0
    assert outcome_of(CLIP, record).state == "done"


def test_media_count_once_although_two_stages_are_done_with_them(office):
    job = office.ask()
    office.work("convert", "speech")
    heard_s = office.ledger.counts().media_done_s
    office.work("text")
    assert office.ledger.counts().media_done_s == heard_s
    assert heard_s == pytest.approx(office.ledger.record(job).duration_s, abs=0.001)


def test_jobs_without_the_wish_have_no_such_stage_and_other_wishes_are_other_jobs(office):
    plain, wish = office.job(summary=None), office.job()
    assert entry_of(plain, "normal", 1.0).stages == ("convert", "speech")
    assert entry_of(wish, "normal", 1.0).stages == ALL
    others = [
        replace(wish, summary=SummaryOptions(style=style)) for style in ("meeting", "lecture")
    ]
    assert len({job_id(one) for one in (plain, wish, *others)}) == 4
    assert job_id(wish) == job_id(office.job())


def test_a_worker_without_the_stage_leaves_it(office):
    job = office.ask()
    office.work("convert", "speech", "convert", "speech")
    assert office.ledger.record(job).stage == "text"
    assert office.engines.asked_for == 0


def test_a_summary_that_fails_for_good_leaves_the_subtitles_and_says_why(office):
    office.engines.failure = BadCheckpoint("model.gguf is broken.")
    job = office.ask()
    office.work(*ALL)
    record = office.ledger.record(job)
    assert (record.state, record.reason) == ("failed", "no summary: model.gguf is broken.")
    assert [path.name for path in record.outputs] == office.made() == [f"{STEM}.en.srt"]
    outcome = outcome_of(CLIP, record)
    assert (outcome.state, outcome.exit_code) == ("done", 3)
    assert sentence(outcome).count("no summary: ") == 1


def test_a_model_that_does_not_answer_is_asked_again_later(office):
    office.engines.failure = TextEngineFailed("It is down.")
    job = office.ask()
    office.work(*ALL)
    record = office.ledger.record(job)
    assert (record.state, record.stage, record.attempts) == ("queued", "text", 1)
    office.engines.failure = None
    office.ahead_s += OPTIONS.waits_s[0] + 1
    office.work(*ALL)
    assert office.ledger.record(job).state == "done"
    assert (office.engines.heard, office.made()) == (1, MADE)


def test_after_the_last_attempt_it_is_dead_and_the_subtitles_are_out(office):
    office.engines.failure = TextEngineFailed("It is down.")
    job = office.ask()
    for wait_s in (0, *OPTIONS.waits_s):
        office.ahead_s += wait_s + 1
        office.work(*ALL)
    record = office.ledger.record(job)
    assert (record.state, record.attempts) == ("dead", 3)
    outcome = outcome_of(CLIP, record)
    assert (outcome.state, outcome.summary_failure) == (
        *("done", "given up after 3 attempts: It is down."),
    )


def test_a_model_for_which_there_is_no_room_now_costs_no_attempt(office):
    office.engines.failure = OutOfMemory("It does not fit.")
    job = office.ask()
    office.work(*ALL)
    record = office.ledger.record(job)
    assert (record.state, record.attempts) == ("queued", 0)
    assert record.due_s is not None
    office.engines.failure = None
    office.ahead_s += OPTIONS.busy_s + 1
    office.work("text")
    assert office.ledger.record(job).state == "done"


def test_a_model_for_which_there_is_never_room_is_given_up(office):
    office.engines.failure = OutOfMemory("It does not fit.")
    job = office.ask()
    office.work(*ALL)
    for _ in range(WAITS.most + 2):  # and three attempts, the first of which was made
        assert office.ledger.record(job).state == "queued"
        office.ahead_s += max(*WAITS.waits_s, *OPTIONS.waits_s) + 1
        office.work("text")
    record = office.ledger.record(job)
    assert (record.state, record.attempts, record.error) == ("dead", 3, "OutOfMemory")
    assert record.reason == "given up after 3 attempts: no summary: It does not fit."
    office.ledger.retry([job])  # by hand, it is as patient as before
    office.work("text")
    assert office.ledger.record(job).attempts == 0


def test_while_others_hear_a_model_waits_longer_for_its_memory(office):
    office.engines.failure = OutOfMemory("It does not fit.")
    job = office.ask()
    office.work(*ALL)
    other = office.job(summary=None)
    other = replace(other, speech=replace(other.speech, initial_prompt="another job"))
    office.ledger.accept([replace(entry_of(other, "normal", 10.0), stages=("speech",))])
    claim = office.ledger.claim("speech", "box/speech-7", 1e6)
    for _ in range(3 * WAITS.most):
        office.ahead_s += max(WAITS.waits_s) + 1
        office.work("text")
    assert office.ledger.record(job).attempts == 0
    office.ledger.finish(claim, Outcome(CLIP, "done"))
    office.ahead_s += max(WAITS.waits_s) + 1
    office.work("text")
    assert office.ledger.record(job).attempts == 1


def test_waiting_for_memory_is_bounded_even_while_others_hear():
    waits = [wait_for_memory(n, WAITS, is_heard=True) for n in range(400)]
    assert waits[:3] == [10.0, 30.0, 60.0]
    assert waits[299:301] == [600.0, None]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_retry_by_hand_repeats_only_the_summary(office, overwrite):
    office.engines.failure = BadCheckpoint("model.gguf is broken.")
    job = office.ask(overwrite=overwrite)
    office.work(*ALL)
    office.store.clean(everything=True)
    srt = office.folder / "out" / f"{STEM}.en.srt"
    srt.write_text(SRT)  # and it stays so
    office.engines.failure = None
    assert office.ledger.retry([job]) == (job,)
    record = office.ledger.record(job)
    assert (record.state, record.stage, record.outputs) == ("queued", "text", (srt,))
    office.work(*ALL)
    assert office.ledger.record(job).state == "done"
    assert (office.engines.heard, office.made()) == (1, MADE)
    assert srt.read_text() == SRT


def test_a_summary_that_stays_though_others_words_were_heard_is_told(office):
    office.ask()
    office.work(*ALL)
    ours = office.folder / "out" / f"{STEM}.summary.md"
    ours.write_text("edited")
    office.store.clean(everything=True)
    office.engines.said = "The ship is gone."
    job = office.ask(overwrite=False, formats=("srt", "vtt"), name="{stem}.two.{format}")
    office.work(*ALL)
    record = office.ledger.record(job)
    assert record.state == "done"
    assert ours.read_text() == "edited"
    assert any(note.endswith(f"{STEM}.summary.md {STAYS}") for note in record.notes)


def test_what_failed_before_its_subtitles_is_retried_from_the_start(office):
    job = office.ask()
    office.ledger.cancel([job])
    office.ledger.retry([job])
    assert office.ledger.record(job).stage == "convert"


def test_a_job_that_is_asked_for_again_begins_from_the_start(office):
    """Whoever asks again may have deleted the subtitles."""
    office.engines.failure = BadCheckpoint("model.gguf is broken.")
    job = office.ask()
    office.work(*ALL)
    assert office.ask() == job
    assert office.ledger.record(job).stage == "convert"


def test_a_cancelled_summary_is_put_down_and_its_subtitles_stay(office):
    job = office.ask()
    office.work("convert", "speech")
    office.ledger.cancel([job])
    office.work("text")
    assert office.ledger.record(job).state == "cancelled"
    assert office.made() == [f"{STEM}.en.srt"]


def test_media_from_the_web_that_are_gone_by_now_are_summed_up_from_their_subtitles(office):
    srt = office.folder / "talk.en.srt"
    srt.write_text(SRT)
    output = OutputOptions(output_dir=office.folder)
    source = expected("https://example.com/a/talk.mp3")
    job = Job(source, SpeechOptions(), output, SummaryOptions(llm="scripted"))
    (accepted,) = office.ledger.accept([replace(entry_of(job, "normal", 1.0), stages=ALL[1:])])
    claim = office.ledger.claim("speech", "w", 60.0)
    office.ledger.advance(claim, None, Outcome(Path("talk.mp3"), "done", (srt,), duration_s=4.0))
    office.work("text")
    record = office.ledger.record(accepted.id)
    assert record.state == "done"
    assert "(talk.mp3#t=1)" in (office.folder / "talk.summary.md").read_text()


def test_an_outage_of_redis_costs_the_summary_no_attempt(office, monkeypatch):
    office.ask()
    office.work("convert", "speech")
    place = office.place("text")
    real, outages = office.ledger.record, iter([QueueUnavailable("away"), QueueUnavailable("away")])

    def record(job):
        if (outage := next(outages, None)) is not None:
            raise outage
        return real(job)

    monkeypatch.setattr(office.ledger, "record", record)
    drain(place)
    assert office.made() == MADE
