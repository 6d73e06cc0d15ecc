"""What folders ask for, for the files in them: `transcribe.toml`.

Goes in: a folder and the watched root above it. Comes out: the settings of all files from the root
down to it, the nearest of which wins, and complaints. Does not know: files, flags' defaults, jobs.

A bad key stops nothing: it is told with its line, and is as if it were not there. Whoever may write
into a watched folder may write its settings, so these lead no output out of the root.
"""

from __future__ import annotations

import re
import stat
import tomllib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from pipeline.errors import BadOption
from pipeline.naming import check_template
from pipeline.source import display
from workers.watch.folder_values import DETECT, checked

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.types import Format, OutputOptions, SpeechOptions, Task, Wish
    from workers.ledger_records import Priority

FILE_NAME = "transcribe.toml"
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class FolderSettings:
    """The keys of the file; None: not said."""

    model: str | None = None
    wish: Wish | None = None
    language: str | None = None  # ISO 639-1, or "auto": detect it
    task: Task | None = None
    prompt: str | None = None
    glossary: tuple[str, ...] | None = None  # terms, told after the prompt
    formats: tuple[Format, ...] | None = None
    name: str | None = None
    summary: bool | None = None
    priority: Priority | None = None
    output_dir: Path | None = None  # absolute; where this folder's outputs go
    enabled: bool | None = None  # False: nothing in this folder is worked on


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong in a file."""

    path: Path
    line: int | None  # from 1; None: the whole file, or nobody can tell
    reason: str

    @property
    def sentence(self) -> str:
        """What is told."""
        line = f", line {self.line}" if self.line else ""
        return f"{display(self.path)}{line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Found:
    """What holds in a folder, and what was wrong on the way."""

    settings: FolderSettings
    complaints: tuple[Complaint, ...] = ()


@dataclass(frozen=True, slots=True)
class _Read:
    """A file as it was read."""

    stamp: tuple[int, ...]  # size, inode and both times: of its content, and of its permissions
    found: Found


class SettingsFiles:
    """Reads the files, each again only when it has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, Path], _Read] = {}

    def of(self, folder: Path, root: Path) -> Found:
        """What holds in a folder that is the root or lies below it."""
        settings, complaints = FolderSettings(), list[Complaint]()
        for level in _levels(folder, root):
            found = self._at(level, root)
            settings = _merged(settings, _for(folder, level, found.settings))
            complaints += found.complaints
        return Found(settings, tuple(complaints))

    def _at(self, level: Path, root: Path) -> Found:
        path = level / FILE_NAME
        try:
            status = path.stat()
        except OSError as error:
            self._known.pop((path, root), None)
            if isinstance(error, (FileNotFoundError, NotADirectoryError)):
                return Found(FolderSettings())
            return _nothing(path, f"cannot be read ({error.strerror}): check its permissions.")
        stamp = (status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        known = self._known.get((path, root))
        if known is None or known.stamp != stamp:
            known = self._known[path, root] = _Read(stamp, _read(path, root, status))
        return known.found


def applied(
    settings: FolderSettings,
    speech: SpeechOptions,
    output: OutputOptions,
    given: frozenset[str] = frozenset(),
) -> tuple[SpeechOptions, OutputOptions]:
    """The options with a folder's settings; flags that were `given` win.

    `given` has the names of options' fields, which click's parameters share: model, wish, language,
    task, initial_prompt, formats, name, output_dir. A given name that cannot carry the folder's
    formats keeps its own. The output folder is complete: nothing is to be added below it.
    """
    asked: dict[str, Any] = {
        "model": settings.model,
        "wish": settings.wish,
        "language": settings.language,
        "task": settings.task,
        "initial_prompt": settings.prompt,
    }
    new = {key: value for key, value in asked.items() if value is not None and key not in given}
    if new.get("language") == DETECT:
        new["language"] = None
    speech = replace(speech, **new)
    speech = replace(speech, initial_prompt=_prompt(speech.initial_prompt, settings.glossary))
    return speech, _applied_to_output(settings, output, given)


def _prompt(prompt: str | None, glossary: tuple[str, ...] | None) -> str | None:
    terms = f"Glossary: {', '.join(glossary)}." if glossary else ""
    return " ".join(part for part in (prompt, terms) if part) or None


def _applied_to_output(
    settings: FolderSettings, output: OutputOptions, given: frozenset[str]
) -> OutputOptions:
    if settings.name and "name" not in given:
        output = replace(output, name=settings.name)
    if settings.output_dir and "output_dir" not in given:
        output = replace(output, output_dir=settings.output_dir)
    if settings.formats and "formats" not in given:
        try:
            check_template(output.name, settings.formats)
        except BadOption:
            return output
        output = replace(output, formats=settings.formats)
    return output


# ── one file ─────────────────────────────────────────────────────────────────────────────────


def _levels(folder: Path, root: Path) -> Iterator[Path]:
    """The root, and every folder on the way down."""
    yield root
    for part in folder.relative_to(root).parts:
        root /= part
        yield root


def _for(folder: Path, level: Path, settings: FolderSettings) -> FolderSettings:
    """Below an output folder, files keep their place in the tree."""
    if settings.output_dir is None:
        return settings
    return replace(settings, output_dir=settings.output_dir / folder.relative_to(level))


def _merged(above: FolderSettings, nearer: FolderSettings) -> FolderSettings:
    said = {one.name: getattr(nearer, one.name) for one in fields(nearer)}
    return replace(above, **{name: value for name, value in said.items() if value is not None})


def _nothing(path: Path, reason: str, line: int | None = None) -> Found:
    return Found(FolderSettings(), (Complaint(path, line, reason),))


def _read(path: Path, root: Path, status: os.stat_result) -> Found:
    if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for a writer
        return _nothing(path, "is not a file.")
    if status.st_size > _MOST_BYTES:
        return _nothing(path, f"is larger than {_MOST_BYTES:,} bytes, so it was not read.")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Windows' editor begins files with a mark
        values = tomllib.loads(text)
    except OSError as error:
        return _nothing(path, f"cannot be read ({error.strerror}): check its permissions.")
    except UnicodeDecodeError as error:
        broken = bytes(error.object[: error.start]).count(b"\n") + 1
        return _nothing(path, "is not UTF-8: save it as that.", broken)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of many digits
        reason, line = _syntax(error, text)
        return _nothing(path, f"is no TOML, so nothing in it holds: {reason}.", line)
    return _checked(path, root, values, text)


def _syntax(error: Exception, text: str) -> tuple[str, int | None]:
    """What is wrong, and the line, as the library tells them."""
    reason, _, place = str(error).partition(" (at ")
    if place.startswith("end"):
        return reason, text.rstrip().count("\n") + 1
    found = re.match(r"line (\d+)", place)
    return reason, int(found[1]) if found else None


def _checked(path: Path, root: Path, values: dict[str, Any], text: str) -> Found:
    good: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for key, value in values.items():
        try:
            good[key] = checked(key, value, path.parent, root)
        except BadOption as error:
            reason = str(error).removeprefix("--")
            complaints.append(Complaint(path, _line_of(key, text), f"{display(key)}: {reason}"))
    return Found(FolderSettings(**good), tuple(complaints))


def _line_of(key: str, text: str) -> int | None:
    """Where a key stands; the library does not tell."""
    found = re.search(rf"^[ \t]*\[*[ \t]*[\"']?{re.escape(key)}[\"']?\s*[.=\]]", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else None
