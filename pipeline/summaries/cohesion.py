"""Where the subject changes, by the words alone.

Goes in: the words of consecutive sentences. Comes out: sentences that begin something new, and how
clear that is. Does not know: times, models.

TextTiling (Hearst, "TextTiling: segmenting text into multi-paragraph subtopic passages", 1997):
the words before and after each gap are compared; where they are least alike, a chapter begins. Its
time grows with the number of words, not with its square.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BLOCK_TERMS = 120  # compared on each side of a gap; Hearst: 10 blocks of 20 words, of dense prose
_WEAK = 0.05  # deviation of the likenesses: below, all words are alike or all are new


@dataclass(frozen=True, slots=True)
class Boundary:
    """A sentence that may begin a chapter."""

    sentence: int
    depth: float  # how much less alike its two sides are than those of the gaps around


def boundaries(sentences: Sequence[Sequence[str]], weights: Mapping[str, float]) -> list[Boundary]:
    """The clear changes of subject, clearest first; none when the words hardly change."""
    likeness = _likenesses(sentences, weights)
    if len(likeness) < 2 or pstdev(likeness) < _WEAK:  # noqa: PLR2004  - a valley has two sides
        return []
    depths = _depths(likeness)
    limit = fmean(depths) + pstdev(depths) / 2  # Hearst: "HC", the stricter of her limits
    clear = [
        Boundary(gap + 1, depth)
        for gap, depth in enumerate(depths)
        if depth > limit and _is_valley(likeness, gap)
    ]
    return sorted(clear, key=lambda one: -one.depth)


def _likenesses(sentences: Sequence[Sequence[str]], weights: Mapping[str, float]) -> list[float]:
    """The cosine of the words before and after each gap between two sentences."""
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    first = end = 0  # before: sentences[first:gap + 1], after: sentences[gap + 1:end]
    found = []
    for gap in range(len(sentences) - 1):
        before.update(sentences[gap])
        if end > gap:
            after.subtract(sentences[gap])
        end = max(end, gap + 1)
        while before.total() - len(sentences[first]) >= BLOCK_TERMS:
            before.subtract(sentences[first])
            first += 1
        while end < len(sentences) and (end == gap + 1 or after.total() < BLOCK_TERMS):
            after.update(sentences[end])
            end += 1
        before, after = +before, +after
        found.append(_cosine(before, after, weights))
    return found


def _cosine(one: Counter[str], other: Counter[str], weights: Mapping[str, float]) -> float:
    common = one.keys() & other.keys()
    product = sum(one[term] * other[term] * weights[term] ** 2 for term in common)
    lengths = (
        sum((count * weights[term]) ** 2 for term, count in side.items()) for side in (one, other)
    )
    return product / (math.prod(map(math.sqrt, lengths)) or 1.0)


def _depths(likeness: list[float]) -> list[float]:
    """How far each gap lies below the peaks to its left and right."""
    left = _climbs(likeness)
    right = _climbs(likeness[::-1])[::-1]
    return [a + b - 2 * own for a, b, own in zip(left, right, likeness, strict=True)]


def _climbs(likeness: list[float]) -> list[float]:
    """The peak that is reached by climbing from each gap to the left."""
    peaks: list[float] = []
    for gap, own in enumerate(likeness):
        climbs = gap > 0 and likeness[gap - 1] >= own
        peaks.append(peaks[-1] if climbs else own)
    return peaks


def _is_valley(likeness: list[float], gap: int) -> bool:
    return likeness[gap] == min(likeness[max(0, gap - 1) : gap + 2])
