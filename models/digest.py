"""The SHA-256 of a large file, read once and remembered beside it.

Goes in: a file's path. Comes out: its SHA-256, as hex. Does not know: which one it should have.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def sha256_of(path: Path) -> str:
    """As remembered, if the file is still the same by size, time and inode; else read anew.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        state = _state(os.fstat(file.fileno()))
        known = _remembered(path, state)
        if known is not None:
            return known
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    _write(path, state, sha256)
    return sha256


def remember(path: Path, sha256: str) -> None:
    """Spare the next reader the work; a folder that cannot be written is no error."""
    _write(path, _state(path.stat()), sha256)


def stamp_of(path: Path) -> Path:
    """Where the SHA-256 is remembered: a hidden file beside it."""
    return path.with_name(f".{path.name}.sha256")


def _state(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _remembered(path: Path, state: list[int]) -> str | None:
    try:
        stamp = json.loads(stamp_of(path).read_text(encoding="utf-8"))
        return str(stamp["sha256"]) if stamp["size_mtime_inode"] == state else None
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours
        return None


def _write(path: Path, state: list[int], sha256: str) -> None:
    """Whole or not at all: written beside it, then renamed."""
    stamp, part = stamp_of(path), path.with_name(f".{path.name}.sha256.{os.getpid()}")
    with suppress(OSError):
        try:
            part.write_text(json.dumps({"size_mtime_inode": state, "sha256": sha256}))
            part.replace(stamp)
        finally:
            part.unlink(missing_ok=True)
