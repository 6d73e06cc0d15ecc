"""Names in a watched folder that are left alone.

Goes in: a name, whether it is a folder, and the .transcribeignore files above it.
Comes out: None, or the reason in words. Does not know: what is on the disk beyond those files.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workers.batch import MEDIA_SUFFIXES
from workers.watch.records import Ignored

if TYPE_CHECKING:
    from pathlib import Path

    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".transcribeignore"
MOST_BYTES = 2**20  # of an ignore file; one that is larger is something else
OTHER_KIND = "not a media file"


@dataclass(frozen=True, slots=True)
class IgnoreOptions:
    """What is looked for at all."""

    suffixes: frozenset[str] = MEDIA_SUFFIXES  # lower case, with their dot
    excluded: tuple[Path, ...] = ()  # folders that are never entered, such as our own


# The last suffix of a file that is not there yet, in lower case. Sources: the programs' manuals.
_UNFINISHED = {
    ".!bt": "BitComet",
    ".!qb": "qBittorrent",  # option: append .!qB to incomplete files
    ".!sync": "Resilio Sync",
    ".!ut": "uTorrent",
    ".aria2": "aria2",  # its control file, beside the file itself
    ".bc!": "BitComet",
    ".crdownload": "Chromium",
    ".dctmp": "DC++",
    ".download": "Safari",
    ".filepart": "WinSCP",  # winscp.net/eng/docs/resume
    ".fdmdownload": "Free Download Manager",
    ".icloud": "iCloud",  # only the name of a file that lies elsewhere
    ".inprogress": "a download",
    ".jc!": "FlashGet",
    ".opdownload": "Opera",
    ".part": "Firefox, yt-dlp and others",
    ".partial": "rclone and others",  # rclone.org/docs/#partial-suffix
    ".temp": "a program",
    ".tmp": "Syncthing and others",  # docs.syncthing.net/users/syncing.html: .syncthing.NAME.tmp
    ".unfinished": "a download",
    ".ytdl": "yt-dlp",  # yt_dlp/downloader/common.py
}

# Whole names, in lower case, that end like media.
_TEMPORARY = re.compile(
    r"~syncthing~.*"  # Syncthing's on Windows, docs.syncthing.net/users/syncing.html
    r"|~\$.*"  # owner files of Microsoft Office
    r"|.*\.(?:temp|tmp)\.[^.]+"  # what yt-dlp and others write before they rename
    r"|.*\.f\d{3}(?:-\w+)?\.[^.]+",  # yt-dlp's picture and sound before they are merged
    re.DOTALL,
)

# A file with one of these beside it (NAME + ending) is still being downloaded into.
_BESIDE_UNFINISHED = {
    ".aria2": "aria2",  # aria2.github.io/manual/en/html/aria2c.html, Control File
    ".st": "axel",  # axel(1), the state file
    "-lftp-pget-status": "lftp",  # lftp(1), pget
}

# In lower case. Hidden ones (.stfolder, .stversions, .Trash-1000, .Spotlight-V100) need no row.
_SYSTEM_FOLDERS = {
    "#recycle": "Synology",
    "#snapshot": "Synology",
    "$recycle.bin": "Windows",
    "@eadir": "Synology",  # thumbnails and indexes, some of them named x.mp3
    "@recently-snapshot": "QNAP",
    "@recycle": "QNAP",
    "@tmp": "Synology",
    "__macosx": "macOS",  # what its archives unpack to elsewhere
    "lost+found": "the file system",
    "lost.dir": "Android",
    "network trash folder": "macOS",
    "recycler": "Windows",
    "system volume information": "Windows",
    "temporary items": "macOS",
    "~snapshot": "NetApp",
}

# In lower case: Safari's downloads are folders; SABnzbd and NZBGet unpack into folders of theirs.
_UNFINISHED_FOLDER = re.compile(r".*\.download|_unpack(?:_.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Patterns:
    """What one .transcribeignore says, seen from a folder at or below it."""

    said: GitIgnoreSpec
    below: str = ""  # from the file's folder to this one: "" or "a/b/"


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one folder; those of its subfolders follow from them.

    A pattern with `!` takes back the built-in rules about names too, as it does those above it.
    """

    options: IgnoreOptions
    patterns: tuple[_Patterns, ...] = field(default=())  # the nearest last

    def below(self, name: str) -> Rules:
        """The rules of a subfolder, before its own ignore file is read."""
        if not self.patterns:
            return self
        deeper = (replace(each, below=f"{each.below}{name}/") for each in self.patterns)
        return replace(self, patterns=tuple(deeper))

    def with_file_of(self, folder: Path) -> tuple[Rules, tuple[Ignored, ...]]:
        """These rules and those of the folder's ignore file; what of it cannot be used, and why."""
        path = folder / IGNORE_FILE
        try:
            text = _text_of(path)
        except FileNotFoundError:
            return self, ()
        except OSError as error:
            is_link = error.errno == errno.ELOOP
            why = "a link, which is not followed" if is_link else error.strerror or error
            return self, (Ignored(path, f"cannot be read ({why})", is_trouble=True),)
        said, complaints = _understood(text)
        ignored = tuple(Ignored(path, complaint, is_trouble=True) for complaint in complaints)
        return replace(self, patterns=(*self.patterns, _Patterns(said))), ignored

    def reason_to_ignore(self, name: str, *, is_folder: bool) -> str | None:
        """Why a name in this folder is left alone; OTHER_KIND for what is no media anyway."""
        if not is_folder and not self._is_media(name):
            return OTHER_KIND
        verdict = self._verdict(f"{name}/" if is_folder else name)
        if verdict is None:
            return _reason_of_folder(name) if is_folder else _reason_of_file(name)
        return f"matches {IGNORE_FILE}" if verdict else None

    def _is_media(self, name: str) -> bool:
        """By its suffix, or by what its suffix will be when it is finished."""
        stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122  - many, and Path is slow
        if suffix in _UNFINISHED:
            suffix = os.path.splitext(stem)[1]  # noqa: PTH122
        return suffix in self.options.suffixes

    def _verdict(self, name: str) -> bool | None:
        """As git does it: the last pattern that matches, in the nearest file that has one."""
        for each in reversed(self.patterns):
            verdict = each.said.check_file(each.below + name).include
            if verdict is not None:
                return verdict
        return None


