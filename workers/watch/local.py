"""Watched files, worked on in this process, side by side.

Goes in: a watcher, and what work needs. Comes out: outcomes as they come. Does not know: how files
are found, what is done afterwards.

Subtitles come first: a file that was heard waits for its summary until none is being heard, and has
ended only then. One is summed up at a time; what is found meanwhile is heard.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.batch import attempted
from workers.interruption import Heedful
from workers.lanes import Lanes
from workers.summaries import part_of, with_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.protocols import Listener
    from pipeline.types import Outcome
    from workers.batch import Machinery
    from workers.interruption import Interruption
    from workers.progress import Display
    from workers.watch.records import Task
    from workers.watch.watcher import Watcher


@dataclass(frozen=True, slots=True)
class _Step:
    """A file that is to be heard, or, with what came of that, to be summed up."""

    task: Task
    heard: Outcome | None = None


def work_here(
    watcher: Watcher, machinery: Machinery, shown: Display, interruption: Interruption
) -> Iterator[Outcome]:
    """Work on what the watcher finds, for as long as it watches."""

    def work(step: _Step, listener: Listener) -> Outcome:
        job = step.task.job
        if step.heard:
            return with_summary(step.heard, job, machinery, listener)
        return attempted(step.task.look.path, lambda: job, machinery, listener)

    def listen(step: _Step) -> Listener:
        return Heedful(shown.listen(step.task.request), interruption)

    def tick() -> None:
        interruption.check()
        watcher.tick()

    order = _Order(watcher)
    for step, outcome in Lanes(work, listen).outcomes(order.steps(), tick):
        shown.show(step.task.request, part_of(outcome, step.heard) if step.heard else outcome)
        if order.ended(step, outcome):
            yield watcher.ended(step.task, outcome)


class _Order:
    """Which step is next."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._in_work = 0
        self._heard: deque[_Step] = deque()  # whose summaries are to come

    def steps(self) -> Iterator[_Step | None]:
        """What is found, at once; a summary when nothing is in work; None: nothing right now."""
        for task in self._watcher.tasks():
            if task:
                step: _Step | None = _Step(task)
            else:
                step = self._heard.popleft() if self._heard and not self._in_work else None
            self._in_work += step is not None
            yield step

    def ended(self, step: _Step, outcome: Outcome) -> bool:
        """Whether that was the last step of its file."""
        self._in_work -= 1
        if step.heard or step.task.job.summary is None or outcome.state == "failed":
            return True
        self._heard.append(_Step(step.task, outcome))
        return False
