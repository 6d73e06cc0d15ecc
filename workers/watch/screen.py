"""What a person sees of a watched folder, besides the files in work.

Goes in: pictures of the watcher, outcomes. Comes out: a few lines. Does not know: terminals.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline.source import display
from workers.watch.records import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.types import Outcome

SHOWN = 5  # files that wait


class Screen:
    """How things stand, for whoever asks in whatever thread.

    `warn` is told what goes wrong, `tell` which files are left alone, if that is wanted.
    """

    def __init__(
        self, folders: int, warn: Callable[[str], None], tell: Callable[[str], None] | None = None
    ) -> None:
        self.warn = warn
        self._tell = tell
        self.left = 0  # files that were left alone
        self._where = "1 folder" if folders == 1 else f"{folders} folders"
        self._picture = Picture((), 0)
        self._ended = Counter[str]()

    def see(self, picture: Picture) -> None:
        """How things stand now."""
        self._picture = picture

    def count(self, outcome: Outcome) -> None:
        """One more has ended."""
        self._ended[outcome.state] += 1

    def leave(self, path: Path, reason: str) -> None:
        """A file that needs nothing from us."""
        self.left += 1
        if self._tell:
            self._tell(f"{display(path)} is left alone: {reason}")

    def lines(self) -> Iterator[str]:
        """Such as "watching 1 folder: 2 wait, 1 in work, 17 done"."""
        picture = self._picture
        parts = [f"{len(picture.waiting)} wait", f"{picture.in_hand} in work"]
        parts += [f"{count} {state}" for state, count in sorted(self._ended.items())]
        yield f"watching {self._where}: {', '.join(parts)}"
        for one in picture.waiting[:SHOWN]:
            yield f"  {display(one.path.name)}: {one.reason}"
        if len(picture.waiting) > SHOWN:
            yield f"  … and {len(picture.waiting) - SHOWN} more"
