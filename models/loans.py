"""One thing at a time, lent to many at once.

Goes in: who wants it, and how to make another one. Comes out: the thing, for as long as it is used.
Does not know: what it is.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Condition, Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

HEED_EVERY_S = 0.2  # how soon one that waits sees that it is to stop


def nothing() -> None:
    """What is done while nobody wants anything."""


def forget(_thing: object) -> None:
    """What ends a thing that is gone with the last reference to it."""


class Loans(Generic[T]):
    """Whoever wants another thing waits until this one is given back, and others wait behind.

    `heed` is called while one waits, and may raise to make it stop. `end` is called once for each
    thing that nobody has and nobody will be lent.
    """

    def __init__(
        self, heed: Callable[[], None] = nothing, end: Callable[[T], None] = forget
    ) -> None:
        self._heed = heed
        self._end = end
        self._thing: T | None = None
        self._lent = 0  # all of one thing: another is made only when nobody has this one
        self._turn = Lock()
        self._returned = Condition()

    @property
    def thing(self) -> T | None:
        """What is there now."""
        return self._thing

    @contextmanager
    def lend(self, serves: Callable[[T], bool], make: Callable[[], T]) -> Iterator[T]:
        """The thing that is there if it serves, else a new one, made when nobody has the old."""
        with self._own_turn():
            thing = self._taken(serves)
            if thing is None:
                thing = self._new(make)
        try:
            yield thing
        finally:
            self._give_back(thing)

    def let_go(self) -> None:
        """Give up what nobody uses."""
        with self._returned:
            if not self._lent:
                self._give_up()

    def drop(self, thing: T) -> None:
        """Lend it to nobody any more."""
        with self._returned:
            if self._thing is thing:
                self._thing = None
                if not self._lent:
                    self._end(thing)

    @contextmanager
    def _own_turn(self) -> Iterator[None]:
        while not self._turn.acquire(timeout=HEED_EVERY_S):
            self._heed()
        try:
            yield
        finally:
            self._turn.release()

    def _taken(self, serves: Callable[[T], bool]) -> T | None:
        """What is there, if it serves; else it is given up, when nobody has it any more."""
        with self._returned:
            if self._thing is not None and serves(self._thing):
                self._lent += 1
                return self._thing
            while self._lent:
                self._returned.wait(HEED_EVERY_S)
                self._heed()
            self._give_up()  # its memory is free before the next one takes some
            return None

    def _new(self, make: Callable[[], T]) -> T:
        thing = make()
        with self._returned:
            self._thing, self._lent = thing, 1
        return thing

    def _give_back(self, thing: T) -> None:
        with self._returned:
            self._lent -= 1
            if not self._lent and self._thing is not thing:  # it was dropped meanwhile
                self._end(thing)
            self._returned.notify_all()

    def _give_up(self) -> None:
        thing, self._thing = self._thing, None
        if thing is not None:
            self._end(thing)
