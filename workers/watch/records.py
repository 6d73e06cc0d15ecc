"""What is seen in watched folders.

Goes in: nothing. Comes out: the nouns that the steps of a look pass on.
Does not know: how anything is found or decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.batch import Request

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.types import Job
    from workers.ledger_records import Priority


@dataclass(frozen=True, slots=True)
class Look:
    """A media file as it was seen; two that are equal are the same content, as far as seen."""

    path: Path  # as it is reached from the root, links and all
    root: Path  # the watched folder
    size_bytes: int
    mtime_ns: int  # whatever the file system claims: 1970 and next year happen
    inode: int  # another file that was renamed into place has another one


@dataclass(frozen=True, slots=True)
class Ignored:
    """A name that is left alone."""

    path: Path
    reason: str
    is_trouble: bool = False  # nobody wants that; somebody has to see to it


@dataclass(frozen=True, slots=True)
class Listing:
    """One folder as it was seen."""

    folder: Path
    root: Path
    media: tuple[Look, ...]  # by name
    names: frozenset[str]  # all that lie in the folder, for subtitles beside media
    ignored: tuple[Ignored, ...]  # by name; files of another kind are not worth a word


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that is not complete yet."""

    path: Path
    reason: str  # "still growing: 1.2 GB, quiet for 3 of 5 s"


@dataclass(frozen=True, slots=True)
class Task:
    """A file that is to be worked on."""

    look: Look
    job: Job
    priority: Priority

    @property
    def request(self) -> Request:
        """The file, as displays know it."""
        return Request(self.look.path, self.look.root)


@dataclass(frozen=True, slots=True)
class Picture:
    """How things stand at one moment."""

    waiting: tuple[Waiting, ...]
    in_hand: int  # files that are ready, queued or worked on
