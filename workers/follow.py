"""Jobs that somebody waits for, seen from afar.

Goes in: ids, and the ledger. Comes out: outcomes as they come, as if the work were done here; the
display is told of the progress meanwhile. Does not know: who works, what the display looks like.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import errors
from pipeline.errors import MachineError, TranscribeError
from pipeline.source import display
from pipeline.types import Outcome
from workers.batch import Request
from workers.session import INTERRUPTED
from workers.summaries import NO_SUMMARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.protocols import Listener
    from pipeline.types import Stage
    from workers.ledger import Ledger
    from workers.ledger_records import Record
    from workers.progress import Display

_OTHER_ERRORS: dict[str, type[TranscribeError]] = {
    "WorkerLost": MachineError,  # every worker that tried died of it
}
AT_ONCE = 500  # jobs that are looked at between two pauses: some tens of milliseconds


@dataclass(slots=True, eq=False)
class _Followed:
    """One job on its way."""

    name: Path
    request: Request | None = None  # since it is running, and so on display
    listener: Listener | None = None
    stage: Stage | None = None

    def tell(self, record: Record) -> None:
        """Pass on how far it is."""
        if record.pipeline_stage is None or self.listener is None:
            return
        if record.pipeline_stage != self.stage:
            self.stage = record.pipeline_stage
            self.listener.stage(record.pipeline_stage, record.total_s)
        self.listener.progress(record.done_s)


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that was followed to its end."""

    id: str
    outcome: Outcome
    was_forgotten: bool  # the ledger knows nothing of it any more


class Follower:
    """Follows jobs from when they are added until they have ended."""

    def __init__(self, ledger: Ledger, shown: Display) -> None:
        self._ledger = ledger
        self._shown = shown
        self._jobs: dict[str, _Followed] = {}
        self._turns: deque[str] = deque()  # ids, in the order in which they are looked at

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job_id: str, name: Path) -> None:
        """Follow one more; `name` is for people."""
        if job_id not in self._jobs:
            self._turns.append(job_id)
        self._jobs[job_id] = _Followed(name)

    def ended(self) -> Iterator[Ended]:
        """Look at the next few, and give those that have ended. Raises QueueUnavailable."""
        for _ in range(min(len(self._turns), AT_ONCE)):
            job_id = self._turns[0]
            record = self._ledger.record(job_id)
            self._turns.popleft()
            job = self._jobs[job_id]
            if record and record.state in ("queued", "running"):
                self._turns.append(job_id)
                if record.state == "running":
                    self._show(job)
                    job.tell(record)
                continue
            del self._jobs[job_id]
            outcome = outcome_of(job.name, record)
            self._shown.show(self._show(job), outcome)
            yield Ended(job_id, outcome, was_forgotten=record is None)

    def _show(self, job: _Followed) -> Request:
        if job.request is None:
            job.request = Request(job.name)
            job.listener = self._shown.listen(job.request)
        return job.request


def follow(
    names: dict[str, Path], ledger: Ledger, shown: Display, pause: Callable[[], None]
) -> Iterator[Outcome]:
    """The outcome of every job in the order of their ends; `names` are by id, for people.

    `pause` is called between two looks at the ledger. Raises QueueUnavailable.
    """
    follower = Follower(ledger, shown)
    for job_id, name in names.items():
        follower.add(job_id, name)
    while len(follower):
        for job in follower.ended():
            yield job.outcome
        if len(follower):
            pause()


def outcome_of(name: Path, record: Record | None) -> Outcome:
    """How a job ended, as `run` would tell it; None stands for one that was forgotten."""
    if record is None:
        reason = f"{display(name)} was taken out of the queue by somebody: enqueue it again."
        return Outcome(name, "failed", reason=reason, exit_code=INTERRUPTED)
    if record.state == "cancelled":
        reason = f"{display(name)} was cancelled: transcribe retry {record.id} takes it up again."
        return Outcome(name, "failed", reason=reason, exit_code=INTERRUPTED)
    if record.state != "done":
        code = exit_code(record.error)
        if record.stage == "text" and record.outputs:
            return Outcome(
                name,
                "done",
                record.outputs,
                duration_s=record.duration_s,
                error=record.error,
                exit_code=code,
                notes=record.notes,
                summary_failure=(record.reason or "").replace(NO_SUMMARY, "", 1),
            )
        return Outcome(name, "failed", reason=record.reason, error=record.error, exit_code=code)
    return Outcome(
        name,
        "skipped" if record.reason else "done",
        record.outputs,
        duration_s=record.duration_s,
        took_s=record.took_s,
        reason=record.reason,
        notes=record.notes,
    )


def exit_code(error: str | None) -> int:
    """The exit code of a class of error that the ledger knows by its name."""
    name = error or ""
    kind: object = _OTHER_ERRORS.get(name, getattr(errors, name, None))
    if isinstance(kind, type) and issubclass(kind, TranscribeError):
        return kind.exit_code
    return TranscribeError.exit_code
