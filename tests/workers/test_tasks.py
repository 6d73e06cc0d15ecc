"""What a woken process does with the jobs of its stage; Redis, ffmpeg and files are real."""

from __future__ import annotations

import inspect
from threading import Barrier, BrokenBarrierError

import pytest

from models.demo import EPISODE, clips
from models.engines.scripted import ScriptedDetector, ScriptedEngine, ScriptedEngines
from pipeline import errors
from pipeline.errors import OutOfMemory, QueueUnavailable, TranscribeError
from pipeline.ffmpeg import Tools
from pipeline.source import take
from pipeline.store import Store
from pipeline.summaries.options import SummaryOptions
from pipeline.types import Job, OutputOptions, Span, SpeechOptions
from workers.app import Bell, new_app, queue_of
from workers.enqueue import entry_of
from workers.ledger import Ledger
from workers.ledger_records import Entry
from workers.ledger_view import PREFIX
from workers.remedies import REMEDIES, remedy_for, wait_before_next
from workers.tasks import WorkOptions, Workplace, drain

OPTIONS = WorkOptions(waits_s=(30.0, 120.0, 600.0), busy_s=10.0, unreachable_s=0.0)
EVERY_ERROR = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, TranscribeError)
]


class Desk:
    """A queue, a home, and processes that are functions."""

    def __init__(self, server, folder):
        self.folder = folder
        self.redis = server.client
        self.ahead_s = 0.0  # of Redis' clock
        self.ledger = Ledger(server.client, ahead_s=lambda: self.ahead_s)
        self.bell = Bell(new_app(server.url), server.client)
        self.store = Store(folder / "home")
        self.engine = ScriptedEngine()

    def ask(self, path, number=0, priority="normal"):
        output = OutputOptions(output_dir=self.folder / str(number))
        job = Job(take(path), SpeechOptions(language="en"), output)
        (accepted,) = self.ledger.accept([Entry(job, priority, 10.0)])
        return accepted.id

    def work(self, stage, engine=None):
        """Wake a process of the stage."""
        engines = ScriptedEngines(engine or self.engine, ScriptedDetector((Span(1.0, 20.0),)))
        place = Workplace(
            stage,
            f"worker/{stage}",
            self.ledger,
            self.bell,
            self.store,
            Tools(),
            lambda note, heed: engines,
            OPTIONS,
        )
        drain(place)

    def messages(self, stage):
        return self.redis.llen(PREFIX + queue_of(stage))


@pytest.fixture
def desk(redis_server, tmp_path):
    return Desk(redis_server, tmp_path)


@pytest.fixture
def text_file(tmp_path):
    path = tmp_path / "notes.mp3"
    path.write_text("no sound, but words")
    return path


def test_a_job_is_converted_then_heard_then_done(desk):
    job = desk.ask(EPISODE)
    desk.work("convert")
    record = desk.ledger.record(job)
    assert (record.state, record.stage) == ("queued", "speech")
    assert 30 < record.length_s < 600  # of the episode, no longer an estimate
    desk.work("speech")
    record = desk.ledger.record(job)
    assert record.state == "done"
    assert record.outputs == (desk.folder / "0" / "episode.en.srt",)
    assert "Hello." in record.outputs[0].read_text()


def test_hearing_needs_no_folder_of_whoever_converted(desk):
    job = desk.ask(EPISODE)
    desk.work("convert")
    desk.store = Store(desk.folder / "another-home")
    desk.work("speech")
    assert desk.ledger.record(job).state == "done"


def test_a_converted_job_wakes_those_who_hear(desk):
    desk.ask(EPISODE)
    desk.work("convert")
    assert desk.messages("speech") == 1


def test_whoever_takes_a_job_wakes_the_next_process_with_one_message(desk):
    for number in range(3):
        desk.ask(EPISODE, number)
    desk.work("convert")
    assert desk.messages("convert") == 1


