"""Which windows are asked for the language."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.language import windows_to_ask
from pipeline.types import Span, Window


def window(start_s, speech_s):
    return Window(start_s, start_s + 30, (Span(start_s, start_s + speech_s),))


def test_each_fifth_of_the_file_is_asked_once_where_most_is_said():
    windows = tuple(window(30 * i, 29 if i % 4 == 2 else 5) for i in range(20))
    assert [w.start_s / 30 for w in windows_to_ask(windows)] == [2, 6, 10, 14, 18]


@given(st.lists(st.floats(0.1, 30), max_size=40), st.integers(1, 9))
def test_no_window_is_asked_twice_and_none_is_made_up(lengths_s, count):
    windows = tuple(window(30 * i, length_s) for i, length_s in enumerate(lengths_s))
    asked = windows_to_ask(windows, count)
    assert len(asked) == min(count, len(windows))
    assert list(asked) == sorted(set(asked) & set(windows), key=lambda w: w.start_s)
    assert not windows or max(w.speech_s for w in asked) == max(w.speech_s for w in windows)
