"""Times that are real.

Goes in: what a model cites, and the lines it was shown. Comes out: the same with the start of a
real line, or nothing. Does not know: models, prompts.

A citation is right when the words it quotes stand in the line it names. When they stand elsewhere,
that is where it belongs. When they stand nowhere, it is invented. Where it quotes nothing, or fewer
words than a place is known by, the line it names decides, if there is one.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from pipeline.summaries.lengths import measure
from pipeline.summaries.records import ActionItem, Chapter, KeyPoint, Mark, Notes
from pipeline.summaries.words import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.summaries.answers import Cited, PartAnswer
    from pipeline.summaries.parts import Part
    from pipeline.summaries.records import Spoken
    from pipeline.summaries.styles import ListName

MIN_QUOTE_TOKENS = 3  # fewer words stand anywhere
_ENDS_TOKENS = 4  # a quote that was changed in the middle may be right at its ends
_MAX_PLACES = 50  # of one quote


@dataclass(frozen=True, slots=True)
class Place:
    """A line's start, and where in the part it stands."""

    start_s: float
    order: int


class Lines:
    """The lines of a part, to look citations up in."""

    def __init__(self, part: Part) -> None:
        words = [tokens(piece.text) for piece in part]
        self._places = [Place(piece.start_s, order) for order, piece in enumerate(part)]
        self._ends = list(accumulate(len(one) for one in words))  # in tokens
        self._text = " " + " ".join(word for one in words for word in one) + " "

    def find(self, cited: Cited) -> float | None:
        """The start of the line that is cited; None when no line is, or not in these words."""
        words = tokens(cited.quote)
        if len(words) >= MIN_QUOTE_TOKENS:
            quoted = self._quoted(words)
            nearest = min(quoted, key=lambda place: _far(place, cited.second), default=None)
            return nearest.start_s if nearest else None
        named = (place for place in self._places if int(place.start_s) == cited.second)
        return next((place.start_s for place in named), None)

    def _quoted(self, words: list[str]) -> list[Place]:
        for some in (words, words[:_ENDS_TOKENS], words[-_ENDS_TOKENS:]):
            if places := list(self._places_of(some)):
                return places
        return []

    def _places_of(self, words: list[str]) -> Iterator[Place]:
        wanted = " " + " ".join(words) + " "
        at = -1
        counted, before = 0, 0  # tokens before a place, counted once
        for _ in range(_MAX_PLACES):
            at = self._text.find(wanted, at + 1)
            if at < 0:
                return
            before += self._text.count(" ", counted, at)
            counted = at
            yield self._places[bisect_right(self._ends, before)]


def _far(place: Place, second: int | None) -> float:
    """How far a line is from the one that is named; the first comes first where none is."""
    return abs(int(place.start_s) - second) if second is not None else place.order


def grounded(answer: PartAnswer, part: Part, lists: tuple[ListName, ...]) -> Notes:
    """A part's notes, without what is said nowhere in it, and with those lists that were asked."""
    lines = Lines(part)
    points = ((lines.find(cited), cited.text) for cited in answer.points)
    marks = ((lines.find(cited), cited.text) for cited in answer.chapters)
    return Notes(
        title=answer.title,
        abstract=answer.abstract,
        points=in_order(KeyPoint(at, text) for at, text in points if at is not None),
        chapters=_marks(Mark(at, title) for at, title in marks if at is not None),
        topics=answer.topics if "topics" in lists else (),
        people=answer.people if "people" in lists else (),
        terms=answer.terms if "terms" in lists else (),
        questions=answer.questions if "questions" in lists else (),
        actions=tuple(
            ActionItem(lines.find(action.cited), action.cited.text, action.who, action.due)
            for action in answer.actions
            if "actions" in lists
        ),
    )


def in_order(points: Iterable[KeyPoint]) -> tuple[KeyPoint, ...]:
    """By time; points of the same time stay as they come."""
    return tuple(sorted(points, key=lambda point: point.start_s))


def _marks(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """By time, the first of each time."""
    first: dict[float, Mark] = {}
    for mark in sorted(marks, key=lambda mark: mark.start_s):
        first.setdefault(mark.start_s, mark)
    return tuple(first.values())


def chapters(marks: Iterable[Mark], spoken: Spoken, opening: str) -> tuple[Chapter, ...]:
    """Chapters in order, from the first line to the end, none shorter than is sensible.

    `opening` is the title of what comes before the first mark. Every mark is a line's start.
    """
    if not spoken.lines:
        return ()
    begin_s = spoken.lines[0].start_s
    end_s = max((spoken.duration_s, *(line.end_s for line in spoken.lines)))
    rules = measure(end_s - begin_s)
    kept: list[Mark] = []
    for mark in _from_the_start(_marks(marks), begin_s, rules.shortest_chapter_s, opening):
        is_first = not kept
        if is_first or mark.start_s - kept[-1].start_s >= rules.shortest_chapter_s:
            kept.append(mark)
    if len(kept) > 1 and end_s - kept[-1].start_s < rules.shortest_chapter_s:
        kept.pop()
    while len(kept) > rules.most_chapters:
        del kept[_shortest(kept, end_s)]
    ends_s = [mark.start_s for mark in kept[1:]] + [end_s]
    return tuple(
        Chapter(mark.start_s, until_s, mark.title)
        for mark, until_s in zip(kept, ends_s, strict=True)
    )


def _from_the_start(
    marks: tuple[Mark, ...], begin_s: float, shortest_s: float, opening: str
) -> tuple[Mark, ...]:
    """The first chapter begins with the first line; or another one comes before it."""
    if not marks or marks[0].start_s - begin_s >= shortest_s:
        return (Mark(begin_s, opening), *marks)
    return (Mark(begin_s, marks[0].title), *marks[1:])


def _shortest(marks: list[Mark], end_s: float) -> int:
    """The chapter to give up: the shortest but the first, which must stay."""
    starts_s = [mark.start_s for mark in marks] + [end_s]
    lengths_s = [after - start for start, after in pairwise(starts_s)]
    return min(range(1, len(marks)), key=lengths_s.__getitem__)
