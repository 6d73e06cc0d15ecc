from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from models.text.wire import Reply, words_of


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
