"""Words and their times, from tokens that may end anywhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.phrases import Phrase, Token, words_of
from pipeline.types import SAMPLE_RATE_HZ, Clip, Span, SpeechOptions, Window


def clip(duration_s=10.0, *spans, start_s=0.0, **options):
    window = Window(start_s, start_s + duration_s, tuple(Span(*span) for span in spans))
    sound = np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)
    return Clip(window, sound, SpeechOptions(**{"language": "en", **options}))


def phrase(start_s, end_s, *spellings):
    tokens = (Token(spelling, 0.5, -0.7) for spelling in spellings)
    return Phrase(start_s, end_s, tuple(tokens))


def texts(words):
    return [word.text for word in words]


def test_a_word_begins_with_its_space_and_keeps_its_punctuation():
    said = phrase(0, 2, b"", b" Hel", b"lo", b",", b" there", b".", b"")
    assert texts(words_of(said, clip())) == [" Hello,", " there."]
    assert said.text == " Hello, there."


def test_without_spaces_every_sign_is_a_word_and_keeps_its_punctuation():
    said = phrase(0, 2, "你".encode(), "好".encode()[:1], "好".encode()[1:], "，".encode(), b"OK")
    assert texts(words_of(said, clip(language="zh"))) == ["你", "好，", "OK"]


def test_a_character_that_is_cut_off_is_replaced():
    said = phrase(0, 2, b" caf", "é".encode()[:1])
    assert texts(words_of(said, clip())) == [" caf\ufffd"]
    assert said.text == " caf\ufffd"


def test_a_words_probability_is_the_mean_of_its_tokens():
    said = Phrase(0, 1, (Token(b" a", 0.2, -1.6), Token(b"b", 0.6, -0.5)))
    assert words_of(said, clip())[0].probability == pytest.approx(0.4)


@pytest.mark.parametrize("options", [{"word_times": False}, {"task": "translate"}])
def test_there_are_no_words_where_none_are_wanted_or_none_can_be_told(options):
    assert words_of(phrase(0, 1, b" a"), clip(**options)) == ()


def test_times_run_evenly_over_letters():
    words = words_of(phrase(1.0, 3.0, b" one", b" three", b" a"), clip())
    edges = [edge for word in words for edge in (word.start_s, word.end_s)]
    assert edges == pytest.approx([1, 5 / 3, 5 / 3, 8 / 3, 8 / 3, 3])


def test_times_skip_the_pauses_of_the_window():
    heard = clip(10.0, (20.0, 22.0), (25.0, 27.0), start_s=20.0)
    first, second = words_of(phrase(0.0, 9.0, b" one", b" two"), heard)
    assert (first.start_s, first.end_s) == (0.0, 2.0)
    assert (second.start_s, second.end_s) == (5.0, 7.0)


def test_where_the_window_knows_no_speech_the_phrase_is_all_speech():
    (word,) = words_of(phrase(4.0, 5.0, b" one"), clip(10.0, (0.0, 3.0)))
    assert (word.start_s, word.end_s) == (4.0, 5.0)


moments = st.floats(-1000.0, 40.0)


@settings(max_examples=150, deadline=None)
@given(
    spellings=st.lists(st.binary(max_size=4) | st.sampled_from([b" a", b"b", b".", b" ", b"\xe5"])),
    start_s=moments,
    end_s=moments,
    bounds=st.lists(st.integers(0, 20), unique=True, max_size=6).map(sorted),
    language=st.sampled_from(["en", "ja"]),
)
def test_any_tokens_give_their_own_text_and_times_in_order(
    spellings, start_s, end_s, bounds, language
):
    spans = list(zip(bounds[::2], bounds[1::2], strict=False))
    said = phrase(start_s, end_s, *spellings)
    words = words_of(said, clip(20.0, *spans, language=language))
    assert "".join(texts(words)) == said.text
    edges = [0.0, *(edge for word in words for edge in (word.start_s, word.end_s)), 20.0]
    assert all(after >= before - 1e-9 for before, after in pairwise(edges))
