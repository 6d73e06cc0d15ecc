"""What came of files since this watcher began, and which are tried again.

Goes in: outcomes and decisions. Comes out: whether a file is to be worked on now. Does not know:
what is on the disk, beyond whether outputs are there; who works.

The disk's records say most of it. But a full disk takes no records, and what passes by itself
leaves none; without this memory such files would be worked on for ever.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.folder import PASSING
from workers.watch.records import Waiting
from workers.watch.retrying import wait_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.types import Job, Outcome
    from workers.watch.deciding import Decision
    from workers.watch.records import Look, Task


@dataclass(frozen=True, slots=True)
class _Later:
    """A file that failed and is tried again."""

    look: Look
    due_s: float
    tries: int
    reason: str


class Trying:
    """Remembers by paths; `now_s` is of a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float], *, retry_failed: bool) -> None:
        self._now_s = now_s
        self._retry_failed = retry_failed
        self._began_at_s = time.time()  # what failed before was another watcher's failure
        self._later: dict[Path, _Later] = {}
        self._given_up: dict[Path, Job] = {}
        self._good: dict[Path, tuple[Job, tuple[Path, ...]]] = {}  # with its outputs

    def __contains__(self, path: Path) -> bool:
        """Whether a file is tried later."""
        return path in self._later

    def good(self, task: Task, outcome: Outcome) -> None:
        """It was done or skipped."""
        path = task.look.path
        self._later.pop(path, None)
        self._good[path] = (task.job, outcome.outputs)

    def bad(self, task: Task, outcome: Outcome) -> bool:
        """It failed; whether that is news: not at each try, and not what passes by itself."""
        path = task.look.path
        before = self._later.pop(path, None)
        tries = before.tries + 1 if before and before.look == task.look else 1
        pause_s = wait_s(outcome.error, tries)
        if pause_s is None:
            self._given_up[path] = task.job
        else:
            due_s = self._now_s() + pause_s
            reason = outcome.summary_failure or outcome.reason or "it failed"
            self._later[path] = _Later(task.look, due_s, tries, reason)
        return (tries == 1 or pause_s is None) and outcome.error not in PASSING

    def rests(self, look: Look) -> bool:
        """Whether it is too early to try a file again."""
        later = self._later.get(look.path)
        return later is not None and later.look == look and self._now_s() < later.due_s

    def gave_up(self, task: Task) -> bool:
        """Whether this very job failed for good, here."""
        return self._given_up.get(task.look.path) == task.job

    def is_wanted(self, task: Task, decision: Decision) -> bool:
        """Whether a complete file is to be worked on now."""
        path = task.look.path
        later = self._later.get(path)
        is_over = decision.kind in ("done", "leave")  # the disk knows it, whoever saw to it
        if is_over:
            self._good.pop(path, None)
        if later and (is_over or later.look != task.look):
            later = self._later.pop(path) and None
        if is_over or self.gave_up(task):
            return False
        if later:
            return not self.rests(task.look)
        if decision.failure:
            return self._is_worth_another_try(task, decision)
        job, outputs = self._good.get(path, (None, ()))
        return job != task.job or not all(map(os.path.exists, outputs))

    def _is_worth_another_try(self, task: Task, decision: Decision) -> bool:
        """Whether one that failed elsewhere, or before, is; the machine's faults pass."""
        failure = decision.failure
        assert failure, "it failed"
        pause_s = wait_s(failure.error, 1)
        if failure.at_s < self._began_at_s:
            return pause_s is not None or self._retry_failed
        if pause_s is not None:
            due_s = self._now_s() + pause_s
            self._later[task.look.path] = _Later(task.look, due_s, 1, failure.reason)
        return False

    def waiting(self) -> Iterator[Waiting]:
        """The files that are tried later."""
        for path, one in self._later.items():
            left_s = max(0.0, one.due_s - self._now_s())
            yield Waiting(path, f"tried again in {left_s:.0f} s: {one.reason}")

    def keep(self, listed: set[Path]) -> None:
        """Forget the files that are tried later and are not there any more."""
        self._later = {path: one for path, one in self._later.items() if path in listed}

    def tidy(self) -> None:
        """Forget the files that are gone."""
        for memory in (self._good, self._given_up):
            gone = [path for path in memory if not os.path.lexists(path)]
            for path in gone:
                del memory[path]
