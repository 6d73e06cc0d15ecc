"""A transcript in parts that fit a model's context.

Goes in: lines and a measure of tokens. Comes out: parts in order, every line in exactly one of
them, longer ones at words. Does not know: prompts, engines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import TextEngineFailed
from pipeline.summaries.cleaning import neutral

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.summaries.records import Line

T = TypeVar("T")

# Parts are equal in bytes, and bytes are not tokens: so much fuller one may be than the others.
_UNEVEN = 1.06
_LINE_BYTES = 8  # what a line costs beside its text: its time in brackets, its end


@dataclass(frozen=True, slots=True)
class Piece:
    """A line as a model is shown it, or as much of a long one as fits."""

    line: int  # which line of the transcript
    start_s: float  # where that line starts
    end_s: float  # where that line ends
    text: str  # harmless


Part = tuple[Piece, ...]


def pieces_of(lines: Iterable[Line]) -> Part:
    """All lines, whole."""
    return tuple(
        Piece(number, line.start_s, line.end_s, neutral(line.text))
        for number, line in enumerate(lines)
    )


def divide(pieces: Part, room_tokens: int, tokens_of: Callable[[Part], int]) -> tuple[Part, ...]:
    """Parts of at most `room_tokens` each, few and about equal; the measure is asked seldom.

    Raises TextEngineFailed when not even a single character fits.
    """
    tokens = tokens_of(pieces)
    if tokens <= room_tokens:
        return (pieces,)
    wanted = max(2, math.ceil(tokens * _UNEVEN / max(room_tokens, 1)))
    if len(pieces) == 1:
        pieces = _apart(pieces[0], wanted)
    return tuple(
        part
        for share in shares(pieces, [_bytes(piece) for piece in pieces], wanted)
        for part in divide(share, room_tokens, tokens_of)
    )


def halves(part: Part) -> tuple[Part, ...]:
    """A part in two, so that a smaller question can be asked."""
    if len(part) == 1:
        part = part if len(part[0].text) <= 1 else _apart(part[0], 2)
    return shares(part, [_bytes(piece) for piece in part], 2)


def shares(items: tuple[T, ...], sizes: Iterable[float], count: int) -> tuple[tuple[T, ...], ...]:
    """At most `count` neighbours' shares of about equal size; from two items on, at least two."""
    weights = tuple(sizes)
    whole = sum(weights)
    share_of = []
    before = 0.0
    for weight in weights:
        share_of.append(int((before + weight / 2) * count / whole))
        before += weight
    numbered = groupby(zip(share_of, items, strict=True), key=lambda pair: pair[0])
    return tuple(tuple(item for _, item in group) for _, group in numbered)


def _apart(piece: Piece, count: int) -> Part:
    """A long line in several pieces: between words, or characters where there are no words."""
    words = piece.text.split()
    units, glue = (tuple(words), " ") if len(words) > 1 else (tuple(piece.text), "")
    if len(units) <= 1:
        raise TextEngineFailed(
            "The language model's context leaves no room for the transcript: "
            "choose a larger context or a model that has one."
        )
    sizes = [len(unit.encode()) + len(glue) for unit in units]
    return tuple(replace(piece, text=glue.join(group)) for group in shares(units, sizes, count))


def _bytes(piece: Piece) -> int:
    return len(piece.text.encode()) + _LINE_BYTES
