"""Jobs side by side in one process: short ones share what an engine can hear at once.

Goes in: work, each with a seat. Comes out: whether another one may sit down. Does not know: jobs,
what the work is. At most one is on its way to the engine, and nobody else sits down while enough
sound waits there: a long file keeps an engine busy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING

from workers.lanes import Meter

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.protocols import Listener

ENOUGH_S = 2 * 60.0  # of sound that waits to be heard: more claims would only keep it from others
HEED_EVERY_S = 0.2  # how soon one that waits for its turn sees that it is to stop


@dataclass(slots=True, eq=False)
class Seat:
    """Where one piece of work sits."""

    is_alone: bool  # nobody may sit beside it
    waiting_s: float | None = None  # sound that is not heard yet; None: on its way to the engine


class Seats:
    """Threads of one process, each at work by itself. For the use of one thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = Condition()
        self._taken: list[Seat] = []  # in the order in which they were
        self._failure: BaseException | None = None

    def wait_for_room(self) -> None:
        """Until another one may sit down. Raises what work has raised, once all have left."""
        with self._changed:
            self._changed.wait_for(self._has_room)
            if self._failure:
                raise self._failure

    def wait_for_leave(self, within_s: float) -> bool:
        """Until one leaves, but not longer than this; whether anybody sat there."""
        with self._changed:
            before = len(self._taken)
            self._changed.wait_for(lambda: not before or len(self._taken) < before, within_s)
            return before > 0

    def seat(self, work: Callable[[Seat], None], *, is_alone: bool) -> None:
        """Begin in a thread of its own."""
        seat = Seat(is_alone)
        with self._changed:
            self._taken.append(seat)
        Thread(target=self._sit, args=(seat, work), name="job", daemon=True).start()

    def wait_for_turn(self, seat: Seat, heed: Callable[[], None]) -> None:
        """One that is to be alone waits until those before it have left; `heed` may raise."""
        with self._changed:
            while seat.is_alone and self._taken[0] is not seat:
                self._changed.wait(HEED_EVERY_S)
                heed()

    def metered(self, seat: Seat, listener: Listener) -> Listener:
        """The listener, which also notes how much sound waits."""
        return Meter(listener, partial(self._note, seat))

    def _sit(self, seat: Seat, work: Callable[[Seat], None]) -> None:
        try:
            work(seat)
        except BaseException as error:  # noqa: BLE001  - raised by who waits for room
            self._failure = error
        with self._changed:
            self._taken.remove(seat)
            self._changed.notify_all()

    def _has_room(self) -> bool:
        if self._failure or any(seat.is_alone for seat in self._taken):
            return not self._taken
        waiting = [seat.waiting_s for seat in self._taken]
        sound_s = sum(seconds or 0.0 for seconds in waiting)
        return None not in waiting and sound_s < ENOUGH_S and len(waiting) < self._most

    def _note(self, seat: Seat, waiting_s: float) -> None:
        with self._changed:
            seat.waiting_s = waiting_s
            self._changed.notify_all()
