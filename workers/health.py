"""Which of a fleet's processes hang.

Goes in: what the ledger tells. Comes out: which stages wait, who is at work, who lost a lease and
did not come back. Does not know: how processes are started or ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workers.ledger import Ledger
    from workers.ledger_records import Counts, QueueStage


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of this fleet at one moment."""

    waiting: frozenset[QueueStage] = frozenset()  # stages with jobs that could be begun
    at_work: frozenset[int] = frozenset()  # processes that hold a claim; known where a stage waits
    lost: frozenset[int] = frozenset()  # those that lost theirs some time ago, and took no other


class Health:
    """Looks through the ledger's eyes."""

    def __init__(
        self,
        worker: str,
        ledger: Ledger,
        recover_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._worker = worker
        self._ledger = ledger
        self._recover_s = recover_s
        self._clock = clock
        self._lost: dict[int, float] = {}  # and since when

    def look(self, counts: Counts) -> Sight:
        """See how all are. Raises QueueUnavailable."""
        now_s = self._clock()
        for pid in pids_in(self._ledger.lost(self._worker), self._worker):
            self._lost.setdefault(pid, now_s)
        waiting = frozenset(stage for stage, ready in counts.ready if ready and not counts.paused)
        if not waiting and not self._lost:
            return Sight()
        at_work = frozenset(pids_in(self._ledger.owners(), self._worker))
        overdue = {pid for pid, since_s in self._lost.items() if now_s - since_s > self._recover_s}
        self._lost = {
            pid: since_s for pid, since_s in self._lost.items() if pid not in overdue | at_work
        }
        return Sight(waiting, at_work, frozenset(overdue - at_work))


def owner_name(worker: str, stage: QueueStage, pid: int) -> str:
    """Under which a process of a worker claims."""
    return f"{worker}/{stage}-{pid}"


def pids_in(owners: Iterable[str], worker: str) -> tuple[int, ...]:
    """The processes among these owners that are this worker's."""
    ours = (one.rpartition("-")[2] for one in owners if one.startswith(f"{worker}/"))
    return tuple(int(pid) for pid in ours if pid.isdecimal())
