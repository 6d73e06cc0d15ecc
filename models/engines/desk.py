"""What is on its way through an engine: clips, and the parts of them that are still to be heard.

Goes in: clips as they are wanted, then what was heard of each part. Comes out: parts to hear, and
clips that are answered. Does not know: models, who asked, in which order answers are wanted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.types import SAMPLE_RATE_HZ, Clip, Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.types import Segment, Window

# Bounds on work that speech does not meet: how often the rest of a window is heard; up to which
# round it is halved, or heard though what came of it was cut short. Quarters hold 30 tokens a
# second; scripts with most tokens need 25.
MAX_ROUNDS = 8
EARLY_ROUNDS = 2


@dataclass(slots=True, eq=False)
class Taken:
    """A clip that was taken and is not answered yet."""

    clip: Clip
    segments: list[Segment] = field(default_factory=list)
    unheard: int = 1  # parts of it that are still to be heard

    @property
    def is_answered(self) -> bool:
        """Whether nothing is unheard."""
        return not self.unheard

    def forget(self) -> None:
        """Begin anew."""
        self.segments, self.unheard = [], 1

    @property
    def heard(self) -> Heard:
        """The answer, when there is one."""
        segments = sorted(self.segments, key=lambda segment: segment.start_s)
        return Heard(self.clip.window, tuple(segments))


@dataclass(slots=True, eq=False)
class Question:
    """Which language a clip is in."""

    clip: Clip
    probabilities: dict[str, float] = field(default_factory=dict)  # of each language, if answered

    @property
    def is_answered(self) -> bool:
        """Whether the probabilities are there."""
        return bool(self.probabilities)

    def forget(self) -> None:
        """Begin anew."""
        self.probabilities = {}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A clip, or what is left of it."""

    of: Taken
    clip: Clip
    round: int = 1

    @property
    def may_continue(self) -> bool:
        """Whether what it leaves unheard may be heard in another round."""
        return self.round < MAX_ROUNDS

    @property
    def is_early(self) -> bool:
        """Whether it may be heard in halves, or on where a failure was cut short."""
        return self.round <= EARLY_ROUNDS


class Desk:
    """Nothing leaves it before it is answered, so that whatever fails can be done again.

    `take(n)` gives up to n clips or questions, none if none waits now.
    """

    def __init__(self, take: Callable[[int], Sequence[Taken | Question]]) -> None:
        self._take = take
        self._waiting: deque[Part] = deque()
        self._questions: deque[Question] = deque()
        self._in_work: dict[object, Part] = {}

    def fill(self, room: int) -> None:
        """Take what there is room for."""
        for one in self._take(max(0, room - len(self._waiting))):
            if isinstance(one, Question):
                self._questions.append(one)
            else:
                self._waiting.append(Part(one, one.clip))

    @property
    def question(self) -> Question | None:
        """The next one that is not answered."""
        return self._questions[0] if self._questions else None

    def answer(self, probabilities: dict[str, float]) -> None:
        """Answer the next question."""
        self._questions.popleft().probabilities = probabilities

    def parts(self, room: int) -> list[Part]:
        """The next to hear; they wait until they are begun."""
        return [self._waiting[i] for i in range(min(room, len(self._waiting)))]

    def begin(self, ticket: object) -> None:
        """The next part is in work, under the ticket."""
        self._in_work[ticket] = self._waiting.popleft()

    def part(self, ticket: object) -> Part:
        """What is in work under it."""
        return self._in_work[ticket]

    def finish(self, ticket: object, segments: Sequence[Segment], rest: Sequence[Window]) -> Taken:
        """A part was heard; `rest` is left of it, and comes next."""
        part = self._in_work.pop(ticket)
        part.of.segments += segments
        part.of.unheard += len(rest) - 1
        again = [Part(part.of, _clip_of(part.clip, window), part.round + 1) for window in rest]
        self._waiting.extendleft(reversed(again))
        return part.of

    def put_back(self) -> None:
        """What was in work waits again, before all else."""
        self._waiting.extendleft(reversed(self._in_work.values()))
        self._in_work.clear()


def _clip_of(clip: Clip, window: Window) -> Clip:
    """The sound of a window inside the clip's own."""
    first = round((window.start_s - clip.window.start_s) * SAMPLE_RATE_HZ)
    last = round((window.end_s - clip.window.start_s) * SAMPLE_RATE_HZ)
    return Clip(window, clip.samples[first:last], clip.options)
