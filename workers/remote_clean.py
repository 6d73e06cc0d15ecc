"""Which fetched media may go.

Goes in: the home. Comes out: free room. Does not know: how they came, the queue; what a job that
waits there would need again, it fetches again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from pipeline import codec
from pipeline.files import LOCK, locked_folder, storage_errors
from pipeline.outputs import Claim
from pipeline.types import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")
KEPT_S = 24 * 3600.0  # for what no job has begun with: the next attempt goes on with it


def clean_remote(home: Path, *, everything: bool, now_s: float | None = None) -> int:
    """Remove what no job can go on with, once `Store.clean` is done; gives the bytes freed.

    With `everything` also what was fetched lately. Whatever is borrowed stays. A file whose
    subtitles are there stays as an empty one, so that they keep belonging to it.
    """
    needed, named = frozenset(_sources(home)), frozenset(_with_outputs(home))
    before_s = (time.time() if now_s is None else now_s) - KEPT_S
    freed_bytes = 0
    for folder in sorted(home.glob("remote/*")):
        with storage_errors(folder), locked_folder(folder) as is_alone:
            media = [file for file in folder.iterdir() if file.name != LOCK] if is_alone else []
            is_kept = not everything and any(_is_younger(file, before_s) for file in media)
            if is_alone and not is_kept and needed.isdisjoint(media):
                freed_bytes += sum(file.stat().st_size for file in media)
                _remove(folder, media, named)
    return freed_bytes


def _is_younger(file: Path, than_s: float) -> bool:
    """An empty one holds nothing that could be gone on with."""
    found = file.stat()
    return found.st_size > 0 and found.st_mtime > than_s


def _remove(folder: Path, media: Iterable[Path], named: frozenset[Path]) -> None:
    for file in media:
        if file in named:
            file.write_bytes(b"")
        else:
            file.unlink()
    if named.isdisjoint(media):
        (folder / LOCK).unlink()
        with suppress(OSError):  # somebody else comes just now, and makes it anew
            folder.rmdir()


def _sources(home: Path) -> Iterator[Path]:
    """Of all jobs that are left."""
    for file in home.glob("jobs/*/job.json"):
        if job := _read(file, Job):
            yield job.source.path


def _with_outputs(home: Path) -> Iterator[Path]:
    """Sources of subtitles that are there."""
    for file in home.glob("outputs/*"):
        claim = _read(file, Claim)
        if claim and claim.target.exists():
            yield claim.source


def _read(file: Path, kind: type[T]) -> T | None:
    try:
        return codec.loads(file.read_bytes(), kind)
    except (OSError, ValueError):
        return None
