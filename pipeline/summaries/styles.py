"""Prompts in files that a user can read and replace.

Goes in: a style's name, or the path of a user's own file. Comes out: its words and its version.
Does not know: how a question is put together.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pipeline.errors import BadOption, NoSuchFile, Unreadable
from pipeline.source import display

FOLDER = Path(__file__).parent / "prompts"
SUFFIX = ".toml"
MAX_PROMPT_CHARS = 6000  # some 1,500 tokens: a small context must have room for the transcript
MAX_FILE_BYTES = 100_000

ListName = Literal["topics", "people", "terms", "questions", "actions"]
LISTS: tuple[ListName, ...] = get_args(ListName)


@dataclass(frozen=True, slots=True)
class Style:
    """What a model is told, and what it is asked to list beside points and chapters."""

    name: str
    version: str  # the first characters of the SHA-256 of the file
    part: str
    merge: str
    lists: tuple[ListName, ...]


def known_styles() -> tuple[str, ...]:
    """The styles that come with the program."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def load_style(wanted: str) -> Style:
    """The style of that name, or in that file. Raises BadOption, NoSuchFile, Unreadable."""
    is_file = wanted.endswith(SUFFIX) or "/" in wanted
    if not is_file and wanted not in known_styles():
        known = ", ".join(known_styles())
        raise BadOption(f"--style {wanted}: no such style: take {known}, or a file ({SUFFIX}).")
    path = Path(wanted) if is_file else FOLDER / f"{wanted}{SUFFIX}"
    content = _read(path)
    text, table = _parse(path, content)
    return Style(
        name=path.stem,
        version=hashlib.sha256(content).hexdigest()[:12],
        part=_prompt(path, text, table, "part"),
        merge=_prompt(path, text, table, "merge"),
        lists=_lists(path, text, table),
    )


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise NoSuchFile(f"{display(path)} is no file: give a style's name or its file.")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{display(path)} cannot be read ({error.strerror}).") from error
    if len(content) > MAX_FILE_BYTES:
        raise BadOption(f"{display(path)} is too large for a prompt: is it the right file?")
    return content


def _parse(path: Path, content: bytes) -> tuple[str, dict[str, Any]]:
    try:
        text = content.decode("utf-8-sig")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadOption(f"{display(path)}, line {line}: not UTF-8: save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:  # its words end in "(at line 3, column 5)"
        raise BadOption(f"{display(path)}: not TOML: {error}.") from error
    for key in table:
        if key not in ("part", "merge", "lists"):
            raise _bad(path, text, key, "is not known: part, merge and lists are")
    return text, table


def _prompt(path: Path, text: str, table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _bad(path, text, key, 'must be a text, such as part = """…"""')
    if len(value) > MAX_PROMPT_CHARS:
        raise _bad(path, text, key, f"is too long: at most {MAX_PROMPT_CHARS} characters")
    return value.strip()


def _lists(path: Path, text: str, table: dict[str, Any]) -> tuple[ListName, ...]:
    value = table.get("lists", list(LISTS))
    if not isinstance(value, list) or not all(one in LISTS for one in value):
        raise _bad(path, text, "lists", f"may have: {', '.join(LISTS)}")
    return tuple(name for name in LISTS if name in cast("list[str]", value))


def _bad(path: Path, text: str, key: str, problem: str) -> BadOption:
    """The error, with the line of the key, or the last line where it is missing."""
    found = re.search(rf"^\s*\[*[\"']?{re.escape(key)}\b", text, re.MULTILINE)
    before = text[: found.end()] if found else text
    line = before.count("\n") + 1
    return BadOption(f"{display(path)}, line {line}: {key} {problem}.")
