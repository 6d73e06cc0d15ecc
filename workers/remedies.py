"""What to do about a job that failed, and when.

Goes in: an exception, how often the job was tried and how often it waited. Comes out: whether, and
after how long, another try may do better. Does not know: queues, what was tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import BadCheckpoint, Busy, InputError, MachineError

Remedy = Literal["later", "again", "never"]

REMEDIES: tuple[tuple[type[Exception], Remedy], ...] = (  # the first that fits; order matters
    (Busy, "later"),  # nothing failed: another process is at the same file
    (InputError, "never"),  # the file stays what it is
    (BadCheckpoint, "never"),  # and so does a model that somebody named
    (MachineError, "again"),  # disks get free, drivers come back, another machine may have more
    (Exception, "again"),  # our bug; what depends on chance may pass
)


@dataclass(frozen=True, slots=True)
class MemoryWaits:
    """How a model waits for memory that others have, longer each time, before an attempt counts."""

    waits_s: tuple[float, ...] = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
    most: int = 5  # nine minutes, where nobody hears
    most_while_heard: int = 300  # two days: an archive is heard before it is summed up


def remedy_for(error: Exception) -> Remedy:
    """What the table says."""
    return next(remedy for kind, remedy in REMEDIES if isinstance(error, kind))


def wait_before_next(attempt: int, waits_s: tuple[float, ...]) -> float:
    """Seconds until the next attempt after this one, which is counted from 1."""
    return waits_s[min(attempt, len(waits_s)) - 1]


def wait_for_memory(waits: int, options: MemoryWaits, *, is_heard: bool) -> float | None:
    """Seconds until a job that waited so often looks for memory again; None: it is no use."""
    if waits >= (options.most_while_heard if is_heard else options.most):
        return None
    return options.waits_s[min(waits, len(options.waits_s) - 1)]