def still_downloaded(name: str, names: frozenset[str]) -> str | None:
    """Who writes into the file, as the other names in its folder tell."""
    for ending, program in _BESIDE_UNFINISHED.items():
        if name + ending in names:
            return f"unfinished ({program} keeps {ending} beside it)"
    return None


def _reason_of_folder(name: str) -> str | None:
    lower = name.lower()
    if name.startswith("."):
        return "hidden"
    if lower in _SYSTEM_FOLDERS:
        return f"a system folder ({_SYSTEM_FOLDERS[lower]})"
    return "unfinished" if _UNFINISHED_FOLDER.fullmatch(lower) else None


def _reason_of_file(name: str) -> str | None:
    lower = name.lower()
    if name.startswith("."):
        return "hidden"
    unfinished = _UNFINISHED.get(lower[lower.rfind(".") :])
    if unfinished:
        return f"unfinished ({unfinished})"
    return "temporary" if _TEMPORARY.fullmatch(lower) else None


def _text_of(path: Path) -> str:
    """Raises OSError; like git, follows no link, and unlike open, waits for no FIFO."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  - a descriptor, not a path
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a file")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError("larger than 1 MiB")
    return content.decode("utf-8-sig", errors="surrogateescape")  # as Python has file names


def _understood(text: str) -> tuple[GitIgnoreSpec, tuple[str, ...]]:
    """The lines that are patterns, and a complaint for each that is not."""
    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    patterns: list[GitIgnoreSpecPattern] = []
    complaints: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            patterns.append(GitIgnoreSpecPattern(line))
        except (ValueError, re.error):
            complaints.append(f"line {number} is no pattern and does nothing")
    return GitIgnoreSpec(patterns, backend="simple"), tuple(complaints)
