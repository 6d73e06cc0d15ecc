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


class Loans(Generic[T]):
    """Whoever wants another thing waits until this one is given back, and others wait behind."""

    def __init__(self) -> None:
        self._thing: T | None = None
        self._lent = 0
        self._turn = Lock()
        self._returned = Condition()

    @property
    def thing(self) -> T | None:
        """What is there now."""
        return self._thing

    @contextmanager
    def lend(self, serves: Callable[[T], bool], make: Callable[[], T]) -> Iterator[T]:
        """The thing that is there if it serves, else a new one, made when nobody has the old."""
        with self._turn:
            thing = self._thing
            if thing is None or not serves(thing):
                with self._returned:
                    self._returned.wait_for(lambda: not self._lent)
                thing = self._thing = None  # its memory is free before the next one takes some
                thing = self._thing = make()
            with self._returned:
                self._lent += 1
        try:
            yield thing
        finally:
            with self._returned:
                self._lent -= 1
                self._returned.notify_all()

    def let_go(self) -> None:
        """Give up what nobody uses."""
        with self._turn, self._returned:
            if not self._lent:
                self._thing = None

    def drop(self, thing: T) -> None:
        """Lend it to nobody any more."""
        if self._thing is thing:
            self._thing = None
