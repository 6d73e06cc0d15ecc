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
NAME_CHARS = 36  # a line of 80 has room for "still changing: 999.9 MB, quiet for 3 of 5 s"


class Screen:
    """How things stand, for whoever asks in whatever thread.

    `warn` is told what goes wrong, `tell` which files are left alone, and `log` each outcome, if
    that is wanted.
    """

    def __init__(
        self,
        folders: int,
        warn: Callable[[str], None],
        tell: Callable[[str], None] | None = None,
        log: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.warn = warn
        self._tell = tell
        self._log = log
        self.left = 0  # files that were left alone
        self.codes = set[int]()  # exit codes of what has ended
        self._where = "1 folder" if folders == 1 else f"{folders} folders"
        self._picture = Picture((), 0)
        self._ended = Counter[str]()

    def see(self, picture: Picture) -> None:
        """How things stand now."""
        self._picture = picture

    def ended(self, outcome: Outcome) -> None:
        """One more has."""
        self._ended[outcome.state] += 1
        self.codes.add(outcome.exit_code)
        if self._log:
            self._log(outcome)

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
            yield f"  {_short(display(one.path.name))}: {one.reason}"
        if len(picture.waiting) > SHOWN:
            yield f"  … and {len(picture.waiting) - SHOWN} more"


def _short(name: str) -> str:
    """Both ends of a long name, so that there is room for the reason."""
    half = NAME_CHARS // 2
    return name if len(name) <= NAME_CHARS else f"{name[:half]}…{name[1 - half :]}"
