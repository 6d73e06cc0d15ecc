"""Times that are real."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.answers import Cited, read_part
from pipeline.summaries.grounding import Lines, chapters, grounded
from pipeline.summaries.lengths import measure
from pipeline.summaries.parts import pieces_of
from pipeline.summaries.records import Line, Mark
from pipeline.summaries.styles import LISTS
from tests.pipeline.summaries.talks import of_texts, spoken, talk

TALK = of_texts(
    "Welcome to the show, everybody.",
    "Today we talk about Redis and its queues.",
    "A worker takes one job at a time.",
    "Welcome to the show, everybody.",
    "東京の天気は晴れです。",
)
LINES = Lines(pieces_of(TALK.lines))


@pytest.mark.parametrize(
    ("second", "quote", "start_s"),
    [
        (5, "we talk about Redis", 5.0),  # right
        (5, "WE TALK, about: redis!", 5.0),  # right but for its form
        (10, "we talk about Redis", 5.0),  # another line's time: the words decide
        (754, "takes one job at a time", 10.0),  # no line's time
        (None, "takes one job at a time", 10.0),
        (754, "A worker takes exactly one job at a time", 10.0),  # changed in the middle
        (754, "its queues. A worker takes", 5.0),  # across two lines: where it begins
        (14, "Welcome to the show", 15.0),  # said twice: the nearer one
        (2, "Welcome to the show", 0.0),
        (99, "東京の天気は", 20.0),  # no spaces
        (10, "something else entirely was said", None),  # in other words: invented
        (10, "", 10.0),  # nothing is quoted: the line decides
        (10, "one job", 10.0),  # too few words to be found by: the same
        (754, "something else entirely was said", None),  # neither
        (754, "the show", None),  # too few words to be found by
        (None, "", None),
        (12, "", None),  # between lines is no line
    ],
)
def test_citations_become_starts_of_lines_or_nothing(second, quote, start_s):
    assert LINES.find(Cited(second, quote, "text")) == start_s


def test_fractions_of_a_second_are_kept():
    lines = Lines(
        pieces_of([Line(12.84, 15.0, "so that was it"), Line(12.98, 17.0, "and then on")])
    )
    assert lines.find(Cited(12, "so that was it", "")) == 12.84
    assert lines.find(Cited(12, "and then on", "")) == 12.98


@given(
    st.lists(st.text("abc ", max_size=30), min_size=1, max_size=12),
    st.none() | st.integers(-5, 100),
    st.text("abc ", max_size=30),
)
def test_every_time_is_a_real_one(texts, second, quote):
    talk = of_texts(*texts)
    found = Lines(pieces_of(talk.lines)).find(Cited(second, quote, ""))
    assert found is None or found in {line.start_s for line in talk.lines}


def answer(**lists):
    return read_part(json.dumps({"title": "t", "abstract": "a", **lists}))


def test_points_that_are_nowhere_are_dropped_and_the_rest_is_in_order():
    points = [
        {"second": 10, "quote": "one job at a time", "text": "later"},
        {"second": 999, "quote": "never said by anyone", "text": "invented"},
        {"second": 5, "quote": "nobody ever said that", "text": "invented, at a real time"},
        {"second": 0, "quote": "welcome to the show", "text": "first"},
    ]
    notes = grounded(answer(points=points), pieces_of(TALK.lines), LISTS)
    assert [(point.start_s, point.text) for point in notes.points] == [
        (0.0, "first"),
        (10.0, "later"),
    ]


def test_actions_without_a_place_stay_without_a_time():
    action = {"second": 999, "quote": "", "text": "Buy bread", "who": "Ada", "due": ""}
    notes = grounded(answer(actions=[action]), pieces_of(TALK.lines), LISTS)
    assert (notes.actions[0].start_s, notes.actions[0].text) == (None, "Buy bread")


def test_lists_that_were_not_asked_for_are_left_out():
    said = answer(topics=["queues"], actions=[{"text": "Buy bread"}], questions=["Why?"])
    notes = grounded(said, pieces_of(TALK.lines), ("topics",))
    assert (notes.topics, notes.actions, notes.questions) == (("queues",), (), ())


TALKS = st.builds(
    lambda steps: spoken(
        Line(sum(steps[:n]), sum(steps[: n + 1]), "word") for n in range(len(steps))
    ),
    st.lists(st.floats(0.5, 300), min_size=1, max_size=80),
)


@given(TALKS, st.data())
def test_chapters_are_in_order_touch_and_cover_the_whole(talk, data):
    starts = [line.start_s for line in talk.lines]
    marks = data.draw(st.lists(st.builds(Mark, st.sampled_from(starts), st.text(max_size=5))))
    found = chapters(marks, talk, "Opening")
    assert found[0].start_s == starts[0]
    assert found[-1].end_s == max(talk.duration_s, talk.lines[-1].end_s)
    assert all(one.end_s == after.start_s for one, after in pairwise(found))
    assert {chapter.start_s for chapter in found} <= set(starts)
    rules = measure(found[-1].end_s - starts[0])
    assert len(found) <= rules.most_chapters
    if len(found) > 1:
        shortest = min(chapter.end_s - chapter.start_s for chapter in found)
        assert shortest >= rules.shortest_chapter_s - 1e-6


def test_what_comes_before_the_first_mark_is_the_opening():
    hour = talk(60)
    later = hour.lines[200].start_s
    found = chapters([Mark(later, "The subject")], hour, "Opening")
    assert [(one.start_s, one.title) for one in found] == [
        (hour.lines[0].start_s, "Opening"),
        (later, "The subject"),
    ]


def test_a_first_chapter_that_begins_a_little_late_begins_with_the_first_line():
    hour = talk(60)
    (found,) = chapters([Mark(hour.lines[3].start_s, "Welcome")], hour, "Opening")
    assert (found.start_s, found.title) == (hour.lines[0].start_s, "Welcome")


def test_too_many_chapters_lose_the_shortest():
    hour = talk(60)
    numbers = (0, *range(25, len(hour.lines), 26))  # the first is the shortest, and stays
    marks = [Mark(hour.lines[number].start_s, str(number)) for number in numbers]
    assert len(marks) > 16
    found = chapters(marks, hour, "")
    assert len(found) == 16
    assert found[0].title == "0"


def test_silence_has_no_chapters():
    assert chapters([], spoken([], duration_s=10.0), "Opening") == ()
