"""Notes of parts, joined.

Goes in: notes in order. Comes out: one set of notes. Does not know: engines, transcripts.

A model is shown numbered points and chapters and answers with numbers: it can choose and retitle,
and cannot invent a time. Lists of names and questions are joined by code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from pipeline.summaries.cleaning import neutral, short
from pipeline.summaries.parts import shares
from pipeline.summaries.prompts import clock
from pipeline.summaries.records import KeyPoint, Mark, Notes
from pipeline.summaries.words import terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.summaries.answers import MergeAnswer
    from pipeline.summaries.lengths import Measure

T = TypeVar("T")

NOTES_TOKENS = 600  # what one part's notes take in a merge, about
MOST_AT_ONCE = 16  # a model loses sight of more
MOST_LISTED = 20  # topics, people, terms, questions
MOST_ACTIONS = 60
_SAME = 0.8  # of two points' words in common: they say the same
_NEAR = 8  # points among which the same is looked for


@dataclass(frozen=True, slots=True)
class Shown:
    """Notes as a merge sees them: a text, and what its numbers mean, from 1 on."""

    text: str
    points: tuple[KeyPoint, ...]
    chapters: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Detail:
    """How much of each part's notes a merge is shown."""

    points: int
    chapters: int
    abstract_chars: int


# From much to little: the first that fits the context is taken.
DETAILS = (Detail(10, 8, 900), Detail(6, 5, 500), Detail(3, 3, 300), Detail(1, 1, 120))


def fan_in(room_tokens: int) -> int:
    """How many parts' notes are merged at once."""
    return max(2, min(MOST_AT_ONCE, room_tokens // NOTES_TOKENS))


def groups(items: tuple[T, ...], at_once: int) -> tuple[tuple[T, ...], ...]:
    """Neighbours to be merged, in groups of about equal size."""
    return shares(items, [1.0] * len(items), math.ceil(len(items) / at_once))


def merges(parts: int, at_once: int) -> int:
    """How many merges it takes to make one of so many."""
    if parts <= 1:
        return 0
    sizes = [len(group) for group in groups(tuple(range(parts)), at_once)]
    return sum(size > 1 for size in sizes) + merges(len(sizes), at_once)


def show(group: tuple[Notes, ...], detail: Detail) -> Shown:
    """Several notes as text, harmless, with numbered points and chapters."""
    points: list[KeyPoint] = []
    chapters: list[Mark] = []
    blocks = []
    for notes in group:
        lines = [f"# {neutral(notes.title)}", neutral(notes.abstract[: detail.abstract_chars])]
        for point in spread(notes.points, detail.points):
            points.append(point)
            lines.append(f"point {len(points)}: {neutral(point.text)}")
        for mark in spread(notes.chapters, detail.chapters):
            chapters.append(mark)
            lines.append(
                f"chapter {len(chapters)}, from {clock(mark.start_s)}: {neutral(mark.title)}"
            )
        blocks.append("\n".join(lines))
    return Shown("\n\n".join(blocks), tuple(points), tuple(chapters))


def chosen(answer: MergeAnswer, shown: Shown, joined: Notes) -> Notes:
    """The joined notes with what the model chose; where it chose nothing real, code has chosen."""
    wanted = {number for number in answer.points if 1 <= number <= len(shown.points)}
    titles = {one.number: one.title for one in reversed(answer.chapters)}
    points = distinct(shown.points[number - 1] for number in sorted(wanted))
    marks = tuple(
        Mark(mark.start_s, titles[number])
        for number, mark in enumerate(shown.chapters, start=1)
        if number in titles
    )
    return replace(
        joined,
        title=answer.title,
        abstract=answer.abstract,
        points=points or joined.points,
        chapters=marks or joined.chapters,
    )


def join(group: tuple[Notes, ...], most: Measure) -> Notes:
    """Several notes as one, by code alone."""
    points = distinct(chain.from_iterable(notes.points for notes in group))
    marks = tuple(chain.from_iterable(notes.chapters for notes in group))
    return Notes(
        title=group[0].title,
        abstract=short(" ".join(notes.abstract for notes in group), "abstract"),
        points=spread(points, most.most_points),
        chapters=spread(marks, most.most_chapters),
        topics=_listed((notes.topics for notes in group), str),
        people=_listed((notes.people for notes in group), lambda person: person.name),
        terms=_listed((notes.terms for notes in group), lambda term: term.name),
        questions=_listed((notes.questions for notes in group), str),
        actions=_first_of_each(
            chain.from_iterable(notes.actions for notes in group), lambda action: action.text
        )[:MOST_ACTIONS],
    )


def spread(items: tuple[T, ...], most: int) -> tuple[T, ...]:
    """At most so many, evenly from the beginning to the end."""
    if len(items) <= most:
        return items
    return tuple(items[(2 * number + 1) * len(items) // (2 * most)] for number in range(most))


def distinct(points: Iterable[KeyPoint]) -> tuple[KeyPoint, ...]:
    """Points without those that say what one shortly before has said."""
    kept: list[tuple[KeyPoint, frozenset[str]]] = []
    for point in points:
        words = frozenset(terms(point.text))
        if not any(_alike(words, known) for _, known in kept[-_NEAR:]):
            kept.append((point, words))
    return tuple(point for point, _ in kept)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _SAME * max(len(one | other), 1)


def _listed(lists: Iterable[tuple[T, ...]], name: Callable[[T], str]) -> tuple[T, ...]:
    """What most parts name, at most so many, in the order of their first mention."""
    everything = tuple(chain.from_iterable(lists))
    count: dict[str, int] = {}
    for item in everything:
        count[_key(name(item))] = count.get(_key(name(item)), 0) + 1
    unique = _first_of_each(everything, name)
    often = sorted(unique, key=lambda item: -count[_key(name(item))])[:MOST_LISTED]
    kept = {_key(name(item)) for item in often}
    return tuple(item for item in unique if _key(name(item)) in kept)


def _first_of_each(items: Iterable[T], name: Callable[[T], str]) -> tuple[T, ...]:
    first: dict[str, T] = {}
    for item in items:
        first.setdefault(_key(name(item)), item)
    return tuple(first.values())


def _key(text: str) -> str:
    return " ".join(terms(text)) or text
