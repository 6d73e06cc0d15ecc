from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text.address import address_of
from models.text.line import Question, WireFailed
from models.text.wire import Patience, Reply, ask, within, words_of
from tests.models.text.llm_server import Said, serving


class Mail:
    """Data that came in pieces."""

    def __init__(self, pieces):
        self.pieces = pieces

    def head(self):
        return 200, {}

    def data(self):
        return iter(self.pieces)


@given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_are_the_same_however_they_are_cut(lines, data):
    text = b"\n".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=9)))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    expected = [line.rstrip(b"\r") for line in lines[:-1]]
    assert list(Reply(Mail(pieces)).lines())[: len(expected)] == expected
    assert b"\n".join(Reply(Mail(pieces)).lines()).split() == text.replace(b"\r\n", b"\n").split()


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists), st.text())
def test_a_server_s_words_are_one_line_that_can_be_shown(other, text):
    for said in (
        {"error": {"message": text}},
        {"error": text},
        {"message": text},
        {"error": other},
    ):
        words = words_of(said)
        assert words.isprintable()
        assert len(words) <= 300


@pytest.mark.parametrize(("total_s", "silence_s"), [(None, 900), (3, 3), (3600, 900)])
def test_patience_can_be_shortened_as_a_whole(total_s, silence_s):
    patience = within(total_s)
    assert (patience.silence_s, patience.total_s) == (silence_s, total_s or 7200)


def test_all_tries_together_have_one_time():
    busy = Said(status=503)
    patience = Patience(total_s=0.5, pauses_s=(0.2,) * 99, beat_s=0.02)
    with serving(({}, busy)) as server:
        with pytest.raises(WireFailed, match="503"):
            ask(address_of(server.url), Question("/"), lambda reply: reply, patience, lambda: None)
        assert len(server.asked) <= 3
