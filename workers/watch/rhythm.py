"""When it is time to look.

Goes in: what looks took, events, the time. Comes out: whether a look or a glance is due. Does not
know: what is seen.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.watch.settling import SettleOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How often is looked, and for how long is waited."""

    every_s: float = 10.0  # from one full look to the next; events make it come sooner
    events: bool = True  # whether the system is asked to tell
    rest_s: float = 1.0  # at least, after a full look
    rest: float = 10.0  # times as long as a look took: no more than a tenth of the time is looking
    most_s: float = 2.0  # of a look or glance, before what is complete waits for the next glance
    glance_s: float = 1.0  # from one glance at incomplete files to the next
    settle: SettleOptions = field(default_factory=SettleOptions)
    most: int = 10_000  # files that may be waited for at once; the others get their turn
    recheck_s: float = 3600.0  # what was decided is decided anew after so long, changed or not
    once: bool = False  # end when all that is there is done
    retry_failed: bool = False  # try what failed before the start, although it is the same file


class Rhythm:
    """The times of looks; `now_s` is of a clock that never goes back."""

    def __init__(self, options: WatchOptions, now_s: Callable[[], float]) -> None:
        self._options = options
        self._now_s = now_s
        self._first_s: float | None = None
        self._looked_s = self._glanced_s = self._checked_s = 0.0
        self._took_s = self._glance_took_s = 0.0
        self._began_s = 0.0  # of the look or glance that is under way
        self._is_stirred = False

    def stir(self) -> None:
        """Something happened: the next full look comes sooner."""
        self._is_stirred = True

    def is_look_due(self, *, has_room_for_more: bool) -> bool:
        """Whether all folders are to be gone through; `has_room_for_more` than the last look."""
        if self._first_s is None:
            return True
        since_s = self._now_s() - self._looked_s
        rest_s = max(self._options.rest_s, self._options.rest * self._took_s)
        if has_room_for_more:
            return since_s >= rest_s
        if self._options.once:
            return False
        return since_s >= max(rest_s, 0.0 if self._is_stirred else self._options.every_s)

    def is_glance_due(self) -> bool:
        """Whether incomplete files are to be seen again."""
        rest_s = max(self._options.glance_s, self._glance_took_s)
        return self._now_s() - self._glanced_s >= rest_s

    def has_waited_long(self, since_s: float) -> bool:
        """Whether files that were met then had the time to become complete."""
        settle = self._options.settle
        patience_s = 2 * settle.quiet_s + settle.looks * self._options.glance_s
        return self._now_s() - since_s > patience_s

    def has_taken_long(self) -> bool:
        """Whether the look or glance that is under way has; there is more to do than looking."""
        return self._now_s() - self._began_s > self._options.most_s

    @contextmanager
    def look(self) -> Iterator[bool]:
        """While folders are gone through; whether what was decided is to be decided anew."""
        began_s = self._began_s = self._now_s()
        is_first = self._first_s is None
        if is_first:
            self._first_s = began_s
        is_recheck = is_first or began_s - self._checked_s >= self._options.recheck_s
        if is_recheck:
            self._checked_s = began_s
        self._is_stirred = False
        yield is_recheck
        self._looked_s = self._now_s()
        self._took_s = self._looked_s - began_s

    @contextmanager
    def glance(self) -> Iterator[None]:
        """While incomplete files are seen again."""
        began_s = self._began_s = self._now_s()
        yield
        self._glanced_s = self._now_s()
        self._glance_took_s = self._glanced_s - began_s
