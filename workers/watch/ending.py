"""What is done when a file has ended, besides its subtitles.

Goes in: outcomes. Comes out: records, moved or deleted sources, error files, notices. Does not
know: who worked, what is tried again. Nothing here can undo what was done: failures are remarks.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import Busy, StorageFailed, TranscribeError
from pipeline.files import storage_errors, write_whole
from pipeline.folder import Failure
from pipeline.source import display
from pipeline.types import Outcome
from workers.watch.after import tidy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.store import Store
    from workers.watch.after import After
    from workers.watch.notices import Notices
    from workers.watch.records import Task

ERROR_SUFFIX = ".error.txt"


@dataclass(frozen=True, slots=True)
class EndingOptions:
    """What is wanted afterwards."""

    after: After | None = None  # None: the source stays where it is
    error_files: bool = False  # a file beside the source says why it failed


class Endings:
    """Sees to what has ended; `remark` is told what was done, `warn` what went wrong."""

    def __init__(
        self,
        options: EndingOptions,
        store: Store,
        notices: Notices,
        remark: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._options = options
        self._store = store
        self._notices = notices
        self._remark = remark
        self._warn = warn

    def good(self, task: Task, outcome: Outcome) -> Outcome:
        """It was done, by whomever, or skipped; gives the outcome as it is afterwards."""
        self._note(task, outcome)
        self._remove_error_file(task)
        outcome = self._tidied(task, outcome)
        self._notices.tell(outcome)
        return outcome

    def found_done(self, task: Task, outputs: tuple[Path, ...]) -> None:
        """It was done before; a crash may have come between that and the rest."""
        self._remove_error_file(task)
        if self._options.after and all(map(self._store.outputs.made, outputs)):  # all are ours
            self._tidied(task, Outcome(task.job.source.path, "done", outputs))

    def bad(self, task: Task, outcome: Outcome) -> None:
        """It failed, or its summary did; further tries of the same file are not told."""
        self._note(task, outcome)
        reason = outcome.reason or outcome.summary_failure or ""
        failure = Failure(reason, outcome.error or "", outcome.exit_code, time.time())
        with suppress(Busy, StorageFailed):
            if self._store.failure(task.job) is None:
                self._store.note_failure(task.job, failure)
        if self._options.error_files:
            self._try(lambda: write_whole(_error_file(task), f"{reason}\n"))
        self._notices.tell(outcome)

    def _note(self, task: Task, outcome: Outcome) -> None:
        """Workers may have records of their own elsewhere; these are for the next decision."""
        if outcome.state == "done":
            job = task.job
            self._try(
                lambda: self._store.outputs.note(outcome.outputs, job.source, job.speech.task)
            )

    def _tidied(self, task: Task, outcome: Outcome) -> Outcome:
        """The outcome as it is afterwards: its files may have moved."""
        if self._options.after is None or outcome.state != "done":
            return outcome
        try:
            tidied = tidy(outcome, task.job.source, task.look.root, self._options.after)
        except TranscribeError as error:
            self._warn(str(error))
            return outcome
        self._remark(f"{display(outcome.source)}: {tidied.what}")
        return tidied.outcome

    def _remove_error_file(self, task: Task) -> None:
        if self._options.error_files:
            path = _error_file(task)
            with suppress(TranscribeError), storage_errors(path):
                path.unlink(missing_ok=True)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except TranscribeError as error:
            self._warn(str(error))


def _error_file(task: Task) -> Path:
    return task.look.path.with_name(task.look.path.name + ERROR_SUFFIX)
