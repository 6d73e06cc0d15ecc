"""Every format, and what must come back out of it."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from dataclasses import replace
from datetime import timedelta

import pytest
import srt
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.codec import loads
from pipeline.subtitles import FORMATS, render
from pipeline.types import (
    Cue,
    EngineDescription,
    Provenance,
    Segment,
    SpeechOptions,
    Transcript,
    Word,
)

ENGINE = EngineDescription(
    "small", "int8", "cpu", ("en", "de"), can_translate=True, reason="3.1 GiB are free"
)
HEARD = (
    Segment(0.5, 2.0, "Fish & chips?", (Word(0.5, 2.0, " Fish & chips?", 0.9),), 0, -0.2, 1.1, 0.0),
    Segment(2.5, 4.0, "Über alles  gern.", (), 0.2, -0.5, 1.2, 0.1),
    Segment(4.5, 5.0, "", (), 0.2, -0.5, 1.2, 0.1),
)
TALK = Transcript(
    "talk.mkv", 60.0, "en", 0.98, HEARD, Provenance("transcribe 0.1.0", (ENGINE,), SpeechOptions())
)
CUES = (
    Cue(0.5, 2.0, ("Fish & chips?",)),
    Cue(3661.25, 3663.0, ("Very <gladly>,", "-- he said --> twice.")),
)


# ── properties ───────────────────────────────────────────────────────────────────────────────


@st.composite
def cue_sequences(draw):
    """Cues as a layout makes them, in order and to the millisecond, but with any text."""
    bounds_ms = sorted(draw(st.sets(st.integers(0, 400_000_000), max_size=12)))
    lines = st.lists(st.text(max_size=30) | st.sampled_from(["", "\x00", "a --> b", "1", "-->>"]))
    return tuple(
        Cue(start_ms / 1000, end_ms / 1000, tuple(draw(lines.filter(lambda made: len(made) < 4))))
        for start_ms, end_ms in zip(bounds_ms[::2], bounds_ms[1::2], strict=False)
    )


def legible(cues):
    """Times in milliseconds and the letters of those cues that have any."""
    shown = [(round(cue.start_s * 1000), round(cue.end_s * 1000), cue.lines) for cue in cues]
    kept = [(start_ms, end_ms, letters("".join(lines))) for start_ms, end_ms, lines in shown]
    return [cue for cue in kept if cue[2]]


def letters(text):
    """All that must survive; the arrow is written shorter, so its dashes are not compared."""
    kept = (c for c in text if unicodedata.category(c) not in {"Cc", "Cs"} and not c.isspace())
    return "".join(kept).replace("-", "")


@settings(max_examples=150, deadline=None)
@given(cue_sequences())
def test_any_cues_survive_srt_and_back(cues):
    text = render("srt", TALK, cues)
    parsed = list(srt.parse(text))
    ms = timedelta(milliseconds=1)
    assert legible(cues) == [(s.start // ms, s.end // ms, letters(s.content)) for s in parsed]
    assert [subtitle.index for subtitle in parsed] == list(range(1, len(parsed) + 1))
    text.encode()


CUE = re.compile(r"(\d\d+):(\d\d):(\d\d)\.(\d{3}) --> (\d\d+):(\d\d):(\d\d)\.(\d{3})")


def parse_vtt(text):
    """The part of WebVTT that we write, as the specification reads it: blocks parted by blanks."""
    header, *blocks = re.split(r"\n\n+", text.rstrip("\n"))
    assert header == "WEBVTT"
    cues = []
    for block in blocks:
        if block.startswith("NOTE"):
            assert "-->" not in block
            continue
        times, *payload = block.split("\n")
        assert payload
        assert not re.search(r"-->|<|>|&(?!amp;|lt;|gt;)", "\n".join(payload))
        h, m, s, ms, *end = map(int, CUE.fullmatch(times).groups())
        start_ms = ((h * 60 + m) * 60 + s) * 1000 + ms
        end_ms = ((end[0] * 60 + end[1]) * 60 + end[2]) * 1000 + end[3]
        cues.append((start_ms, end_ms, letters(html.unescape("\n".join(payload)))))
    return cues


@settings(max_examples=150, deadline=None)
@given(cue_sequences(), st.text(max_size=40))
def test_any_cues_survive_vtt_and_back(cues, title):
    text = render("vtt", replace(TALK, source=title, notes=("a --> b\n\nc",)), cues)
    assert parse_vtt(text) == legible(cues)
    text.encode()


SEGMENTS = st.builds(
    Segment,
    *[st.floats(0, 1e5)] * 2,
    st.text(max_size=30),
    st.lists(
        st.builds(Word, *[st.floats(0, 1e5)] * 2, st.text(max_size=9), st.floats(0, 1)), max_size=3
    ).map(tuple),
    *[st.floats(-10, 10)] * 4,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(SEGMENTS, max_size=4).map(tuple), st.text(max_size=20))
def test_json_gives_the_same_transcript_back(segments, source):
    transcript = replace(TALK, segments=segments, source=source)
    assert loads(render("json", transcript, CUES), Transcript) == transcript


# ── examples ─────────────────────────────────────────────────────────────────────────────────


def test_srt_is_numbered_from_one_and_has_no_arrow_in_its_text():
    assert render("srt", TALK, CUES) == (
        "1\n00:00:00,500 --> 00:00:02,000\nFish & chips?\n\n"
        "2\n01:01:01,250 --> 01:01:03,000\nVery <gladly>,\n-- he said -> twice.\n\n"
    )


def test_an_srt_without_cues_is_empty_and_valid():
    assert render("srt", TALK, ()) == ""
    assert list(srt.parse("")) == []


def test_srt_times_are_rounded_not_cut():
    assert "00:00:00,003 --> 00:00:01,009\n" in render(
        "srt", TALK, (Cue(0.0029999, 1.009, ("a",)),)
    )


def test_a_blank_line_cannot_end_a_cue_early():
    cues = (Cue(0.0, 1.0, ("one\n\ntwo", "\u2028", "three\x0b\x00")), Cue(1.0, 2.0, ("four",)))
    assert [cue.content for cue in srt.parse(render("srt", TALK, cues))] == [
        "one two\nthree",
        "four",
    ]


def test_vtt_says_how_it_came_about():
    asked = replace(SpeechOptions(), initial_prompt="Ada,\n\nKnuth --> you", beam_size=5)
    talk = replace(
        TALK, provenance=Provenance("transcribe 0.1.0", (ENGINE,), asked), notes=("cut at 59 s",)
    )
    assert render("vtt", talk, CUES) == (
        "WEBVTT\n\n"
        "NOTE\n"
        "transcribe 0.1.0, from talk.mkv\n"
        "model: small, int8, on cpu (3.1 GiB are free)\n"
        "language: en (detected, 98%)\n"
        "initial_prompt: Ada, Knuth -> you\n"
        "beam_size: 5\n"
        "cut at 59 s\n\n"
        "00:00:00.500 --> 00:00:02.000\nFish &amp; chips?\n\n"
        "01:01:01.250 --> 01:01:03.000\nVery &lt;gladly&gt;,\n-- he said -&gt; twice.\n"
    )


def test_vtt_without_speech_still_says_so():
    silent = replace(
        TALK,
        segments=(),
        language_probability=None,
        provenance=Provenance("transcribe 0.1.0", (), SpeechOptions()),
        notes=("no speech was found",),
    )
    assert render("vtt", silent, ()) == (
        "WEBVTT\n\nNOTE\ntranscribe 0.1.0, from talk.mkv\nlanguage: en\nno speech was found\n"
    )


def test_txt_has_a_line_for_each_segment_as_whisper_writes_it():
    assert render("txt", TALK, CUES) == "Fish & chips?\nÜber alles gern.\n"
    assert render("txt", replace(TALK, segments=()), ()) == ""


def test_json_is_readable_and_complete():
    plain = json.loads(render("json", TALK, CUES))
    assert plain["segments"][0]["words"][0]["text"] == " Fish & chips?"
    assert plain["provenance"]["engines"][0]["reason"] == "3.1 GiB are free"


@pytest.mark.parametrize("kind", FORMATS)
def test_every_file_with_text_ends_with_a_newline(kind):
    assert render(kind, TALK, CUES).endswith("\n")
