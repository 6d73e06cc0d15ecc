"""The folders that are watched.

Goes in: folders as they were given. Comes out: each once, and what is left alone in it. Does not
know: what lies in them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.errors import BadOption
from pipeline.source import display

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from workers.watch.ignoring import IgnoreOptions


@dataclass(frozen=True, slots=True)
class Root:
    """One watched folder."""

    path: Path  # absolute
    ignoring: IgnoreOptions


def roots_of(folders: Iterable[Path], ignoring: IgnoreOptions) -> tuple[Root, ...]:
    """The folders, each once; what lies in two of them belongs to the inner one.

    Raises BadOption for a file. A folder that is not there may come.
    """
    by_place = {os.path.realpath(path): path for path in map(_plain, reversed(tuple(folders)))}
    paths = tuple(reversed(by_place.values()))
    for path in paths:
        if os.path.isfile(path):  # noqa: PTH113  - it never raises
            raise BadOption(f"{display(path)} is a file: transcribe FILE works on it.")
    return tuple(Root(path, replace(ignoring, excluded=_left(path, paths, ignoring)))
                 for path in paths)  # fmt: skip


def _plain(folder: Path) -> Path:
    """Absolute, and without `..`: a file has one name, wherever it was asked for from."""
    return folder.resolve() if ".." in folder.parts else folder.absolute()


def _left(root: Path, roots: tuple[Path, ...], ignoring: IgnoreOptions) -> tuple[Path, ...]:
    inner = (path for path in roots if path != root and path.is_relative_to(root))
    return (*ignoring.excluded, *inner)
