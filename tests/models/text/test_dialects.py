from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.text.dialects import read_ollama, read_openai, without_thoughts
from models.text.line import WireFailed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>let me</think>one", "one"),
        ("\n<think>\n\n</think>\n\n{}", "{}"),
        ("<thinking>a <b> c</thinking> one", "one"),
        ("let me see\n</think>\n\n{}", "{}"),
        ("<think>let me", ""),
        ("one <think>two</think>", "one <think>two</think>"),
        ('{"quote": "he said </think>"}', '{"quote": "he said </think>"}'),
        ("one", "one"),
        ("", ""),
    ],
)
def test_thoughts_end_before_the_answer(text, answer):
    assert without_thoughts(text) == answer


@given(st.dictionaries(st.text(), st.text()))
def test_an_object_is_never_taken_for_thoughts(content):
    text = json.dumps(content)
    assert without_thoughts(text) == text
    assert without_thoughts(f"<think>{text}</think>\n{text}") == text or "</think" in text


lines = st.lists(
    st.binary(max_size=30)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "delta", "content", "message", "done", "usage", "finish_reason"]
                ),
                inner,
                max_size=4,
            )
        ),
    ).map(lambda value: b"data: " + json.dumps(value).encode()),
    max_size=6,
)


@given(lines)
@example([b'data: {"choices":[{"finish_reason":["length"]}]}', b"data: [DONE]"])
def test_whatever_comes_is_an_answer_or_told_as_a_failure(sent):
    for read in (read_openai, read_ollama):
        stripped = [line.removeprefix(b"data: ") for line in sent] if read is read_ollama else sent
        try:
            written = read(stripped)
        except WireFailed:
            continue
        assert isinstance(written.text, str)
        assert written.prompt_tokens is None or isinstance(written.prompt_tokens, int)
