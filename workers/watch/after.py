"""What becomes of a source when its subtitles are there: moved away or deleted, if asked.

Goes in: an outcome and the source as it was taken. Comes out: what was done, in words, and the
outcome with its files where they are now. Does not know: why it was worked on, who wants it.

Whatever moment the program dies at, every file is somewhere: a target appears whole under a name
that nobody had, and only then its original goes. What an earlier try has brought there already is
known by its content and is not brought again.
"""

from __future__ import annotations

import errno
import fcntl
import filecmp
import os
import shutil
import signal
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import BadOption, StorageFailed
from pipeline.files import storage_errors, whole
from pipeline.source import display, ensure_unchanged

if TYPE_CHECKING:
    from pipeline.types import Outcome, Source


@dataclass(frozen=True, slots=True)
class After:
    """`--after`."""

    folder: Path | None  # where sources are moved to, absolute; None: they are deleted


def parse(text: str) -> After:
    """`move:DIR` or `delete`. Raises BadOption."""
    action, _, folder = text.partition(":")
    if text == "delete":
        return After(None)
    if action != "move" or not folder:
        raise BadOption(f"--after {display(text)}: write move:DIR or delete.")
    if os.path.isfile(folder):  # noqa: PTH113  - it never raises
        raise BadOption(f"--after {display(text)}: this is a file: give a folder.")
    return After(Path(folder).absolute())


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done, and where the files of the outcome are now."""

    what: str
    outcome: Outcome


def tidy(outcome: Outcome, source: Source, root: Path, after: After) -> Tidied:
    """Move or delete the source of a job that was done, and say what was done.

    A moved one keeps its place below `root`, and the outputs beside it go along. Raises
    StorageFailed, SourceChanged, Busy (another process is moving it); nothing is lost then.
    """
    why_not = _why_it_stays(outcome, source)
    if why_not:
        return Tidied(f"left where it is: {why_not}", outcome)
    ensure_unchanged(source)
    if after.folder is None:
        with storage_errors(source.path):
            source.path.unlink()
        return Tidied("deleted", outcome)
    folder = after.folder / source.path.parent.relative_to(root)
    with storage_errors(folder):
        if folder.exists() and folder.samefile(source.path.parent):
            return Tidied("left where it is: that is where it would go", outcome)
    beside = [path for path in outcome.outputs if path.parent == source.path.parent]
    targets = _moved(source, beside, folder)
    outputs = tuple(targets.get(path, path) for path in outcome.outputs)
    moved = replace(outcome, source=targets[source.path], outputs=outputs)
    return Tidied(f"moved to {display(moved.source)}", moved)


def _why_it_stays(outcome: Outcome, source: Source) -> str | None:
    """None when success is on the disk and the source is what it seems."""
    if outcome.state != "done" or not outcome.outputs:
        return "nothing was written"
    missing = next((path for path in outcome.outputs if not _is_file(path)), None)
    if missing:
        return f"{display(missing)} is not there"
    if source.path.is_symlink():
        return "it is a link"
    if _is_being_written(source.path):
        return "a program has it open for writing"
    return None


def _is_being_written(path: Path) -> bool:
    """Whether a program has the file open for writing, as far as this machine can tell.

    A copy may pause for longer than any quiet time, with half a file that plays. A lease for
    reading is refused while there is a writer; shares and others' files have none. Source:
    fcntl(2), F_SETLEASE.
    """
    if sys.platform != "linux":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # whoever opens the file meanwhile has this sent to us; SIGIO, the default, would kill
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


# ── moving ───────────────────────────────────────────────────────────────────────────────────


def _moved(source: Source, beside: list[Path], folder: Path) -> dict[Path, Path]:
    """Where each file is now."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            paths = (*beside, source.path)
            targets = {path: _target(path, source.path, folder, number) for path in paths}
            with suppress(FileExistsError):  # somebody else's: try the next number
                _move_all(source, targets)
                return targets
    raise AssertionError("some number is free")


def _move_all(source: Source, targets: dict[Path, Path]) -> None:
    """Copy the outputs, move the source, remove the outputs' originals; in this order.

    Raises FileExistsError when a name is another file's, before anything was done.
    """
    outputs = [path for path in targets if path != source.path]
    lacking = [path for path, target in targets.items() if not _is_there(path, target)]
    for path in lacking:
        if path != source.path:
            _copy(path, targets[path])
    if source.path in lacking:
        _move(source, targets[source.path])
    else:
        _remove(source)
    for path in outputs:
        path.unlink(missing_ok=True)


def _target(path: Path, source: Path, folder: Path, number: int) -> Path:
    """All that belongs together is given one number: `talk (2).mp4`, `talk (2).en.srt`."""
    if number == 1:
        return folder / path.name
    stem = source.stem if path.name.startswith(source.stem) else path.stem
    return folder / f"{stem} ({number}){path.name[len(stem) :]}"


def _move(source: Source, target: Path) -> None:
    _claim(target)
    try:
        source.path.rename(target)
    except OSError as error:
        target.unlink()
        if error.errno != errno.EXDEV:
            raise
        _copy(source.path, target)
        _remove(source)


def _remove(source: Source) -> None:
    ensure_unchanged(source)
    source.path.unlink()


def _copy(path: Path, target: Path) -> None:
    """A copy that is whole, flushed to the disk and as long as the original."""
    with whole(target) as part:
        shutil.copyfile(path, part)
        with suppress(OSError):  # times and permissions, where the file system has them
            shutil.copystat(path, part)
        if part.stat().st_size != path.stat().st_size:
            raise StorageFailed(
                f"{display(path)} could not be copied whole to {display(target.parent)}: "
                "check the disk."
            )
        _claim(target)  # with what is published over it


def _claim(target: Path) -> None:
    """Take a name that nobody has, with an empty file. Raises FileExistsError."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))


def _is_there(path: Path, target: Path) -> bool:
    """Whether an earlier try has brought it. Raises FileExistsError for another file there."""
    if not os.path.lexists(target):
        return False
    filecmp.clear_cache()  # it would trust sizes and times
    if _is_file(target) and filecmp.cmp(path, target, shallow=False):
        return True
    raise FileExistsError
