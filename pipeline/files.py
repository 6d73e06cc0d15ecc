"""Files that appear whole or not at all, and locks.

Goes in: a path and its content. Comes out: the file, on the disk. Does not know: what is in it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import Busy, StorageFailed
from pipeline.source import display

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TextIO

LOCK = "lock"  # the name of a folder's lock file
_TRIES = 100  # for a lock in a folder that others make and remove
# Some network and FUSE file systems cannot flush a directory; there is nothing more to be done.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP}
_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EACCES: "allow writing there, or choose another folder",
    errno.EPERM: "allow writing there, or choose another folder",
    errno.EROFS: "choose another folder",
}


def write_whole(target: Path, content: str, *, replace: bool = True) -> bool:
    """Write a text file, whole, and say whether it was: without `replace`, one that is there stays.

    Raises StorageFailed, and Busy when another process is writing it.
    """
    with whole(target) as part:
        if not replace and os.path.lexists(target):
            part.unlink()
            return False
        with storage_errors(target):
            part.write_text(content, encoding="utf-8", newline="\n")
    return True


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Lend a hidden path beside the target: what is written there gets the target's name.

    That happens when the `with` ends well, after a flush to the disk, unless the path was removed
    again; when it does not end well, what was written is removed. Raises StorageFailed, and Busy
    when another process writes the same.
    """
    part = part_of(target)
    with storage_errors(target):
        lock = try_lock(part)
    if lock is None:
        raise Busy(f"{display(target)} is being written by another process: let it finish.")
    with lock:
        try:
            yield part
            with storage_errors(target):
                if part.exists():
                    _publish(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _publish(part: Path, target: Path) -> None:
    _sync(part)
    part.replace(target)
    try:
        _sync(target.parent)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _sync(path: Path) -> None:
    """What was written survives a power cut; of a folder, its names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def part_of(target: Path) -> Path:
    """The hidden name under which a file grows; the same after a crash, and never too long."""
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".{digest}.part")


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on a file, held until it is released or its process ends."""

    file: TextIO

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Unlock, and not only close: a child that another thread just forked has it open, too."""
        with self.file, suppress(OSError):
            fcntl.flock(self.file, fcntl.LOCK_UN)


def try_lock(path: Path, kind: int = fcntl.LOCK_EX) -> Lock | None:
    """Hold the lock on a file, made if missing; None when another holds it.

    Lock, then look again: the file may have been renamed or removed between the two.
    """
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            if _is_at(file, path):
                return Lock(file)
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        file.close()


@contextmanager
def locked_folder(folder: Path, kind: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Whether the folder's lock could be had, while the `with` lasts; it is made if missing.

    Raises StorageFailed.
    """
    with storage_errors(folder):
        lock = _try_lock_in(folder, kind)
    if lock is None:
        yield False
        return
    with lock:
        yield True


def _try_lock_in(folder: Path, kind: int) -> Lock | None:
    """Somebody may remove the folder at any moment before its lock is had."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError, FileExistsError):
            folder.mkdir(parents=True, exist_ok=True)
            return try_lock(folder / LOCK, kind)
    folder.mkdir(parents=True, exist_ok=True)
    return try_lock(folder / LOCK, kind)


def wait_for_lock(path: Path) -> Lock:
    """Hold the lock on a file that nobody removes, made if missing, as soon as it is free."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except BaseException:
        file.close()
        raise
    return Lock(file)


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def ensure_writable(folder: Path) -> None:
    """Make the folder and prove that files can be made in it. Raises StorageFailed."""
    trial = folder / f".transcribe-{os.getpid()}.part"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            trial.touch()
        finally:
            trial.unlink(missing_ok=True)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Tell an OSError as StorageFailed, in words."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the disk and the folder")
        raise StorageFailed(
            f"{display(path)} cannot be written ({error.strerror or error}): {remedy}."
        ) from error
