"""Files that appear whole or not at all.

Goes in: a path and its content. Comes out: the file, on the disk. Does not know: what is in it.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import StorageFailed
from pipeline.source import display

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_whole(target: Path, content: str) -> None:
    """Write beside the target, flush to the disk, rename. Raises StorageFailed."""
    part = part_of(target)
    with storage_errors(target):
        try:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)


def part_of(target: Path) -> Path:
    """The hidden name under which a file grows; the same after a crash, and never too long."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".{digest}.part")


def ensure_writable(folder: Path) -> None:
    """Make the folder and prove that files can be made in it. Raises StorageFailed."""
    probe = folder / f".transcribe-{os.getpid()}.part"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.touch()
        finally:
            probe.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Tell an OSError as StorageFailed, in words."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StorageFailed(
            f"cannot write {display(path)}: {why}; free some space, or choose another folder"
        ) from error
