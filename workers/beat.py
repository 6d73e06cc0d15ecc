"""One claimed job's pulse: its lease is kept, its progress told, its end heard of.

Goes in: what the stages report. Comes out: beats in the ledger, and `Stopped` where the work is to
end. Does not know: what the work is, nor what becomes of it then.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import TYPE_CHECKING

from pipeline.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from pipeline.types import Stage
    from workers.ledger import Ledger
    from workers.ledger_records import Claim, Verdict
    from workers.log import Log


AT_ONCE_S = 0.5  # after the beginning of a stage: what is done by then was so before


@dataclass(frozen=True, slots=True)
class BeatOptions:
    """How long a job is whose."""

    lease_s: float = 60.0  # unheard of for so long, it is another process's
    beat_s: float = 2.0  # how often it is heard of, and how soon a wish to stop is seen
    slice_s: float = 600.0  # after so long it gives way to one that has more right
    grace_s: float = 30.0  # it may go on for so long when the worker is to stop

    @property
    def every_s(self) -> float:
        """Between two beats; two may be lost before a lease is."""
        return min(self.beat_s, self.lease_s / 3)


class Stopped(KeyboardInterrupt):  # no stage may take it for a failure
    """The work is to end now, unfinished."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class _At:
    """How far a stage is."""

    stage: Stage | None = None
    total_s: float | None = None
    done_s: float = 0.0
    began_at_s: float = 0.0  # done when it began; an earlier run did that
    began_s: float = 0.0  # on the clock

    def rest_s(self, now_s: float) -> float:
        """How long it will take yet; 0 where nothing tells."""
        gained_s = self.done_s - self.began_at_s
        if self.total_s is None or gained_s <= 0:
            return 0.0
        return (self.total_s - self.done_s) / gained_s * (now_s - self.began_s)


class Beat:
    """A `pipeline.protocols.Listener`, with a thread that beats as long as the `with` lasts."""

    def __init__(
        self,
        ledger: Ledger,
        claim: Claim,
        options: BeatOptions,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._claim = claim
        self._options = options
        self._log = log
        self._clock = clock
        self._at = _At()
        self._verdict: Verdict = "go on"
        self._heard_s = clock()  # when the ledger last knew that the job is ours
        self._leave_s = 0.0  # when the grace ends; counts once the worker is to stop
        self._ended = Event()

    def __enter__(self) -> Self:
        Thread(target=self._keep, name="beat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """A beat on its way does no harm: it is of a claim that the ledger knows to be over."""
        self._ended.set()

    # ── what the stages report ───────────────────────────────────────────────────────────────

    def stage(self, stage: Stage, total_s: float | None) -> None:
        """Told to the ledger at once. Raises Stopped."""
        self._at = _At(stage, total_s, began_s=self._clock())
        if stage == "write":
            self._ensure_ours()
        else:
            self._tell()
        self.check()

    def progress(self, done_s: float) -> None:
        """Told with the next beat. Raises Stopped."""
        at = self._at
        is_first = at.done_s == 0.0 and at.stage == "transcribe"
        if is_first and self._clock() - at.began_s < AT_ONCE_S:
            at = replace(at, began_at_s=done_s)
        self._at = replace(at, done_s=done_s)
        self.check()

    def note(self, text: str) -> None:
        """Written to the log. Raises Stopped."""
        self._log.info("%s", text)
        self.check()

    def check(self) -> None:
        """Raise Stopped if the work is to end, also for whoever waits without a report."""
        verdict = self._verdict
        if verdict == "go on" or (verdict == "stop" and self._may_stay()):
            return
        if self._at.stage == "write" and verdict in ("stop", "give way"):
            return  # a moment later it is done
        raise Stopped(verdict)

    def _may_stay(self) -> bool:
        """Whether the job can be done before the grace ends."""
        now_s = self._clock()
        return now_s < self._leave_s and now_s + self._at.rest_s(now_s) <= self._leave_s

    # ── what the ledger says ─────────────────────────────────────────────────────────────────

    def _keep(self) -> None:
        while not self._ended.wait(self._options.every_s):
            self._tell()

    def _tell(self) -> bool:
        """Beat once; whether the ledger could be reached. Work goes on without it."""
        at, options, now_s = self._at, self._options, self._clock()
        try:
            verdict = self._ledger.beat(
                *(self._claim, options.lease_s, at.stage, at.done_s, at.total_s),
                *(options.slice_s, at.began_at_s),
            )
        except QueueUnavailable as error:
            self._log.warning("%s The work goes on.", error)
            return False
        self._heard_s = now_s
        if verdict == "stop" and self._verdict != "stop":
            self._leave_s = now_s + options.grace_s
        if verdict != "go on":
            self._verdict = verdict
        return True

    def _ensure_ours(self) -> None:
        """Before anything is published: whoever was frozen may have lost the job meanwhile."""
        while not self._tell() and self._clock() - self._heard_s >= self._options.lease_s:
            self._ended.wait(self._options.every_s)
