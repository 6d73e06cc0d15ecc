"""What a woken process does: the best job of its stage, then the next, until none is ready.

Goes in: a place to work. Comes out: jobs that are further, done, or back in the ledger with a
reason. Does not know: messages, who woke it, other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from threading import Event, local
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import OutOfMemory, QueueUnavailable, TranscribeError
from pipeline.run import prepare, run
from pipeline.source import display
from pipeline.summaries.job import summarise_job
from pipeline.types import Outcome
from workers.beat import Beat, BeatOptions, Stopped
from workers.log import job_log, process_log
from workers.remedies import MemoryWaits, remedy_for, wait_before_next, wait_for_memory
from workers.remote import address_of, brought, let_go, name_of
from workers.seats import Seat, Seats
from workers.summaries import NO_SUMMARY
from workers.web import WebOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.ffmpeg import Tools
    from pipeline.protocols import Engines, Listener
    from pipeline.store import Store
    from workers.app import Bell
    from workers.ledger import Ledger
    from workers.ledger_records import Claim, QueueStage, Verdict
    from workers.log import Log

T = TypeVar("T")
NewEngines = Callable[[Callable[[str], None], Callable[[], None]], "Engines"]  # note, heed

MEMORY_WISH_S = 60.0  # for so long a process that gets idle hears of it
WHY_PUT_DOWN: dict[Verdict, str] = {
    "give way": "gave way to a job that has waited longer",
    "stop": "the worker was stopped",
}


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """How long jobs are held, and when they are tried again."""

    beat: BeatOptions = field(default_factory=BeatOptions)
    waits_s: tuple[float, ...] = (30.0, 120.0, 600.0)  # after the first failure, the second, …
    busy_s: float = 10.0  # until a job is looked at again that another process is at
    memory: MemoryWaits = field(default_factory=MemoryWaits)
    web: WebOptions = field(default_factory=WebOptions)
    unreachable_s: float = 1.0  # between two tries to tell the ledger how a job ended
    side_by_side: int = 4  # jobs that one process hears at once, if they are short
    look_s: float = 1.0  # between two looks for another job while one is worked on


class Workplace:
    """What one process works with. Nothing is opened or loaded before it is used.

    `new_engines` is given who writes down notes, and what is to be called while an engine waits.
    """

    def __init__(
        self,
        stage: QueueStage,
        owner: str,
        ledger: Ledger,
        bell: Bell,
        store: Store,
        tools: Tools,
        new_engines: NewEngines,
        options: WorkOptions,
    ) -> None:
        self.stage = stage
        self.owner = owner
        self.ledger = ledger
        self.bell = bell
        self.store = store
        self.tools = tools
        self.options = options
        self._new_engines = new_engines
        self._here = local()  # each thread minds a claim of its own

    @cached_property
    def engines(self) -> Engines:
        """Kept for all jobs of this process."""
        return self._new_engines(process_log().info, self.heed)

    @contextmanager
    def minding(self, claim: Claim, log: Log) -> Iterator[Beat]:
        """Keep the claim for as long as the `with` lasts."""
        with Beat(self.ledger, claim, self.options.beat, log) as beat:
            self._here.beat = beat
            try:
                yield beat
            finally:
                self._here.beat = None

    def heed(self) -> None:
        """Raise Stopped if the job of this thread is to end."""
        if beat := getattr(self._here, "beat", None):
            beat.check()

    def rest(self) -> None:
        """Nothing is to be done: a language model goes, Whisper if a summary needs its memory."""
        with suppress(QueueUnavailable):
            if self.stage == "text" or (self.stage == "speech" and self.ledger.is_memory_asked()):
                self.engines.rest()

    def ask_for_memory(self) -> None:
        """Let those that have nothing to hear give theirs back; without an answer, it is not."""
        with suppress(QueueUnavailable):
            self.ledger.ask_for_memory(MEMORY_WISH_S)
        self.ring("speech")

    def ring(self, stage: QueueStage) -> None:
        """Wake another process; where that fails, a reaper will."""
        with suppress(QueueUnavailable):
            self.bell.ring(stage)

    def tell(self, change: Callable[[], T]) -> T:
        """Change the ledger, as soon as it can be reached."""
        while True:
            try:
                return change()
            except QueueUnavailable as error:
                process_log().warning("%s It is tried again.", error)
                Event().wait(self.options.unreachable_s)


def drain(place: Workplace) -> None:
    """Work on the best jobs of the stage until none is ready, or the worker is to stop.

    Short ones are heard side by side. One that was tried before is alone: whatever ended the other
    attempt, its neighbours are not to pay for it with theirs.
    """
    seats = Seats(place.options.side_by_side if place.stage == "speech" else 1)
    is_busy = True
    while is_busy:
        seats.wait_for_room()
        if claim := _next(place):
            place.ring(place.stage)  # another process may be idle, and another job ready
            seats.seat(partial(work_on, claim, place, seats), is_alone=claim.attempt > 1)
        else:
            is_busy = seats.wait_for_leave(place.options.look_s)
    place.rest()


def _next(place: Workplace) -> Claim | None:
    try:
        return place.ledger.claim(place.stage, place.owner, place.options.beat.lease_s)
    except QueueUnavailable as error:
        process_log().warning("%s", error)
        return None


def work_on(claim: Claim, place: Workplace, seats: Seats, seat: Seat) -> None:
    """One attempt at a job, however it ends."""
    log = job_log(claim)
    log.info("%s begins: %s", claim.stage, display(name_of(claim.job.source)))
    with place.minding(claim, log) as beat:
        try:
            seats.wait_for_turn(seat, beat.check)
            STEPS[claim.stage](claim, place, seats.metered(seat, beat), log)
        except Stopped as stopped:
            _put_down(claim, place, stopped.verdict, log)
        except Exception as error:  # noqa: BLE001  - one bad file must not stop the others
            _fail(claim, place, error, log)


def _convert(claim: Claim, place: Workplace, listener: Listener, log: Log) -> None:
    with brought(claim.job, place.store.home, place.options.web, place.heed) as job:
        length_s = prepare(job, place.store, place.engines, place.tools, listener)
    if place.tell(lambda: place.ledger.advance(claim, length_s or None)):
        log.info("converted: %.0f s of sound", length_s)
        place.ring("speech")
    else:
        log.warning("%s", LOST)


def _speech(claim: Claim, place: Workplace, listener: Listener, log: Log) -> None:
    with brought(claim.job, place.store.home, place.options.web, place.heed) as job:
        outcome = run(job, place.store, place.engines, place.tools, listener)
    if claim.job.summary:
        is_told = place.tell(lambda: place.ledger.advance(claim, None, outcome))
        place.ring("text")
    else:
        is_told = place.tell(lambda: place.ledger.finish(claim, outcome))
    if is_told:
        log.info("%s: %s", outcome.state, ", ".join(map(display, outcome.outputs)))
    else:
        log.warning("%s", LOST)
    if url := address_of(claim.job.source):
        let_go(url, place.store.home)


def _text(claim: Claim, place: Workplace, listener: Listener, log: Log) -> None:
    """Sum up what was heard. Its subtitles are out, whatever becomes of this."""
    known = place.tell(lambda: place.ledger.record(claim.id))
    outputs = known.outputs if known else ()
    kept = _Kept(listener)
    files = summarise_job(claim.job, outputs, place.store, place.engines, kept)
    told = Outcome(claim.job.source.path, "done", tuple(dict.fromkeys((*outputs, *files))))
    notes = tuple(dict.fromkeys((*(known.notes if known else ()), *kept.notes)))
    told = replace(told, duration_s=known.duration_s if known else None, notes=notes)
    if place.tell(lambda: place.ledger.finish(claim, told)):
        log.info("summed up: %s", ", ".join(map(display, files)))
    else:
        log.warning("%s", LOST)


class _Kept:
    """Passes everything on, and keeps the notes."""

    def __init__(self, listener: Listener) -> None:
        self.notes: list[str] = []
        self.stage, self.progress = listener.stage, listener.progress
        self._note = listener.note

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)
        self._note(text)


STEPS: dict[QueueStage, Callable[[Claim, Workplace, Listener, Log], None]] = {
    "convert": _convert,
    "speech": _speech,
    "text": _text,
}
LOST = "the job is another process's by now: what this one knows is not told"


def _put_down(claim: Claim, place: Workplace, verdict: Verdict, log: Log) -> None:
    """Give the job back, if it still is this process's to give."""
    reason = WHY_PUT_DOWN.get(verdict)
    if reason is None:
        log.info("put down: the job is %s", verdict)
        return
    place.tell(lambda: place.ledger.give_back(claim, reason))
    log.info("put down: %s", reason)
    place.ring(claim.stage)


