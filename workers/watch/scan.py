"""One look at a watched folder and everything below it.

Goes in: the folder, and what is ignored. Comes out: what lies in it, one listing a folder.
Does not know: what was there before, nor whether a file is complete.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.source import display
from workers.watch.ignoring import OTHER_KIND, Rules, still_downloaded
from workers.watch.records import Ignored, Listing, Look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.watch.ignoring import IgnoreOptions

_GONE = {errno.ENOENT, errno.ENOTDIR}  # moved or deleted since its folder was read


class RootMissing(InputError):
    """The watched folder is not there or cannot be read; it may come back."""


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is to be listed."""

    path: Path  # as it was reached
    real: str  # without links
    rules: Rules


@dataclass(slots=True, eq=False)
class _Found:
    """What is known of a folder while it is read."""

    names: list[str] = field(default_factory=list)
    media: list[Look] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)
    linked: list[_Folder] = field(default_factory=list)


def scan(root: Path, options: IgnoreOptions) -> Iterator[Listing]:
    """List the root and its folders, by name, each real folder once.

    A folder that cannot be read gives a listing without names whose `ignored` says why; half of a
    folder is never listed. Links to folders come last, since most of them lead to what was listed
    in its own place. Raises RootMissing, at the first step.
    """
    scanner = _Scanner(root, options)
    folders = [scanner.top()]
    linked: deque[_Folder] = deque()
    listed: set[str] = set()
    while folders or linked:
        folder = folders.pop() if folders else linked.popleft()
        if folder.real in listed:
            continue
        listed.add(folder.real)
        try:
            found = scanner.found_in(folder)
        except OSError as error:
            if folder.path == root:
                raise _missing(root, error) from error
            if error.errno not in _GONE:
                yield _unreadable(folder.path, root, error)
            continue
        yield _listing(folder.path, root, found)
        folders += sorted(found.folders, key=lambda each: each.real, reverse=True)
        linked += sorted(found.linked, key=lambda each: each.path.name)


def look_again(look: Look) -> Look | None:
    """The file as it is now; None when it is gone, or no file any more."""
    try:
        status = look.path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Look(look.path, look.root, status.st_size, status.st_mtime_ns, status.st_ino)


def troubles(listing: Listing) -> Iterator[str]:
    """What somebody has to see to in a folder; of many alike the first."""
    found = [one for one in listing.ignored if one.is_trouble]
    if found:
        more = f", and {len(found) - 1} more there" if len(found) > 1 else ""
        yield f"{display(found[0].path)}: {found[0].reason}{more}"


class _Scanner:
    """Reads folders below one root."""

    def __init__(self, root: Path, options: IgnoreOptions) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._options = options
        self._excluded = tuple(map(os.path.realpath, options.excluded))

    def top(self) -> _Folder:
        return _Folder(self._root, self._real_root, Rules(self._options))

    def found_in(self, folder: _Folder) -> _Found:
        """Raises OSError when the folder cannot be read to its end."""
        rules, complaints = folder.rules.with_file_of(folder.path)
        folder = _Folder(folder.path, folder.real, rules)
        found = _Found(ignored=list(complaints))
        with os.scandir(folder.path) as entries:
            for entry in entries:
                found.names.append(entry.name)
                try:
                    reason = self._place(entry, folder, found)
                except OSError as error:
                    if error.errno not in _GONE:
                        reason = f"cannot be looked at ({error.strerror})"
                        path = folder.path / entry.name
                        found.ignored.append(Ignored(path, reason, is_trouble=True))
                    continue
                if reason and reason is not OTHER_KIND:
                    found.ignored.append(Ignored(folder.path / entry.name, reason))
        return found

    def _place(self, entry: os.DirEntry[str], folder: _Folder, found: _Found) -> str | None:
        """Put one name among what was found, or give the reason why not. Raises OSError."""
        is_link = entry.is_symlink()
        is_folder = _leads_to_folder(entry) if is_link else entry.is_dir(follow_symlinks=False)
        reason = folder.rules.reason_to_ignore(entry.name, is_folder=is_folder)
        if reason:
            return reason
        real = os.path.join(folder.real, entry.name)  # noqa: PTH118  - many, and Path is slow
        if is_link:
            try:
                real = os.path.realpath(real, strict=True)
            except OSError:
                return "a link that leads nowhere"
            reason = self._astray(real, folder)
            if reason:
                return reason
        if not is_folder:
            return self._add_file(entry, folder, found)
        if any(_is_within(real, each) for each in self._excluded):
            return "left out on purpose"
        place = found.linked if is_link else found.folders
        place.append(_Folder(folder.path / entry.name, real, folder.rules.below(entry.name)))
        return None

    def _astray(self, real: str, folder: _Folder) -> str | None:
        """Why a link is not followed."""
        if not _is_within(real, self._real_root):
            return "a link out of the watched folder"
        if _is_within(folder.real, real):
            return "a link to a folder above it"
        return None

    def _add_file(self, entry: os.DirEntry[str], folder: _Folder, found: _Found) -> str | None:
        status = entry.stat()
        if not stat.S_ISREG(status.st_mode):
            return "no file but a pipe, a socket or a device"
        path = folder.path / entry.name
        look = Look(path, self._root, status.st_size, status.st_mtime_ns, status.st_ino)
        found.media.append(look)
        return None


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    try:
        return link.is_dir()
    except OSError:  # a loop
        return False


def _is_within(inner: str, outer: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def _listing(folder: Path, root: Path, found: _Found) -> Listing:
    names = frozenset(found.names)
    media: list[Look] = []
    for look in sorted(found.media, key=lambda each: each.path.name):
        reason = still_downloaded(look.path.name, names)
        if reason:
            found.ignored.append(Ignored(look.path, reason))
        else:
            media.append(look)
    ignored = sorted(found.ignored, key=lambda each: each.path.name)
    return Listing(folder, root, tuple(media), names, tuple(ignored))


def _unreadable(folder: Path, root: Path, error: OSError) -> Listing:
    reason = f"cannot be searched ({error.strerror}): allow reading it"
    return Listing(folder, root, (), frozenset(), (Ignored(folder, reason, is_trouble=True),))


def _missing(root: Path, error: OSError) -> RootMissing:
    return RootMissing(
        f"{display(root)} cannot be watched ({error.strerror}): bring it back, "
        "or check its name and who may read it."
    )
