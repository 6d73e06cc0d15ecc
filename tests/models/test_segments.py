"""Tokens to segments, with hand-made token lists; the model is not needed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.segments import (
    ADVANCE_S,
    TICK_S,
    UNKNOWN_LOG_PROBABILITY,
    Cut,
    Piece,
    build,
    cut,
    is_sayable,
    part_of,
    settle,
)
from pipeline.types import Span, Window, Word

EOT, STAMP = 50, 100  # below EOT text, from STAMP on timestamps, as in whisper's vocabularies


@dataclass
class Result:
    """What `build` reads of whisper's DecodingResult."""

    temperature: float = 0.0
    avg_logprob: float = -0.2
    compression_ratio: float = 1.1
    no_speech_prob: float = 0.01


def at(seconds):
    return STAMP + round(seconds / TICK_S)


def cut_tokens(*tokens, duration_s=30.0, truncated=False):
    return cut(tokens, timestamp_begin=STAMP, eot=EOT, duration_s=duration_s, truncated=truncated)


def window(end_s=30.0, *spans, start_s=0.0):
    return Window(start_s, end_s, tuple(Span(*span) for span in spans or [(start_s, end_s)]))


def test_consecutive_timestamps_separate_pieces():
    found = cut_tokens(at(0.5), 1, 2, at(2), at(2.4), 3, at(4))
    assert found == Cut((Piece(0.5, 2.0, (1, 2)), Piece(2.4, 4.0, (3,))), None)


def test_text_after_the_last_pair_is_unfinished():
    found = cut_tokens(at(0), 1, at(2), at(2.4), 3)
    assert found == Cut((Piece(0.0, 2.0, (1,)),), Piece(2.4, 30.0, (3,)))


def test_a_pair_at_the_end_says_that_something_begins():
    found = cut_tokens(at(0), 1, at(25), at(25))
    assert found == Cut((Piece(0.0, 25.0, (1,)),), Piece(25.0, 30.0, ()))


def test_a_single_closing_timestamp_ends_the_only_piece():
    assert cut_tokens(at(1), 1, at(5)) == Cut((Piece(1.0, 5.0, (1,)),), None)


@pytest.mark.parametrize(("tokens", "start_s"), [((1, 2), 0.0), ((at(0.5), 1, 2), 0.5)])
def test_without_a_closing_timestamp_the_text_lasts_to_the_end(tokens, start_s):
    assert cut_tokens(*tokens, duration_s=7.5) == Cut((Piece(start_s, 7.5, (1, 2)),), None)


def test_text_that_did_not_fit_is_unfinished():
    assert cut_tokens(at(0), 1, truncated=True) == Cut((), Piece(0.0, 30.0, (1,)))


@pytest.mark.parametrize("tokens", [(), (at(0),)])
def test_no_text_leaves_nothing_to_hear_again(tokens):
    found = cut_tokens(*tokens)
    pieces, rest = settle(window(), found, may_continue=True)
    assert not [piece for piece in pieces if piece.tokens]
    assert rest == ()


def test_what_lies_beyond_the_sound_is_left_out():
    found = cut_tokens(at(0), 1, at(2), at(6), 2, at(7), at(8), 3, duration_s=5.0)
    assert found == Cut((Piece(0.0, 2.0, (1,)),), None)


def test_a_tail_that_was_not_covered_is_heard_again_from_the_last_timestamp():
    found = cut_tokens(at(0), 1, at(4))
    heard = window(20.0, (10.0, 15.0), (16.0, 20.0), start_s=10.0)
    pieces, rest = settle(heard, found, may_continue=True)
    assert [piece.tokens for piece in pieces] == [(1,)]
    assert rest == (Window(14.0, 20.0, (Span(14.0, 15.0), Span(16.0, 20.0))),)


@pytest.mark.parametrize(("end_s", "again"), [(29.2, False), (28.9, True)])
def test_after_a_closing_timestamp_less_than_a_second_is_not_heard_again(end_s, again):
    rest = settle(window(), cut_tokens(at(0), 1, at(end_s)), may_continue=True)[1]
    assert bool(rest) == again


def test_unfinished_text_is_heard_again_or_kept_but_never_both():
    found = cut_tokens(at(0), 1, at(20), at(20), 2)
    pieces, rest = settle(window(), found, may_continue=True)
    assert ([p.tokens for p in pieces], [w.start_s for w in rest]) == ([(1,)], [20.0])
    pieces, rest = settle(window(), found, may_continue=False)
    assert ([p.tokens for p in pieces], rest) == ([(1,), (2,)], ())
    pieces, rest = settle(window(20.3), found, may_continue=True)
    assert ([p.tokens for p in pieces], rest) == ([(1,), (2,)], ())


def test_what_is_heard_again_always_starts_later():
    rest = settle(window(), cut_tokens(at(0), 1, at(0.1)), may_continue=True)[1]
    assert rest[0].start_s == ADVANCE_S


