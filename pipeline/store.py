"""All jobs' folders.

Goes in: a job. Comes out: its folder, locked, with what earlier runs finished. Does not know: what
is in it.

    <home>/jobs/<work id>/   lock  job.json  media.json  audio.wav  audio.json  windows.json
                             language.json  engines.json  heard.jsonl  done.json  failed.json
    <home>/twins/<hash>      which folder heard a sound, so that its copies need not be heard
    <home>/outputs/<hash>    whose an output path is: see pipeline.outputs
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import Busy
from pipeline.files import LOCK, locked_folder, storage_errors
from pipeline.folder import Done, Failure, Folder, name_in, output_id, work_id
from pipeline.outputs import Outputs
from pipeline.source import display
from pipeline.types import Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Store:
    """All jobs' folders."""

    home: Path

    @contextmanager
    def open_folder(self, job: Job) -> Iterator[Folder]:
        """Lock the job's folder for as long as the `with` lasts.

        Raises Busy when another process holds it, StorageFailed when it cannot be made.
        """
        path = self.home / "jobs" / work_id(job)
        with locked_folder(path) as held:
            if not held:
                raise Busy(f"{display(job.source.path)} is in work elsewhere: let that finish.")
            folder = Folder(path)
            folder.once("job", Job, lambda: job)
            yield folder

    @property
    def outputs(self) -> Outputs:
        """Whose the output paths are."""
        return Outputs(self.home / "outputs")

    def done(self, job: Job) -> tuple[Path, ...] | None:
        """The outputs that were written for this very job; None when it is not done."""
        done = Folder(self.home / "jobs" / work_id(job)).read("done", Done)
        return done.outputs if done and done.output_id == output_id(job) else None

    def failure(self, job: Job) -> Failure | None:
        """Why this job failed last time, unless it has been done since."""
        return _failure_in(Folder(self.home / "jobs" / work_id(job)))

    def failures(self) -> Iterator[tuple[Job, Failure]]:
        """Every job that failed, has not been done since, and whose source is still the same."""
        for path in sorted(self.home.glob("jobs/*")):
            folder = Folder(path)
            failure, job = _failure_in(folder), folder.read("job", Job)
            if failure and job and _is_unchanged(job):
                yield job, failure

    def note_failure(self, job: Job, failure: Failure) -> None:
        """Remember why a job came to nothing elsewhere. Raises Busy, StorageFailed."""
        with self.open_folder(job) as folder:
            folder.note_failure(failure)

    def clean(self, *, everything: bool) -> int:
        """Remove the folders of jobs that are done or whose source is gone; gives the bytes freed.

        With `everything` also those that could be continued. Busy ones stay.
        """
        freed_bytes = 0
        for path in sorted(self.home.glob("jobs/*")):
            with storage_errors(path), locked_folder(path) as held:
                if held and (everything or not _can_continue(Folder(path))):
                    freed_bytes += sum(file.stat().st_size for file in path.iterdir())
                    _remove(path)
        for file in self.home.glob("twins/*"):
            with suppress(OSError, ValueError):
                if not (self.home / "jobs" / name_in(file)).exists():
                    file.unlink()
        self.outputs.clean()
        return freed_bytes


def _failure_in(folder: Folder) -> Failure | None:
    failure = folder.read("failed", Failure)
    if failure is None or folder.read("done", Done) is not None:
        return None
    return failure


def _can_continue(folder: Folder) -> bool:
    job = folder.read("job", Job)
    return job is not None and folder.read("done", Done) is None and _is_unchanged(job)


def _is_unchanged(job: Job) -> bool:
    try:
        now = job.source.path.stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) == (job.source.size_bytes, job.source.mtime_ns)


def _remove(folder: Path) -> None:
    """Remove a folder whose lock is held: the lock last, since from then on others may begin.

    Then the folder is theirs.
    """
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()
    (folder / LOCK).unlink()
    with suppress(OSError):
        folder.rmdir()
