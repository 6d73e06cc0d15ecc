"""One recording's questions: asked, counted, timed and kept.

Goes in: questions and who asks them. Comes out: notes, or why there are none. Does not know: what
is asked, in which order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from pipeline import codec
from pipeline.errors import QuestionTooLong, TextEngineFailed
from pipeline.summaries.answers import UnusableAnswer
from pipeline.summaries.records import PROGRAM, Notes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.protocols import TextEngine
    from pipeline.summaries.planning import Plan
    from pipeline.summaries.records import Spoken
    from pipeline.types import TextRequest

T = TypeVar("T")

MAX_FAILURES_IN_A_ROW = 3  # then the engine is gone, and the rest need not be tried
MOST_SILENCE_S = 300.0  # and one that fails has not said a word for so long


class SummaryListener(Protocol):
    """Is told how far a summary is."""

    def calls(self, done: int, total: int, left_s: float | None) -> None:
        """So many of the questions are answered; left_s is a guess, None before the first."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know."""
        ...


class Once(Protocol):
    """Gives what an earlier run saved under this name, else makes and saves it (store.Folder)."""

    def __call__(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        """The value of that name."""
        ...


def made_anew(name: str, kind: type[T], make: Callable[[], T]) -> T:  # noqa: ARG001  - an Once
    """Save nothing."""
    return make()


@dataclass(slots=True)
class Work:
    """What all steps use, and how far they are."""

    spoken: Spoken
    engine: TextEngine
    plan: Plan
    listener: SummaryListener
    heed: Callable[[], None]
    once: Once
    now_s: Callable[[], float]
    done: int = 0
    total: int = 0
    answered: int = 0
    asked_s: float = 0.0  # how long the engine was at work in this run
    asked: int = 0  # questions of this run
    failures_in_a_row: int = 0
    is_silent: bool = True  # until the first answer, usable or not
    fallbacks: list[str] = field(default_factory=list)

    def notes(self, request: TextRequest, make: Callable[[], Notes]) -> Notes | TextEngineFailed:
        """What `make` takes from the answer, or why nothing can be taken.

        Raises TextEngineFailed when the engine has not answered a few times in a row, or never in
        a long time.
        """
        model = self.engine.description.model
        name = hashlib.sha256(codec.dumps((PROGRAM, model, request)).encode()).hexdigest()[:24]
        try:
            notes = self.once(f"notes-{name}", Notes, lambda: self._timed(make))
        except UnusableAnswer as error:
            self.failures_in_a_row, self.is_silent = 0, False
            self.listener.note(f"an answer could not be used: {error.reason}")
            return error
        except QuestionTooLong as error:  # the engine is there
            self.failures_in_a_row = 0
            self.listener.note(str(error))
            return error
        except TextEngineFailed as error:
            self.failures_in_a_row += 1
            if self.failures_in_a_row >= MAX_FAILURES_IN_A_ROW or self._is_mute():
                raise
            self.listener.note(str(error))
            return error
        else:
            self.failures_in_a_row, self.is_silent = 0, False
            self.answered += 1
            return notes
        finally:
            self.done += 1
            self.tell()

    def tell(self) -> None:
        """How far it is."""
        left_s = self.asked_s / self.asked * (self.total - self.done) if self.asked else None
        self.listener.calls(self.done, self.total, left_s)

    def _is_mute(self) -> bool:
        return self.is_silent and self.asked_s >= MOST_SILENCE_S

    def _timed(self, make: Callable[[], Notes]) -> Notes:
        began_s = self.now_s()
        try:
            return make()
        finally:
            self.asked += 1
            self.asked_s += self.now_s() - began_s