def test_text_that_did_not_fit_is_heard_again_in_halves_cut_at_the_longest_pause():
    found = cut_tokens(at(0), 1, truncated=True)
    spoken = window(30.0, (0.0, 8.0), (8.5, 18.0), (20.0, 30.0))
    pieces, rest = settle(spoken, found, may_continue=True)
    assert pieces == ()
    assert [(half.start_s, half.end_s) for half in rest] == [(0.0, 19.0), (19.0, 30.0)]
    assert rest[0].spans + rest[1].spans == spoken.spans
    assert [half.start_s for half in settle(window(), found, may_continue=True)[1]] == [0.0, 15.0]


def test_a_text_that_may_not_be_heard_in_halves_is_kept():
    found = cut_tokens(at(0), 1, truncated=True)
    pieces, rest = settle(window(), found, may_continue=True, may_halve=False)
    assert ([piece.tokens for piece in pieces], rest) == ([(1,)], ())


@pytest.mark.parametrize(
    ("text", "length_s", "sayable"),
    [
        ("one two three four five six seven eight nine ten " * 3, 10.0, True),  # 180 a minute
        ("one two three four five six seven eight nine ten " * 10, 15.0, False),  # 400 a minute
        ("ഞാൻ നാളെ രാവിലെ വീട്ടിൽ പോകും. " * 8, 15.0, True),  # a few tokens for each sign
        ("", 0.0, True),
    ],
)
def test_nobody_says_more_than_thirty_characters_a_second(text, length_s, sayable):
    assert is_sayable(text, length_s) == sayable


def test_a_window_too_short_to_be_halved_keeps_its_text():
    found = cut_tokens(at(0), 1, truncated=True, duration_s=1.5)
    pieces, rest = settle(window(1.5), found, may_continue=True)
    assert ([piece.tokens for piece in pieces], rest) == ([(1,)], ())


def test_words_give_a_segment_its_times():
    words = (Word(1.1, 1.4, " Hello", 0.9), Word(1.4, 2.2, " there.", 0.8))
    (segment,) = build(
        window(40.0, start_s=10.0), [Piece(1.0, 2.5, (1,))], [" Hello there."], [words], Result()
    )
    assert (segment.start_s, segment.end_s, segment.text) == (11.1, 12.2, "Hello there.")
    assert [(word.start_s, word.end_s) for word in segment.words] == [(11.1, 11.4), (11.4, 12.2)]


def test_words_without_any_duration_are_left_out():
    words = (Word(3.0, 3.0, " Hello", 0.9),)
    (segment,) = build(window(), [Piece(1.0, 2.5, (1,))], [" Hello"], [words], Result())
    assert (segment.start_s, segment.end_s, segment.words) == (1.0, 2.5, ())


def test_a_segment_without_duration_is_shown_for_one_tick_and_one_without_text_never():
    pieces = [Piece(1.0, 1.0, (1,)), Piece(2.0, 3.0, (2,))]
    (segment,) = build(window(), pieces, [" Yes.", "  "], [(), ()], Result())
    assert (segment.start_s, segment.end_s, segment.text) == (1.0, 1.02, "Yes.")


def test_no_number_is_ever_nan():
    nan = math.nan
    result = Result(avg_logprob=-math.inf, compression_ratio=nan, no_speech_prob=nan)
    words = (Word(0.0, 1.0, " Yes", nan),)
    (segment,) = build(window(), [Piece(0.0, 1.0, (1,))], [" Yes"], [words], result)
    assert segment.average_log_probability == UNKNOWN_LOG_PROBABILITY
    assert segment.no_speech_probability == segment.compression_ratio == 0.0
    assert segment.words[0].probability == 0.0


times = st.floats(0.0, 33.0)
token = st.integers(0, EOT - 1) | st.integers(STAMP, STAMP + 1500)


@settings(max_examples=150, deadline=None)
@given(
    tokens=st.lists(token, max_size=20),
    start_s=st.floats(0.0, 5000.0),
    duration_s=st.floats(0.0, 30.0),
    truncated=st.booleans(),
    may_continue=st.booleans(),
    timed=st.lists(st.lists(st.tuples(times, times), max_size=3), min_size=21, max_size=21),
)
def test_any_tokens_and_words_give_ordered_segments_and_progress(
    tokens, start_s, duration_s, truncated, may_continue, timed
):
    whole = window(start_s + duration_s, start_s=start_s)
    found = cut_tokens(*tokens, duration_s=duration_s, truncated=truncated)
    pieces, rest = settle(whole, found, may_continue=may_continue)
    words = [tuple(Word(a, b, " x", 0.5) for a, b in row) for row in timed[: len(pieces)]]
    heard = part_of(whole, start_s, rest[0].start_s) if rest else whole
    segments = build(heard, pieces, [" x"] * len(pieces), words, Result())

    edges = [heard.start_s]
    for segment in segments:
        assert segment.end_s > segment.start_s
        edges += [segment.start_s]
        edges += [edge for word in segment.words for edge in (word.start_s, word.end_s)]
        edges += [segment.end_s]
    assert [*edges, heard.end_s] == sorted([*edges, heard.end_s])
    if len(rest) == 1:
        assert rest[0].start_s >= start_s + ADVANCE_S
    for part in rest:
        assert part.spans
        assert part.end_s - part.start_s < whole.end_s - whole.start_s
