"""Watched files, worked on in this process, side by side.

Goes in: a watcher, and what work needs. Comes out: outcomes as they come. Does not know: how files
are found, what is done afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.batch import attempted
from workers.interruption import Heedful
from workers.lanes import Lanes
from workers.summaries import with_summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.protocols import Listener
    from pipeline.types import Outcome
    from workers.batch import Machinery
    from workers.interruption import Interruption
    from workers.progress import Display
    from workers.watch.records import Task
    from workers.watch.watcher import Watcher


def work_here(
    watcher: Watcher, machinery: Machinery, shown: Display, interruption: Interruption
) -> Iterator[Outcome]:
    """Work on what the watcher finds, for as long as it watches."""

    def work(task: Task, listener: Listener) -> Outcome:
        outcome = attempted(task.look.path, lambda: task.job, machinery, listener)
        return with_summary(outcome, task.job, machinery, listener)

    def listen(task: Task) -> Listener:
        return Heedful(shown.listen(task.request), interruption)

    def tick() -> None:
        interruption.check()
        watcher.tick()

    for task, outcome in Lanes(work, listen).outcomes(watcher.tasks(), tick):
        shown.show(task.request, outcome)
        yield watcher.ended(task, outcome)
