"""How much of everything is sensible, by how long somebody speaks.

Goes in: a length. Comes out: a row of a table. Does not know: models, texts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """What suits recordings of up to some length."""

    up_to_s: float
    shortest_chapter_s: float
    most_chapters: int
    most_points: int


# YouTube asks that chapters be 10 s or longer, ascending, the first at 0:00, and at most 100
# (support.google.com/youtube/answer/9884579). Podcasting 2.0 asks for ascending starts and sets no
# numbers (podcast-namespace, jsonChapters.md 1.2). How many are of use, and how many points a
# reader reads, is our choice: a chapter each 3 to 25 minutes, from short to long.
MEASURES = (
    Measure(60, 10, 1, 3),
    Measure(5 * 60, 10, 3, 4),
    Measure(15 * 60, 30, 6, 6),
    Measure(45 * 60, 60, 10, 10),
    Measure(2 * 3600, 120, 16, 14),
    Measure(5 * 3600, 180, 24, 20),
    Measure(math.inf, 300, 32, 24),
)


def measure(length_s: float) -> Measure:
    """The first row that is long enough."""
    return next(row for row in MEASURES if length_s <= row.up_to_s)
