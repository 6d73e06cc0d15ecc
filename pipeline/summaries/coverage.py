"""Proof of what was summarised.

Goes in: what was said, and the parts that got an answer. Comes out: which speech was in them.
Does not know: how parts were made. It compares texts, so that a mistake there would be seen here.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import groupby
from typing import TYPE_CHECKING

from pipeline.summaries.cleaning import neutral
from pipeline.summaries.records import Coverage
from pipeline.types import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.summaries.parts import Part
    from pipeline.summaries.records import Line, Spoken


def coverage(spoken: Spoken, answered: Iterable[Part], requests: int) -> Coverage:
    """A line counts when all of its text was in parts that got an answer."""
    asked: defaultdict[int, str] = defaultdict(str)
    for part in answered:
        for piece in part:
            asked[piece.line] += piece.text
    covered = [
        _unspaced(asked[number]) == _unspaced(neutral(line.text))
        for number, line in enumerate(spoken.lines)
    ]
    return Coverage(
        speech_s=_sum_s(spoken.lines),
        covered_s=_sum_s(line for line, is_in in zip(spoken.lines, covered, strict=True) if is_in),
        missing=_gaps(spoken.lines, covered),
        requests=requests,
    )


def whole(spoken: Spoken) -> Coverage:
    """Everything was read, by nobody who had to be asked."""
    speech_s = _sum_s(spoken.lines)
    return Coverage(speech_s, speech_s, missing=(), requests=0)


def _unspaced(text: str) -> str:
    return "".join(text.split())


def _sum_s(lines: Iterable[Line]) -> float:
    return round(sum(line.end_s - line.start_s for line in lines), 3)


def _gaps(lines: tuple[Line, ...], covered: list[bool]) -> tuple[Span, ...]:
    """Neighbouring lines that are not covered, as one span each."""
    gaps = []
    for is_in, group in groupby(zip(lines, covered, strict=True), key=lambda pair: pair[1]):
        if not is_in:
            missed = [line for line, _ in group]
            gaps.append(Span(missed[0].start_s, max(line.end_s for line in missed)))
    return tuple(gaps)