def test_all_ready_jobs_are_worked_on_the_urgent_ones_first(desk, text_file):
    late = desk.ask(EPISODE, 1, "low")
    first = desk.ask(text_file, 2, "high")
    desk.work("convert")
    assert desk.ledger.record(late).stage == "speech"
    ended_first = desk.ledger.record(first)
    assert ended_first.ended_s < desk.ledger.history(late)[-1].at_s


def test_a_file_at_fault_fails_for_good_and_stops_no_other(desk, text_file):
    bad = desk.ask(text_file, 1, "high")
    good = desk.ask(EPISODE, 2)
    desk.work("convert")
    record = desk.ledger.record(bad)
    assert (record.state, record.error) == ("failed", "NotMedia")
    assert "notes.mp3" in record.reason
    assert desk.ledger.record(good).stage == "speech"


def test_a_bug_is_told_as_ours_and_tried_again_until_the_attempts_are_used_up(desk):
    job = desk.ask(EPISODE)
    desk.work("convert")
    for wait_s in OPTIONS.waits_s:
        desk.work("speech", ScriptedEngine(failure=(0, RuntimeError("a screw is loose"))))
        desk.ahead_s += wait_s + 1.0
    record = desk.ledger.record(job)
    assert (record.state, record.attempts, record.error) == ("dead", 3, "RuntimeError")
    assert "internal error, please report it" in record.reason
    assert "a screw is loose" in record.reason


def test_the_machines_fault_is_waited_for(desk):
    job = desk.ask(EPISODE)
    desk.work("convert")
    desk.work("speech", ScriptedEngine(failure=(0, errors.OutOfMemory("too small"))))
    desk.ahead_s = 29.0
    desk.work("speech")
    assert desk.ledger.record(job).state == "queued"
    desk.ahead_s = 31.0
    desk.work("speech")
    assert desk.ledger.record(job).state == "done"


def test_a_file_that_another_process_is_at_is_left_for_later_without_an_attempt(desk):
    job = desk.ask(EPISODE)
    with desk.store.open_folder(desk.ledger.record(job).job):
        desk.work("convert")
    record = desk.ledger.record(job)
    assert (record.state, record.stage, record.attempts) == ("queued", "convert", 0)
    assert record.due_s is not None
    assert "is in work elsewhere" in record.reason  # the page says why it waits
    desk.ahead_s = 11.0
    desk.work("convert")
    assert desk.ledger.record(job).stage == "speech"


def test_a_worker_that_is_to_stop_takes_no_job(desk):
    job = desk.ask(EPISODE)
    desk.ledger.stop("worker", 60.0)
    desk.work("convert")
    assert desk.ledger.record(job).attempts == 0


def test_a_job_that_is_cancelled_meanwhile_is_put_down(desk):
    job = desk.ask(EPISODE)
    desk.work("convert")

    def cancelled(window):
        desk.ledger.cancel([job])
        return ()

    desk.work("speech", ScriptedEngine(cancelled))
    assert desk.ledger.record(job).state == "cancelled"
    assert not list(desk.folder.glob("0/*.srt"))


class Together(ScriptedEngine):
    """Hears nothing before so many files are there."""

    def __init__(self, files, on_hear=lambda: None):
        super().__init__()
        self._all = Barrier(files)
        self._on_hear = on_hear

    def transcribe(self, clips):
        self._all.wait(20.0)
        self._on_hear()
        yield from super().transcribe(clips)


@pytest.fixture
def two(desk):
    """Two short files that are converted."""
    output = OutputOptions(output_dir=desk.folder)
    jobs = [Job(take(one.path), SpeechOptions(language="en"), output) for one in clips()[:2]]
    accepted = desk.ledger.accept([Entry(job, "normal", 9.0) for job in jobs])
    desk.work("convert")
    return [one.id for one in accepted]


def test_short_files_are_heard_side_by_side(desk, two):
    desk.work("speech", Together(2))
    assert [desk.ledger.record(job).state for job in two] == ["done", "done"]


