"""How much is sensible, by length."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pipeline.summaries.lengths import MEASURES, measure


@pytest.mark.parametrize(
    ("minutes", "most_chapters", "most_points"),
    [
        (0, 1, 3),
        (1, 1, 3),
        (4, 3, 4),
        (10, 6, 6),
        (30, 10, 10),
        (90, 16, 14),
        (180, 24, 20),
        (720, 32, 24),
    ],
)
def test_longer_recordings_have_more(minutes, most_chapters, most_points):
    found = measure(minutes * 60)
    assert (found.most_chapters, found.most_points) == (most_chapters, most_points)


def test_no_chapter_is_shorter_than_players_allow_and_the_most_always_fit():
    for shorter, longer in pairwise(MEASURES):
        assert shorter.up_to_s < longer.up_to_s
        assert longer.shortest_chapter_s >= shorter.shortest_chapter_s >= 10
        assert longer.most_chapters * longer.shortest_chapter_s <= 2.2 * shorter.up_to_s
