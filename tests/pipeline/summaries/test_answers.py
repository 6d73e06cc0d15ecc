"""What can be taken from answers of any kind."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.answers import UnusableAnswer, read_merge, read_part
from pipeline.summaries.schema import MAX_ITEMS
from tests.pipeline.summaries.scripted_engine import GARBAGE, WRONG_SCHEMA

NO_OBJECT = 'it is no JSON object with "title" and "abstract"'
POINT = {"second": 754, "quote": "we agreed on the plan", "text": "They agree."}
GOOD = {
    "title": "A talk",
    "abstract": "It is about this.",
    "points": [POINT],
    "chapters": [{"second": 0, "quote": "welcome to the show", "title": "Welcome"}],
    "topics": ["plans"],
    "people": [{"name": "Ada", "note": "host"}],
    "terms": [{"name": "KV cache", "note": ""}],
    "questions": ["Who pays?"],
    "actions": [{**POINT, "who": "Ada", "due": "Friday"}],
}


def answer(**changes):
    return json.dumps({**GOOD, **changes})


def test_a_good_answer_is_taken_whole():
    found = read_part(answer())
    assert (found.title, found.abstract, found.topics) == (
        "A talk",
        "It is about this.",
        ("plans",),
    )
    assert found.points[0].second == 754
    assert found.points[0].quote == "we agreed on the plan"
    assert found.chapters[0].text == "Welcome"
    assert found.people[0].name == "Ada"
    assert (found.actions[0].who, found.actions[0].due) == ("Ada", "Friday")


@pytest.mark.parametrize(
    "wrapped",
    [
        "```json\n{}\n```",
        "Sure! Here it is:\n{}\nI hope that {{this}} helps!",
        '<think>Is {{it}} good? {{"title": 1}}</think>\n{}',
        "<think>a</think><think>b {{</think>{}",
        '<think>{{"title": "a draft", "abstract": "a draft"}}</think>{}',
        "\ufeff{}",
        "{{no}} {{neither}} {}",
    ],
)
def test_what_stands_around_the_object_does_not_matter(wrapped):
    assert read_part(wrapped.format(answer())) == read_part(answer())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", NO_OBJECT),
        (GARBAGE, NO_OBJECT),
        (WRONG_SCHEMA, NO_OBJECT),
        ("[1, 2, 3]", NO_OBJECT),
        ("null", NO_OBJECT),
        (answer(title=None), '"title" is missing'),
        (answer(title="\u200b"), '"title" is missing'),
        (answer(abstract=7), '"abstract" is missing'),
        (answer(points="many"), '"points" is no list'),
        (answer(points=[1, "a", None, {}]), '"points" has items of a wrong form'),
        (answer()[:-40], NO_OBJECT),  # cut: it has whole objects inside
        ("<think>" + answer()[:300], NO_OBJECT),
        ("{" * 100_000, NO_OBJECT),
        ('{"a":' * 70_000, NO_OBJECT),
        ("[" * 100_000 + "{", NO_OBJECT),
        ("x" * 10_000_000, "it is far too long"),
        (answer(abstract="x" * 10_000_000), "it is far too long"),
        ('{"title": ' + "9" * 10_000 + "}", NO_OBJECT),
    ],
    ids=range(18),
)
def test_what_cannot_be_used_has_a_reason(text, reason):
    with pytest.raises(UnusableAnswer) as error:
        read_part(text)
    assert error.value.reason == reason
    assert error.value.reason.isascii()


def test_hostile_answers_take_no_time():
    began = time.process_time()
    for text in ("<think>" * 50_000, "{" * 399_999, '{"a":[' * 60_000, "</think>" * 49_000):
        with pytest.raises(UnusableAnswer):
            read_part(text)
    assert time.process_time() - began < 2


def test_broken_items_are_left_out():
    found = read_part(
        answer(points=[POINT, {"second": 1}, 5, {**POINT, "text": "   "}], people=["Bob"])
    )
    assert len(found.points) == 1
    assert found.people[0].name == "Bob"


def test_missing_lists_are_empty():
    found = read_part('{"title": "a", "abstract": "b"}')
    assert (found.points, found.chapters, found.topics, found.actions) == ((), (), (), ())


def test_everything_has_a_limit():
    long = {"second": 1, "quote": "q " * 5000, "text": "t " * 5000}
    found = read_part(answer(title="T " * 5000, abstract="a " * 9000, points=[long] * 15))
    assert len(found.title) <= 120
    assert len(found.abstract) <= 2000
    assert len(found.points) == MAX_ITEMS
    assert len(found.points[0].text) <= 400
    assert len(found.points[0].quote) <= 300


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (754, 754), (754.9, 754), ("754", 754), ("[754]", 754), ("754.5", 754), ("12:34", 754),
        ("[1:00:01]", 3601), (True, None), (-1, None), (1e300, None), ("soon", None),
        (None, None), ([1], None), ("9" * 5000, None),
    ],
)  # fmt: skip
def test_numbers_are_read_as_models_write_them(written, meant):
    assert read_part(answer(points=[{**POINT, "second": written}])).points[0].second == meant


def test_a_merge_chooses_by_number():
    chosen = [{"number": 2, "title": "Two"}, {"number": "3", "title": "Three"}, {"number": None}]
    found = read_merge(answer(points=[1, "2", None, 4.0], chapters=chosen))
    assert found.points == (1, 2, 4)
    assert [(one.number, one.title) for one in found.chapters] == [(2, "Two"), (3, "Three")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*GOOD, "second", "text", "name", "number"]), inner)
    ),
    max_leaves=25,
)


@given(st.one_of(JSON.map(json.dumps), st.text(), st.text().map(lambda text: answer() + text)))
def test_no_answer_breaks_the_reading(text):
    for read in (read_part, read_merge):
        with suppress(UnusableAnswer):
            read(text)
