"""The file as it is when a job is taken.

Goes in: a path that somebody gave. Comes out: a Source, or the reason why it cannot be one.
Does not know: what is inside the file.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pipeline.errors import NoSuchFile, NotAFile, NotMedia, SourceChanged, Unreadable
from pipeline.types import Source

if TYPE_CHECKING:
    from pathlib import Path


def take(path: Path) -> Source:
    """Look at the file and remember its size and time; symbolic links are followed, not renamed.

    Raises NoSuchFile, NotAFile, Unreadable, NotMedia (empty).
    """
    path = path.absolute()
    status = _status(path)
    _require_file(path, status)
    if status.st_size == 0:
        raise NotMedia(f"{display(path)} is empty: copy or download it again.")
    _require_readable(path)
    return Source(path, status.st_size, status.st_mtime_ns)


def ensure_unchanged(source: Source) -> None:
    """Raise SourceChanged unless the file still has the size and time that `take` saw."""
    try:
        status = source.path.stat()
    except OSError as error:
        raise SourceChanged(
            f"{display(source.path)} went away while it was worked on ({error.strerror}): "
            "bring it back and run again."
        ) from error
    if (status.st_size, status.st_mtime_ns) != (source.size_bytes, source.mtime_ns):
        raise SourceChanged(
            f"{display(source.path)} changed while it was worked on: run again when it is complete."
        )


def display(name: Path | str) -> str:
    r"""Any name on one line and harmless on a terminal.

    Bytes that are not UTF-8 become \xNN; control, ANSI and bidirectional characters are escaped.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in str(name))


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except PermissionError as error:
        raise Unreadable(
            f"{display(path)} lies in a folder that you may not enter: ask for permission."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        if os.path.islink(path):  # noqa: PTH114  - unlike is_symlink, it never raises
            raise NoSuchFile(
                f"{display(path)} is a link that leads nowhere: check what it points to."
            ) from error
        raise NoSuchFile(f"{display(path)} does not exist: check the name.") from error


def _require_file(path: Path, status: os.stat_result) -> None:
    """Decide by the status alone: opening a FIFO would wait for a writer, perhaps for ever."""
    if stat.S_ISDIR(status.st_mode):
        raise NoSuchFile(f"{display(path)} is a directory: give -r to take the files in it.")
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "something special")
        raise NotAFile(f"{display(path)} is {kind}, not a file: save the media to a file first.")


_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _require_readable(path: Path) -> None:
    """Read one byte: neither permission bits nor access(2) tell the truth on network shares."""
    try:
        # O_NONBLOCK: should a FIFO have taken the name since, this does not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.read(descriptor, 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unreadable(
            f"{display(path)} cannot be read ({error.strerror}): check its permissions and disk."
        ) from error


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python carries a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
