"""What is to be known of a folder to decide about the files in it.

Goes in: a folder's names and settings. Comes out: what lies beside a file, and a mark of all that
a decision goes by. Does not know: what is decided.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from workers.watch.sidecars import Subtitles

if TYPE_CHECKING:
    from workers.watch.folder_settings import FolderSettings, SettingsFiles
    from workers.watch.records import Look


@dataclass(frozen=True, slots=True)
class Place:
    """A folder."""

    settings: FolderSettings
    subtitles: Subtitles


def place_of(look: Look, files: SettingsFiles, suffixes: frozenset[str]) -> Place:
    """The folder of a file as it is now."""
    folder = look.path.parent
    try:
        names = os.listdir(folder)  # noqa: PTH208  - many, and Path is slow
    except OSError:  # gone since; so is the file
        names = []
    return Place(files.of(folder, look.root).settings, Subtitles(names, suffixes))


def mark(look: Look, place: Place) -> bytes:
    """16 bytes that change with all that a decision goes by, but for what our records say."""
    beside = tuple(each.name for each in place.subtitles.beside(look.path.name))
    seen = (str(look.path), look.size_bytes, look.mtime_ns, look.inode, beside, place.settings)
    return blake2b(repr(seen).encode(errors="surrogateescape"), digest_size=16).digest()
