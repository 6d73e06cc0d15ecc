"""Proof of what was summarised."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.coverage import coverage, whole
from pipeline.summaries.parts import divide, pieces_of
from pipeline.types import Span
from tests.pipeline.summaries.talks import of_texts, talk

HOUR = talk(60)
PARTS = divide(pieces_of(HOUR.lines), 900, lambda part: sum(len(p.text.split()) for p in part))


def test_all_parts_are_all_of_it():
    found = coverage(HOUR, PARTS, 12)
    assert found.covered_s == found.speech_s
    assert (found.missing, found.requests) == ((), 12)
    assert found.speech_s == round(sum(line.end_s - line.start_s for line in HOUR.lines), 3)


@given(st.sets(st.integers(0, len(PARTS) - 1)))
def test_parts_that_are_missing_are_named(gone):
    found = coverage(HOUR, [part for n, part in enumerate(PARTS) if n not in gone], 1)
    inside = sum(piece.end_s - piece.start_s for number in gone for piece in PARTS[number])
    assert abs(found.speech_s - found.covered_s - inside) < 0.01
    for number in gone:
        start_s, end_s = PARTS[number][0].start_s, PARTS[number][-1].end_s
        assert any(gap.start_s <= start_s and end_s <= gap.end_s for gap in found.missing)


def test_a_word_that_was_never_asked_about_is_seen():
    first = PARTS[0]
    shorter = (replace(first[0], text=first[0].text.rpartition(" ")[0]), *first[1:])
    found = coverage(HOUR, (shorter, *PARTS[1:]), 1)
    line = HOUR.lines[0]
    assert found.missing == (Span(line.start_s, line.end_s),)


def test_a_long_line_counts_when_all_its_pieces_are_in():
    talk = of_texts("word " * 100, "two")
    parts = divide(pieces_of(talk.lines), 30, lambda part: sum(len(p.text.split()) for p in part))
    assert coverage(talk, parts, 1).missing == ()
    assert coverage(talk, parts[1:], 1).missing == (Span(0.0, 5.0),)


def test_nothing_said_is_covered():
    assert coverage(of_texts(), (), 0).speech_s == 0
    assert whole(HOUR).covered_s == whole(HOUR).speech_s
