"""Notes of parts, joined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.answers import ChosenChapter, MergeAnswer
from pipeline.summaries.lengths import measure
from pipeline.summaries.merging import (
    DETAILS,
    MOST_LISTED,
    chosen,
    distinct,
    fan_in,
    groups,
    join,
    merges,
    show,
    spread,
)
from pipeline.summaries.records import ActionItem, KeyPoint, Mark, Notes, Person

MOST = measure(1800)


def notes(number, points=3, **lists):
    at_s = number * 100.0
    subjects = ("ships sail", "bread rises", "comets fall", "violins play", "ice melts")
    return Notes(
        title=f"Part {number}",
        abstract=f"About part {number}.",
        points=tuple(
            KeyPoint(at_s + n, f"{subjects[n % 5]} in {number} at {at_s + n}")
            for n in range(points)
        ),
        chapters=(Mark(at_s, f"Chapter {number}"),),
        **lists,
    )


GROUP = tuple(notes(number) for number in range(4))


@given(st.integers(1, 400), st.integers(2, 16))
def test_the_number_of_merges_is_known_beforehand(parts, at_once):
    level = tuple(range(parts))
    counted = 0
    while len(level) > 1:
        steps = groups(level, at_once)
        assert [item for step in steps for item in step] == list(level)
        assert max(map(len, steps)) <= at_once
        counted += sum(len(step) > 1 for step in steps)
        level = tuple(step[0] for step in steps)
    assert merges(parts, at_once) == counted


def test_small_contexts_merge_fewer_at_once():
    assert [fan_in(tokens) for tokens in (0, 1000, 2400, 6000, 30_000)] == [2, 2, 4, 10, 16]


def test_what_is_shown_is_numbered_through_and_harmless():
    bad = Notes("<|im_end|>", "a\nb", (KeyPoint(1.0, "x [INST] y"),), (Mark(1.0, "</s>"),))
    shown = show((*GROUP, bad), DETAILS[0])
    assert "point 1: ships sail in 0" in shown.text
    assert "point 4: ships sail in 1" in shown.text
    assert "chapter 2, from 0:01:40: Chapter 1" in shown.text
    assert "point 13: x (INST) y" in shown.text
    assert len(shown.points) == 13
    assert not set("<>[]|") & set(shown.text)


def test_less_detail_is_less_text():
    lengths = [len(show(GROUP, detail).text) for detail in DETAILS]
    assert lengths == sorted(lengths, reverse=True)
    assert len(show(GROUP, DETAILS[-1]).points) == 4


def test_what_the_model_chose_is_taken_with_its_own_times():
    shown, joined = show(GROUP, DETAILS[0]), join(GROUP, MOST)
    answer = MergeAnswer("All", "Everything.", (12, 1, 1, 99, 0), (ChosenChapter(2, "Better"),))
    found = chosen(answer, shown, joined)
    assert (found.title, found.abstract) == ("All", "Everything.")
    assert [point.start_s for point in found.points] == [0.0, 302.0]
    assert found.chapters == (Mark(100.0, "Better"),)


def test_where_the_model_chose_nothing_real_code_has_chosen():
    shown, joined = show(GROUP, DETAILS[0]), join(GROUP, MOST)
    found = chosen(MergeAnswer("All", "Everything.", (99,), ()), shown, joined)
    assert found.points == joined.points
    assert found.chapters == joined.chapters


def test_code_joins_from_the_beginning_to_the_end():
    found = join(tuple(notes(number, points=5) for number in range(30)), measure(600))
    assert found.title == "Part 0"
    assert found.abstract.startswith("About part 0. About part 1.")
    assert len(found.points) == 6
    assert found.points[0].start_s < 600
    assert found.points[-1].start_s > 2400
    assert len(found.chapters) == 6


def test_lists_are_joined_without_doubles_by_how_often_they_are_named():
    def part(number):
        return notes(
            number,
            topics=(f"topic {number}", "Redis", "redis!"),
            people=(Person("Ada", "host"), Person(f"guest {number}", "")),
            actions=(ActionItem(1.0, "Write it down.", "Ada", ""),),
        )

    found = join(tuple(part(number) for number in range(40)), MOST)
    assert len(found.topics) == MOST_LISTED
    assert found.topics[:2] == ("topic 0", "Redis")
    assert found.people[0] == Person("Ada", "host")
    assert len(found.actions) == 1


def test_what_many_parts_name_is_kept_before_what_came_first():
    parts = [notes(number, topics=(f"topic {number}",)) for number in range(40)]
    parts += [notes(number, topics=("named twice",)) for number in (40, 41)]
    found = join(tuple(parts), MOST)
    assert found.topics[-1] == "named twice"
    assert len(found.topics) == MOST_LISTED


def test_points_that_say_the_same_are_said_once():
    points = (
        KeyPoint(1.0, "The queue loses nothing and doubles nothing."),
        KeyPoint(9.0, "The queue loses nothing, and doubles nothing!"),
        KeyPoint(20.0, "The queue is slow."),
    )
    assert distinct(points) == (points[0], points[2])


@given(st.lists(st.integers()), st.integers(1, 40))
def test_spread_keeps_the_order_and_the_number(items, most):
    found = spread(tuple(items), most)
    assert len(found) == min(len(items), most)
    positions = iter(items)
    assert all(item in positions for item in found)
