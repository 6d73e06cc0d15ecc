"""Watched files, left to the queue's workers.

Goes in: a watcher and the queue. Comes out: outcomes as they come. Does not know: how files are
found, who works on them, what is done afterwards.

The queue may go away while a folder is watched: what could not be left there waits here, and what
is there already is taken up again by its id, which is the same for the same job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import QueueUnavailable
from workers.enqueue import Asked, entry_of, guess_s, register
from workers.follow import Follower, outcome_of
from workers.ledger import job_id
from workers.watch.retrying import wait_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.types import Outcome
    from workers.progress import Display
    from workers.queue_access import Queue
    from workers.watch.records import Task
    from workers.watch.watcher import Watcher

AT_ONCE = 500  # files that are left in the queue before it is looked at again


@dataclass(frozen=True, slots=True)
class QueuedOptions:
    """How often the queue is looked at."""

    every_s: float = 0.5
    away_s: float = 5.0  # while it does not answer
    retry_failed: bool = False  # also what has failed for good in the queue


class QueuedWork:
    """Leaves files in the queue, and waits for their ends.

    `pause` waits for so many seconds, and may raise to make it stop.
    """

    def __init__(
        self,
        watcher: Watcher,
        queue: Queue,
        shown: Display,
        remark: Callable[[str], None],
        pause: Callable[[float], None],
        options: QueuedOptions,
    ) -> None:
        self._watcher = watcher
        self._queue = queue
        self._shown = shown
        self._remark = remark
        self._pause = pause
        self._options = options
        self._follower = Follower(queue.ledger, shown)
        self._to_leave: list[Task] = []
        self._tasks: dict[str, Task] = {}  # by the ids of their jobs
        self._is_away = False

    def outcomes(self) -> Iterator[Outcome]:
        """What came of each, for as long as the watcher watches."""
        for task in self._watcher.tasks():
            if task:
                self._to_leave.append(task)
            if task and len(self._to_leave) < AT_ONCE:
                continue
            try:
                yield from self._leave()
                yield from self._ended()
            except QueueUnavailable as error:
                self._tell(error)
                self._pause(self._options.away_s)
            else:
                self._tell(None)
            if task is None:
                self._pause(self._options.every_s)

    def _leave(self) -> Iterator[Outcome]:
        """Put what waits into the queue; where that fails, it still waits. Gives known failures."""
        ledger, tasks = self._queue.ledger, self._to_leave
        known = [self._failure_of(task) for task in tasks]
        asked = [_asked(task) for task, failure in zip(tasks, known, strict=True) if not failure]
        registered = iter(tuple(register(asked, ledger)))
        self._to_leave = []
        is_new = False
        for task, failure in zip(tasks, known, strict=True):
            if failure:
                self._watcher.ended(task, failure)
            elif found := (one := next(registered)).id:
                is_new |= one.is_new
                self._tasks[found] = task
                self._follower.add(found, task.look.path)
        if is_new:
            self._queue.wake(("convert",))
        for task, failure in zip(tasks, known, strict=True):
            if failure:
                self._shown.listen(task.request)
                self._shown.show(task.request, failure)
                yield failure

    def _failure_of(self, task: Task) -> Outcome | None:
        """How the queue failed at the very same before, if it is not worth another try."""
        record = self._queue.ledger.record(job_id(task.job))
        if record is None or record.state not in ("failed", "dead", "cancelled"):
            return None
        if self._options.retry_failed or wait_s(record.error, 1) is not None:
            return None
        return outcome_of(task.look.path, record)

    def _ended(self) -> Iterator[Outcome]:
        for job in self._follower.ended():
            task = self._tasks.pop(job.id)
            if job.was_forgotten:  # a wiped ledger must not lose a file
                self._watcher.put_back(task)
            else:
                yield self._watcher.ended(task, job.outcome)

    def _tell(self, error: QueueUnavailable | None) -> None:
        """Say once that the queue is away, and once that it is back."""
        if error and not self._is_away:
            self._remark(f"{error} What is found meanwhile waits.")
        elif not error and self._is_away:
            self._remark("The queue answers again.")
        self._is_away = error is not None


def _asked(task: Task) -> Asked:
    job = task.job
    length_s = guess_s(job.source.path, job.source.size_bytes)
    return Asked(str(job.source.path), entry_of(job, task.priority, length_s))
