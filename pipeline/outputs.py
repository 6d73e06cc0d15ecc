"""Whose an output path is, and from which version of its source the file was made.

Goes in: paths and sources. Comes out: a claim, kept on the disk. Does not know: jobs, formats.

One file a claim, named by a hash of the output's path; in `made/`, by a hash of the source's path,
what was ever written from it. A subtitle that was made from an older version of its media and that
nobody touched since is outdated: it may be made again.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from pipeline import codec
from pipeline.files import LOCK, storage_errors, wait_for_lock, write_whole
from pipeline.types import Source, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made:
    """An output as it was written, and what it was made from."""

    source: Source
    output: Source
    task: Task = "transcribe"  # what was done with it
    wish: str = ""  # for which it was made, where that is known


@dataclass(frozen=True, slots=True)
class Claim:
    """An output path and the source that it belongs to."""

    target: Path
    source: Path
    made: Made | None = None  # None: nothing was written yet, or somebody else wrote it


@dataclass(frozen=True, slots=True)
class List:
    """Every output that was written from a source, of whatever version."""

    source: Path
    targets: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Outputs:
    """All claims."""

    folder: Path

    def claim(self, targets: Iterable[Path], source: Path) -> bool:
        """Take output paths for a source: all of them, or none if one is another source's.

        The claim of a source that is gone from the disk passes on.
        """
        wanted = tuple(targets)
        with self._alone():
            known = {target: self._read(target) for target in wanted}
            if any(_stands(claim) and claim.source != source for claim in known.values()):
                return False
            for target, claim in known.items():
                if claim is None or claim.source != source:
                    self._write(Claim(target, source))
        return True

    def note(self, written: Iterable[Path], source: Source, task: Task, wish: str = "") -> None:
        """Remember that these files were just made from this version of their source.

        Who does not know for which wish leaves what is known of it.
        """
        targets = tuple(written)
        with self._alone():
            for target in targets:
                with storage_errors(target):
                    output = _as_it_is(target)
                claim = self._read(target) or Claim(target, source.path)
                known_wish = claim.made.wish if claim.made and claim.made.output == output else ""
                self._write(replace(claim, made=Made(source, output, task, wish or known_wish)))
            known = self._list(source.path)
            if new := tuple(target for target in targets if target not in known):
                place = self._list_place(source.path)
                write_whole(place, codec.dumps(List(source.path, known + new)))

    def made_from(self, source: Source, task: Task) -> tuple[Path, ...]:
        """The outputs of a task on this very version of a source that are still there."""
        return tuple(
            target
            for target in self._list(source.path)
            if (made := self.made(target))
            and (made.source, made.task) == (source, task)
            and _exists(target)
        )

    def made(self, target: Path) -> Made | None:
        """What an output was made from; None when nobody knows."""
        claim = self._read(target)
        return claim.made if claim else None

    def is_ours(self, target: Path) -> bool:
        """Whether we wrote it, and nobody touched it since."""
        made = self.made(target)
        try:
            return made is not None and _as_it_is(target) == made.output
        except OSError:
            return False

    def is_outdated(self, target: Path, source: Source) -> bool:
        """Whether it is our own work on another version of this source, and untouched since."""
        made = self.made(target)
        if made is None or made.source.path != source.path or made.source == source:
            return False
        return self.is_ours(target)

    def clean(self) -> None:
        """Forget the claims that protect nothing: neither the source nor the output is there."""
        with self._alone():
            for file in self.folder.glob("*"):
                claim = _read_as(Claim, file)
                if claim and not _stands(claim) and not _exists(claim.target):
                    file.unlink(missing_ok=True)
            for file in self.folder.glob("made/*"):
                known = _read_as(List, file)
                if known and not _exists(known.source):
                    file.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes a claim meanwhile."""
        with storage_errors(self.folder):
            (self.folder / "made").mkdir(parents=True, exist_ok=True)
            lock = wait_for_lock(self.folder / LOCK)
        with lock:
            yield

    def _list(self, source: Path) -> tuple[Path, ...]:
        known = _read_as(List, self._list_place(source))
        return known.targets if known else ()

    def _list_place(self, source: Path) -> Path:
        return self.folder / "made" / _digest(source)

    def _read(self, target: Path) -> Claim | None:
        return _read_as(Claim, self._place(target))

    def _write(self, claim: Claim) -> None:
        write_whole(self._place(claim.target), codec.dumps(claim))

    def _place(self, target: Path) -> Path:
        return self.folder / _digest(target)


def _digest(path: Path) -> str:
    return hashlib.sha256(codec.dumps(path).encode()).hexdigest()[:24]


def _as_it_is(path: Path) -> Source:
    status = path.stat()
    return Source(path, status.st_size, status.st_mtime_ns)


def _read_as(kind: type[T], file: Path) -> T | None:
    try:
        return codec.loads(file.read_bytes(), kind)
    except (OSError, ValueError):
        return None


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  - unlike Path.exists, it never raises


def _stands(claim: Claim | None) -> TypeGuard[Claim]:
    """Whether the source of a claim is still there."""
    return claim is not None and _exists(claim.source)
