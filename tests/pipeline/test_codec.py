"""Values survive JSON and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import dumps, loads
from pipeline.types import (
    Audio,
    AudioStream,
    Cue,
    Heard,
    Job,
    LanguageGuess,
    MediaInfo,
    Outcome,
    Transcript,
    Window,
)

PATHS = st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name).map(
    lambda name: Path("/media") / name.replace(b"/", b"_").decode(errors="surrogateescape")
)  # fmt: skip
st.register_type_strategy(Path, PATHS)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

KINDS = [Job, MediaInfo, AudioStream, Audio, Window, Heard, LanguageGuess, Transcript, Cue, Outcome]


@pytest.mark.parametrize("kind", KINDS)
def test_every_noun_survives_json_and_back(kind):
    @settings(max_examples=25, deadline=None)
    @given(value=st.from_type(kind))
    def survives(value):
        assert loads(dumps(value), kind) == value

    survives()


def test_a_tuple_of_nouns_survives_too():
    windows = (Window(0.0, 1.0, ()), Window(2.0, 3.5, ()))
    assert loads(dumps(windows), tuple[Window, ...]) == windows


def test_json_is_ascii_so_that_any_file_name_can_be_written():
    path = Path("/m") / b"caf\xe9.mp3".decode(errors="surrogateescape")
    text = dumps(Outcome(path, "done"))
    assert text.isascii()
    assert loads(text, Outcome).source == path


def test_a_key_of_a_newer_version_is_ignored():
    assert loads('{"start_s": 1, "end_s": 2, "lines": ["a"], "colour": "red"}', Cue).lines == ("a",)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"start_s": 1}', '{"start_s": "x"}', "null"])
def test_what_is_no_such_value_is_refused(text):
    with pytest.raises(ValueError, match="Cue|Expecting"):
        loads(text, Cue)


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="JSON"):
        dumps(LanguageGuess("en", float("nan")))
