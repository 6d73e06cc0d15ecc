"""The keys of a folder's settings, and what may stand there: the same as in flags.

Goes in: a value as TOML gives it. Comes out: one that options can hold. Does not know: the file.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from models.registry import language_code
from models.weights import canonical, is_path
from pipeline.errors import BadOption
from pipeline.naming import check_template
from pipeline.source import display
from pipeline.types import Task, Wish
from workers.ledger_records import Priority
from workers.options import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

DETECT = "auto"  # as a language: find it out, although a folder above names one


def checked(key: str, value: Any, place: Path, root: Path) -> object:
    """The value of a key in the file of a place, a folder below the root. Raises BadOption."""
    if key == "model":
        return _model(place, value)
    if key == "output_dir":
        return _output_dir(place, root, value)
    if key not in _CHECKS:
        known = ", ".join(("model", *_CHECKS, "output_dir"))
        raise BadOption(f"there is no such key; there are {known}.")
    return _CHECKS[key](value)


def _shown(value: Any) -> str:
    return (
        f'"{display(value[:60])}"'
        if isinstance(value, str)
        else f"a value of type {type(value).__name__}"
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadOption(f"{_shown(value)} is no text: write it in quotes.")
    if "\0" in value:
        raise BadOption("the text has a NUL character in it.")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadOption(f'{_shown(value)} is no list: write it as ["one", "two"].')
    return tuple(stripped for one in value if (stripped := _text(one).strip()))


def _one_of(known: tuple[str, ...], value: Any) -> str:
    if value not in known:
        raise BadOption(f"{_shown(value)} is none of {', '.join(known)}.")
    return str(value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadOption(f"{_shown(value)} is neither true nor false.")
    return value


def _language(value: Any) -> str:
    return DETECT if value == DETECT else language_code(_text(value))


def _formats(value: Any) -> tuple[str, ...]:
    wanted = tuple(_one_of((*FORMATS, "all"), one) for one in _texts(value))
    if not wanted:
        raise BadOption(f"no format is named: there are {', '.join(FORMATS)}.")
    return FORMATS if "all" in wanted else tuple(dict.fromkeys(wanted))


def _name(value: Any) -> str:
    """A template that serves whatever formats are wanted."""
    check_template(_text(value), ())
    return str(value)


def _model(place: Path, value: Any) -> str:
    model = _text(value)
    is_beside = is_path(model) and not model.startswith("~")
    return canonical(str(place / model) if is_beside else model)


def _output_dir(place: Path, root: Path, value: Any) -> Path:
    """Below the root, links followed: whoever may write settings may not write everywhere."""
    folder = Path(os.path.normpath(place.absolute() / _text(value)))
    real = os.path.realpath(folder)
    if os.path.commonpath((real, os.path.realpath(root))) != os.path.realpath(root):
        raise BadOption(
            f"{_shown(value)} leads out of the watched folder: give it by --output-dir."
        )
    if os.path.isfile(real):  # noqa: PTH113  - it never raises
        raise BadOption(f"{_shown(value)} is a file: give a folder.")
    return folder


_CHECKS: dict[str, Callable[[Any], object]] = {
    "wish": partial(_one_of, get_args(Wish)),
    "language": _language,
    "task": partial(_one_of, get_args(Task)),
    "prompt": _text,
    "glossary": _texts,
    "formats": _formats,
    "name": _name,
    "summary": _switch,
    "priority": partial(_one_of, get_args(Priority)),
    "enabled": _switch,
}
