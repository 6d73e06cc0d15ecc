"""A file that grows under a hidden name until it is whole.

Goes in: bytes, and how many there will be. Comes out: the file under its own name, on the disk, and
its SHA-256. Does not know: where the bytes come from, whether they are the right ones.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

MARGIN_BYTES = 16 << 20  # left free on the disk for all that goes on beside us
# Some network and FUSE file systems cannot flush a directory; there is nothing more to be done.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP}


class Part:
    """What has arrived of a file. It survives us, unless it is empty; then it can be continued."""

    def __init__(self, file: FileIO, path: Path, target: Path) -> None:
        self._file = file
        self._path = path
        self._target = target
        self._digest: hashlib._Hash | None = None  # of what is there, as soon as it is wanted
        self.size_bytes = os.fstat(file.fileno()).st_size
        self.is_pieced = self.size_bytes > 0  # it did not come at one go

    @property
    def sha256(self) -> str:
        """Of what has arrived."""
        return self._hashed().hexdigest()

    @property
    def etag(self) -> str | None:
        """The version that the bytes belong to, as the server named it; kept beside them."""
        try:
            return _etag_of(self._path).read_text(encoding="latin-1") or None
        except FileNotFoundError:
            return None

    @etag.setter
    def etag(self, etag: str | None) -> None:
        if etag is None:
            _etag_of(self._path).unlink(missing_ok=True)
        else:
            _etag_of(self._path).write_text(etag, encoding="latin-1")

    def append(self, data: bytes) -> None:
        """Put more bytes behind those that are there."""
        self._hashed().update(data)
        rest = memoryview(data)
        while rest:  # a disk that is nearly full takes less than it is given
            rest = rest[self._file.write(rest) :]
        self.size_bytes += len(data)

    def restart(self) -> None:
        """Forget what is there."""
        self._file.truncate(0)
        self.etag = None
        self._digest, self.size_bytes, self.is_pieced = None, 0, False

    def ensure_room(self, total_bytes: int) -> None:
        """Raise StorageFailed unless what is still missing fits on the disk."""
        missing_bytes = total_bytes - self.size_bytes
        free_bytes = shutil.disk_usage(self._path.parent).free
        if missing_bytes + MARGIN_BYTES > free_bytes:
            raise StorageFailed(
                f"{self._target.name} takes {missing_bytes / 1e6:.1f} MB of space in "
                f"{self._target.parent}, where {free_bytes / 1e6:.1f} MB are free: "
                "make room there, or choose another folder."
            )

    def publish(self) -> Path | None:
        """Give it its name. What had that name may be somebody's own: it is kept; its new name."""
        os.fsync(self._file.fileno())
        kept = None
        if os.path.lexists(self._target):
            kept = self._target.with_name(f"{self._target.name}.damaged")
            self._target.replace(kept)
        self._path.replace(self._target)
        self.etag = None
        _sync_folder(self._target.parent)
        return kept

    def _hashed(self) -> hashlib._Hash:
        if self._digest is None:
            self._file.seek(0)
            self._digest = hashlib.file_digest(self._file, "sha256")
        return self._digest


@contextmanager
def open_part(target: Path, when_busy: Callable[[], None]) -> Iterator[Part]:
    """The part of a file, for one process at a time; the others call `when_busy`, then wait.

    When it is lent, look at the target again: somebody may have finished it. Raises OSError.
    """
    path = part_of(target)
    with _locked(path, when_busy) as file:
        try:
            yield Part(file, path, target)
        finally:
            if _is_at(file, path) and os.fstat(file.fileno()).st_size == 0:
                path.unlink()
                _etag_of(path).unlink(missing_ok=True)
            # closing is not enough: a child that another thread just forked has it open, too
            fcntl.flock(file, fcntl.LOCK_UN)


def part_of(target: Path) -> Path:
    """The hidden name under which a file grows."""
    return target.with_name(f".{target.name}.part")


def _etag_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _locked(path: Path, when_busy: Callable[[], None]) -> FileIO:
    """Lock, then look again: the file may have been renamed or removed between the two.

    The lock ends when it is given back, or with the process.
    """
    while True:
        file = path.open("a+b", buffering=0)  # whoever kills us loses nothing
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                when_busy()
                fcntl.flock(file, fcntl.LOCK_EX)  # Ctrl-C ends it
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """The new name survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
