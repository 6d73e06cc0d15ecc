"""Values that survive JSON and back."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import codec
from pipeline.summaries.options import SummaryFormat, SummaryOptions
from pipeline.summaries.records import (
    Notes,
    Spoken,
    Summary,
    spoken_of,
)
from pipeline.summaries.writing import SUFFIXES
from pipeline.types import Provenance, Segment, SpeechOptions, Transcript


def values_of(kind):
    """Any value of a dataclass, made from its fields' types."""
    hints = typing.get_type_hints(kind)
    return st.builds(
        kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)}
    )


def values(kind):
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=3).map(tuple)
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if inner:  # X | None
        return st.one_of(*(st.none() if one is type(None) else values(one) for one in inner))
    if dataclasses.is_dataclass(kind):
        return values_of(kind)
    simple = {
        str: st.text(max_size=20),
        float: st.floats(allow_nan=False, allow_infinity=False),
        int: st.integers(),
        bool: st.booleans(),
    }
    return simple[kind]


@pytest.mark.parametrize("kind", [Summary, Notes, Spoken, SummaryOptions])
@settings(max_examples=25)
@given(data=st.data())
def test_json_and_back_is_the_same_value(kind, data):
    value = data.draw(values_of(kind))
    assert codec.loads(codec.dumps(value), kind) == value


def test_a_transcript_is_what_was_said():
    segment = Segment(1.5, 4.0, "Hello there.", (), 0.0, -0.1, 1.0, 0.0)
    made = Provenance("transcribe", (), SpeechOptions())
    transcript = Transcript("talk.mp4", 60.0, "en", None, (segment,), made)
    spoken = spoken_of(transcript)
    assert (spoken.source, spoken.media, spoken.duration_s) == ("talk.mp4", "talk.mp4", 60.0)
    assert [(line.start_s, line.end_s, line.text) for line in spoken.lines] == [
        (1.5, 4.0, "Hello there.")
    ]


def test_every_format_has_a_name():
    assert set(typing.get_args(SummaryFormat)) == SUFFIXES.keys()
