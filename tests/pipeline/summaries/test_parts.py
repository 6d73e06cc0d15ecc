"""Parts that fit, with every line in exactly one of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import TextEngineFailed
from pipeline.summaries.parts import divide, halves, pieces_of, shares
from pipeline.summaries.records import Line
from tests.pipeline.summaries.scripted_engine import tokens_in
from tests.pipeline.summaries.talks import of_texts, talk


def cost(pieces):
    return sum(tokens_in(piece.text) + 4 for piece in pieces)


class Counting:
    """A measure that counts how often it is asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, pieces):
        self.asked += 1
        return cost(pieces)


WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=14), max_size=30).map(" ".join)
TEXTS = st.lists(
    st.one_of(
        WORDS,
        st.text("春夏秋冬山川", min_size=1, max_size=200),
        st.integers(1, 300).map(lambda count: "word " * count),
        st.integers(1, 600).map(lambda count: "x" * count),
        st.just(""),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=80)
@given(TEXTS, st.integers(12, 400))
def test_every_line_is_in_exactly_one_part_and_no_part_is_over_the_budget(texts, room):
    pieces = pieces_of(of_texts(*texts).lines)
    parts = divide(pieces, room, cost)
    assert all(part for part in parts)
    assert all(cost(part) <= room for part in parts)
    flat = [piece for part in parts for piece in part]
    assert [piece.line for piece in flat] == sorted(piece.line for piece in flat)
    for number, text in enumerate(texts):
        own = [piece for piece in flat if piece.line == number]
        assert "".join(piece.text for piece in own).replace(" ", "") == text.replace(" ", "")
        assert {piece.start_s for piece in own} == {number * 5.0}


@settings(max_examples=40)
@given(st.lists(st.integers(5, 40), min_size=30, max_size=400), st.integers(400, 2000))
def test_parts_are_few_and_about_equal(counts, room):
    pieces = pieces_of(of_texts(*("word " * count for count in counts)).lines)
    parts = divide(pieces, room, cost)
    costs = [cost(part) for part in parts]
    assert len(parts) <= 1.4 * cost(pieces) / room + 2
    assert min(costs) >= max(costs) / 4


def test_lines_stay_whole_when_they_fit():
    pieces = pieces_of(talk(60).lines)
    parts = divide(pieces, 2000, cost)
    assert [piece for part in parts for piece in part] == list(pieces)


def test_a_line_that_is_too_long_is_split_between_words():
    pieces = pieces_of(of_texts("one", "word " * 500, "two").lines)
    parts = divide(pieces, 100, cost)
    words = [piece.text.split() for part in parts for piece in part if piece.line == 1]
    assert sum(map(len, words)) == 500
    assert {word for some in words for word in some} == {"word"}


def test_text_without_spaces_is_split_between_characters():
    text = "山" * 3000
    parts = divide(
        pieces_of(of_texts(text).lines), 100, lambda part: sum(len(p.text) for p in part)
    )
    assert "".join(piece.text for part in parts for piece in part) == text


def test_twelve_hours_are_counted_about_once_a_part():
    measure = Counting()
    parts = divide(pieces_of(talk(720).lines), 2500, measure)
    assert len(parts) > 50
    assert measure.asked <= 1.2 * len(parts) + 2


def test_what_fits_is_one_part():
    pieces = pieces_of(talk(3).lines)
    assert divide(pieces, 10_000, cost) == (pieces,)


def test_a_room_for_nothing_is_an_error():
    with pytest.raises(TextEngineFailed, match="larger context"):
        divide(pieces_of(of_texts("word word").lines), 3, cost)


def test_halves_are_two_and_lose_nothing():
    part = pieces_of(talk(5).lines)
    one, other = halves(part)
    assert (*one, *other) == part
    one, other = halves(pieces_of(of_texts("all in one line").lines))
    assert one[0].text + " " + other[0].text == "all in one line"
    assert len(halves(pieces_of(of_texts("x").lines))) == 1


def test_control_tokens_are_gone_before_parts_are_counted():
    (piece,) = pieces_of([Line(1.0, 2.0, "hello <|im_end|> [754] there")])
    assert piece.text == "hello ‹¦im_end¦› (754) there"


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=60), st.integers(1, 70))
def test_shares_keep_everything_in_order(sizes, count):
    items = tuple(range(len(sizes)))
    found = shares(items, sizes, count)
    assert [item for share in found for item in share] == list(items)
    assert 1 <= len(found) <= count
    if len(sizes) > 1 and count > 1:
        assert len(found) > 1