def test_one_of_several_is_cancelled_without_the_others(desk, two):
    desk.work("speech", Together(2, lambda: desk.ledger.cancel(two[:1])))
    assert [desk.ledger.record(job).state for job in two] == ["cancelled", "done"]


def test_one_of_several_fails_without_the_others(desk, two):
    desk.work("speech", ScriptedEngine(failure=(0, errors.BadCheckpoint("it is broken"))))
    assert sorted(desk.ledger.record(job).state for job in two) == ["done", "failed"]


def test_one_that_was_tried_before_is_heard_alone(desk, two):
    """Its neighbours could die of it until their attempts are used up."""
    claim = desk.ledger.claim("speech", "gone", 0.001)
    desk.ahead_s = 1.0
    desk.ledger.reap()
    desk.ahead_s = 30.0
    desk.ledger.reap()
    alone = []

    class Lonely(ScriptedEngine):
        """Waits for company for a moment."""

        both = Barrier(2)

        def transcribe(self, clips):
            try:
                self.both.wait(0.5)
            except BrokenBarrierError:
                alone.append(True)
                self.both.reset()
            yield from super().transcribe(clips)

    desk.work("speech", Lonely())
    assert desk.ledger.record(claim.id).attempts == 2
    assert [desk.ledger.record(job).state for job in two] == ["done", "done"]
    assert alone == [True, True]


def test_what_happened_is_told_as_soon_as_redis_is_back(desk):
    answers = iter([QueueUnavailable("away"), QueueUnavailable("away"), True])

    def change():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    place = Workplace(
        "speech", "w", desk.ledger, desk.bell, desk.store, Tools(), lambda *_: None, OPTIONS
    )
    assert place.tell(change) is True


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_every_error_has_a_remedy_that_fits_its_exit_code(kind):
    remedy = remedy_for(kind("…"))
    expected = {2: "never", 3: "again", 4: "later", 1: "again"}[kind.exit_code]
    assert remedy == ("never" if kind is errors.BadCheckpoint else expected)


def test_whatever_else_is_raised_has_a_remedy():
    assert REMEDIES[-1][0] is Exception
    assert remedy_for(MemoryError()) == "again"


def test_waits_grow_and_then_stay():
    waits = [wait_before_next(attempt, OPTIONS.waits_s) for attempt in (1, 2, 3, 4, 9)]
    assert waits == [30.0, 120.0, 600.0, 600.0, 600.0]
    assert wait_before_next(1, (5.0,)) == 5.0


class Crowded(ScriptedEngines):
    """Has no room for a language model until whoever hears has given back what it holds."""

    def __init__(self):
        super().__init__(ScriptedEngine(), ScriptedDetector((Span(1.0, 20.0),)))
        self.rested = 0

    def text(self, llm):
        raise OutOfMemory("no room")

    def rest(self):
        self.rested += 1


def test_who_has_nothing_to_hear_gives_memory_back_to_who_is_to_sum_up(desk):
    crowded = Crowded()

    def work(stage):
        ledger, bell, store = desk.ledger, desk.bell, desk.store
        lends = lambda note, heed: crowded  # noqa: E731
        drain(Workplace(stage, f"w/{stage}", ledger, bell, store, Tools(), lends, OPTIONS))

    output = OutputOptions(output_dir=desk.folder)
    job = Job(take(EPISODE), SpeechOptions(language="en"), output, SummaryOptions())
    (accepted,) = desk.ledger.accept([entry_of(job, "normal", 10.0)])
    work("convert")
    work("speech")
    assert (crowded.rested, desk.messages("text")) == (0, 1)
    rung = desk.messages("speech")
    work("text")
    record = desk.ledger.record(accepted.id)
    assert (record.state, record.attempts, record.reason) == ("queued", 0, "no room")
    assert [path.name for path in record.outputs] == ["episode.en.srt"]
    assert desk.messages("speech") >= rung
    assert crowded.rested == 1, "an idle text worker keeps no language model"
    work("speech")
    assert crowded.rested == 2
