"""When a file that came to nothing is tried again.

Goes in: the class of the error, by name, and how often it was tried. Comes out: seconds, or never.
Does not know: files, clocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import errors
from pipeline.errors import MachineError


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after how long."""

    first_s: float
    most_s: float  # each wait is twice the one before, up to this
    tries: int | None = None  # in all, the first included; None: for ever


# A file that does not change fails the same way each time; what is the machine's fault passes.
_BY_NAME = {
    "Busy": Retry(30, 30),  # another process is at it
    "SourceChanged": Retry(0, 60),  # as soon as it is complete again
    "NoSuchFile": Retry(0, 60),  # the same, when it is back
    "Unreadable": Retry(300, 3600),  # permissions are given, shares come back
    "ToolFailed": Retry(60, 3600, tries=3),  # ffmpeg hung or was killed: it may be the file
    "BadCheckpoint": Retry(3600, 3600, tries=2),
    "WorkerLost": Retry(3600, 3600, tries=1),  # the queue has tried it several times
}
_MACHINE = Retry(60, 3600)  # disks get free, models are fetched, memory comes back


def wait_s(error: str | None, tries: int) -> float | None:
    """Seconds until the next try after so many; None: not before the file changes."""
    retry = _BY_NAME.get(error or "", _MACHINE if _is_machines(error) else None)
    if retry is None or (retry.tries is not None and tries >= retry.tries):
        return None
    return min(retry.first_s * 2.0 ** min(tries - 1, 32), retry.most_s)


def _is_machines(error: str | None) -> bool:
    kind: object = getattr(errors, error or "", None)
    return isinstance(kind, type) and issubclass(kind, MachineError)
