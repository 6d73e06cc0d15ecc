"""When a file is complete.

Goes in: looks at files, and the time of each look. Comes out: None, or the reason to wait.
Does not know: where looks come from, nor what the files' own times mean: a clock that jumps, or a
file from next year, changes nothing. A file that stays empty is complete, too: it is worth a word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import BadOption
from workers.watch.records import Waiting

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from workers.watch.records import Look


@dataclass(frozen=True, slots=True)
class SettleOptions:
    """How long a file must not change."""

    quiet_s: float = 5.0  # paperless-ngx's, too; most copies pause for less
    looks: int = 2  # at least so many, at the same size, time and inode
    empty_s: float = 60.0  # of an empty file: then nothing more is expected to come

    def __post_init__(self) -> None:
        if not self.quiet_s >= 0:
            raise BadOption(f"A quiet time of {self.quiet_s} s cannot be: give 0 or more.")
        if self.looks < 1:
            raise BadOption(f"{self.looks} looks at a file cannot be: give 1 or more.")


@dataclass(slots=True, eq=False)
class _Pending:
    """A file as it was seen last."""

    look: Look
    since_s: float  # when it was first seen like this
    met_s: float  # when it was first seen at all
    looks: int = 1
    change: str = "new"
    reason: str | None = None


class Settling:
    """Remembers how files looked, until each is forgotten."""

    def __init__(self, options: SettleOptions) -> None:
        self._options = options
        self._files: dict[Path, _Pending] = {}

    def see(self, look: Look, now_s: float) -> str | None:
        """None when the file is complete, and at each later look until it changes; else why not.

        `now_s` is of a clock that never goes back.
        """
        pending = self._files.get(look.path)
        if pending is None:
            pending = _Pending(look, now_s, now_s)
        elif _differ(pending.look, look):
            change = _change(pending.look, look)
            pending = _Pending(look, now_s, pending.met_s, change=change)
        else:
            pending.looks += 1
        self._files[look.path] = pending
        pending.reason = self._reason(pending, now_s - pending.since_s)
        return pending.reason

    @property
    def looks(self) -> tuple[Look, ...]:
        """The files that are remembered, as they were seen last."""
        return tuple(each.look for each in self._files.values())

    def forget(self, path: Path) -> None:
        """A file that is taken, or gone."""
        self._files.pop(path, None)

    def keep(self, paths: Container[Path]) -> None:
        """Forget all but these."""
        for path in [path for path in self._files if path not in paths]:
            del self._files[path]

    @property
    def newest_s(self) -> float:
        """When the last of the files was first seen; as long ago as can be when there is none."""
        return max((each.met_s for each in self._files.values()), default=-math.inf)

    def __contains__(self, path: Path) -> bool:
        return path in self._files

    def __len__(self) -> int:
        return len(self._files)

    def waiting(self) -> tuple[Waiting, ...]:
        """The files that are not complete, as of their last looks."""
        files = self._files.items()
        return tuple(Waiting(path, each.reason) for path, each in files if each.reason)

    def _reason(self, pending: _Pending, quiet_s: float) -> str | None:
        if pending.look.size_bytes == 0 and quiet_s < self._options.empty_s:
            return f"empty for {quiet_s:.0f} s"
        size = _in_words(pending.look.size_bytes)
        if quiet_s < self._options.quiet_s:
            return (
                f"{pending.change}: {size}, quiet for {int(quiet_s)} of {self._options.quiet_s:g} s"
            )
        if pending.looks < self._options.looks:
            return f"{pending.change}: {size}, waits for another look"
        return None


def _differ(before: Look, after: Look) -> bool:
    return (before.size_bytes, before.mtime_ns, before.inode) != (
        after.size_bytes,
        after.mtime_ns,
        after.inode,
    )


def _change(before: Look, after: Look) -> str:
    if before.inode != after.inode:
        return "replaced"
    return "still growing" if before.size_bytes < after.size_bytes else "still changing"


def _in_words(size_bytes: int) -> str:
    """Decimal units, as file managers show them: 1.2 GB."""
    size, unit = float(size_bytes), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 999.95 or unit == "TB":  # noqa: PLR2004  - would be shown as 1000.0
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
