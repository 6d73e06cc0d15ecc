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

    request: Request
    listener: Listener
    stage: Stage | None = None

    def tell(self, record: Record) -> None:
        """Pass on how far it is."""
        if record.pipeline_stage is None:
            return
        if record.pipeline_stage != self.stage:
            self.stage = record.pipeline_stage
            self.listener.stage(record.pipeline_stage, record.total_s)
        self.listener.progress(record.done_s)


def follow(
    names: dict[str, Path], ledger: Ledger, shown: Display, pause: Callable[[], None]
) -> Iterator[Outcome]:
    """The outcome of every job in the order of their ends; `names` are by id, for people.

    `pause` is called between two looks at the ledger. Raises QueueUnavailable.
    """
    waiting, followed = deque(names), dict[str, _Followed]()
    while waiting:
        for _ in range(min(len(waiting), AT_ONCE)):
            job_id = waiting.popleft()
            record = ledger.record(job_id)
            if record and record.state == "queued":
                waiting.append(job_id)
                continue
            job = followed.pop(job_id, None) or _begin(names[job_id], shown)
            if record and record.state == "running":
                job.tell(record)
                followed[job_id] = job
                waiting.append(job_id)
                continue
            outcome = outcome_of(job.request.path, record)
            shown.show(job.request, outcome)
            yield outcome
        if waiting:
            pause()


def _begin(name: Path, shown: Display) -> _Followed:
    request = Request(name)
    return _Followed(request, shown.listen(request))


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
