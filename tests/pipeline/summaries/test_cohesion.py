"""Where the subject changes."""

from __future__ import annotations

import time
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from pipeline.summaries.cohesion import boundaries
from pipeline.summaries.words import terms
from tests.pipeline.summaries.talks import talk

EVEN = defaultdict(lambda: 1.0)


def sentences_of(said):
    return [terms(line.text) for line in said.lines]


def test_subjects_begin_where_their_words_do():
    sentences = sentences_of(talk(60))
    found = boundaries(sentences, EVEN)
    changes = [len(sentences) * part // 5 for part in range(1, 5)]
    clearest = sorted(one.sentence for one in found[:4])
    assert all(abs(a - b) <= 6 for a, b in zip(clearest, changes, strict=True))


def test_words_that_never_change_have_no_boundaries():
    assert boundaries([["the", "same", "words"]] * 200, EVEN) == []


def test_too_little_has_no_boundaries():
    assert boundaries([], EVEN) == []
    assert boundaries([["one"]], EVEN) == []
    assert boundaries([["one"], ["two"]], EVEN) == []


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=40), max_size=60))
def test_every_boundary_is_a_sentence_but_the_first(sentences):
    found = boundaries(sentences, EVEN)
    assert all(0 < one.sentence < len(sentences) for one in found)
    assert len({one.sentence for one in found}) == len(found)
    assert [one.depth for one in found] == sorted((one.depth for one in found), reverse=True)


def test_time_grows_with_the_length_and_not_with_its_square():
    def seconds(minutes):
        sentences = sentences_of(talk(minutes))
        began = time.process_time()
        boundaries(sentences, EVEN)
        return time.process_time() - began

    seconds(60)
    assert seconds(720) < 30 * max(seconds(60), 0.01)  # 12 times the words; squared: 144