def _fail(claim: Claim, place: Workplace, error: Exception, log: Log) -> None:
    """Tell why, and whether another attempt may do better."""
    remedy = remedy_for(error)
    later_s = place.options.busy_s if remedy == "later" else None
    if claim.stage == "text" and isinstance(error, OutOfMemory):
        place.ask_for_memory()
        later_s = wait_for_memory(claim.waits, place.options.memory, is_heard=_is_heard(place))
    if later_s is not None:
        place.tell(lambda: place.ledger.give_back(claim, str(error), later_s))
        log.info("put down: %s", error)
        return
    reason = str(error)
    if not isinstance(error, TranscribeError):
        log.error("internal error, please report it", exc_info=error)
        name = display(name_of(claim.job.source))
        reason = f"{name}: internal error, please report it ({error!r})."
    if claim.stage == "text":
        reason = f"{NO_SUMMARY}{reason}"
    wait_s = wait_before_next(claim.attempt, place.options.waits_s) if remedy == "again" else None
    if wait_s is None and (url := address_of(claim.job.source)):
        let_go(url, place.store.home)  # nobody will want it again
    place.tell(lambda: place.ledger.fail(claim, reason, type(error).__name__, wait_s))
    log.warning("failed: %s", reason)


def _is_heard(place: Workplace) -> bool:
    """Whether anything is heard now, or about to be: that takes memory."""
    ready = dict(place.tell(place.ledger.counts).ready)
    return ready["speech"] > 0 or any(
        "/speech" in owner for owner in place.tell(place.ledger.owners)
    )
