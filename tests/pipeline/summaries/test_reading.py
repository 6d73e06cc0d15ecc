"""Transcripts that exist."""

from __future__ import annotations

import json
import os

import pytest
import srt
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BadOption, InputError, NoSuchFile, NotAFile, Unreadable
from pipeline.subtitles import render
from pipeline.summaries.reading import read_transcript
from pipeline.types import Cue, Provenance, Segment, SpeechOptions, Transcript

SRT = """1
00:00:01,500 --> 00:00:04,000
<i>Hello</i>
there.

2
01:00:05,250 --> 01:00:06,000
{\\an8}Goodbye.
"""
VTT = """WEBVTT - a title
X-TIMESTAMP-MAP=LOCAL:00:00:00.000

NOTE
who reads this?

STYLE
::cue { color: red }

first
00:01.500 --> 00:04.000 align:start position:0%
<v.loud Ada Lovelace>Hello <b>there</b> &amp; <00:02.000>welcome.</v>

1:00:05.250 --> 1:00:06.000
Goodbye &lt;all&gt;.
"""
SEGMENT = Segment(1.5, 4.0, "Hello there.", (), 0.0, -0.1, 1.0, 0.0)
OURS = Transcript(
    "talk.mp4", 60.0, "en", 0.9, (SEGMENT,), Provenance("transcribe", (), SpeechOptions())
)


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def lines_of(spoken):
    return [(line.start_s, line.end_s, line.text) for line in spoken.lines]


def test_srt_is_read(file):
    found = read_transcript(file("talk.en.srt", SRT))
    assert lines_of(found) == [(1.5, 4.0, "Hello there."), (3605.25, 3606.0, "Goodbye.")]
    assert (found.source, found.media, found.language) == ("talk.en.srt", None, "en")
    assert found.duration_s == 3606.0


def test_vtt_is_read_with_who_speaks(file):
    found = read_transcript(file("talk.deu.vtt", VTT), media="talk.mp4")
    assert lines_of(found) == [
        (1.5, 4.0, "Ada Lovelace: Hello there & welcome."),
        (3605.25, 3606.0, "Goodbye <all>."),
    ]
    assert (found.media, found.language) == ("talk.mp4", "de")


def test_our_json_is_read(file):
    path = file("talk.en.json", render("json", OURS, ()))
    found = read_transcript(path)
    assert lines_of(found) == [(1.5, 4.0, "Hello there.")]
    assert (found.source, found.media, found.duration_s) == ("talk.mp4", "talk.mp4", 60.0)
    assert found.language == "en"


def test_whisper_s_json_is_read(file):
    segments = [{"id": 0, "start": 1, "end": 4.0, "text": " Hello there.", "tokens": [1, 2]}]
    path = file("talk.json", json.dumps({"text": "x", "segments": segments, "language": "fr"}))
    assert lines_of(read_transcript(path)) == [(1.0, 4.0, "Hello there.")]
    assert read_transcript(path).language == "fr"


TAGS = (
    *(
        "<i>",
        "</i>",
        "<B>",
        "<u>",
        "<s>",
        "<em>",
        "<strong>",
        "<c>",
        "<v>",
        "</v>",
        "<ruby>",
        "<rt>",
    ),
    *("<c.red.bg_blue>", "<lang en-GB>", "</lang>", "<00:02.000>", "<1:00:02.000>", "{\\an8}"),
    *('<font color="red">', "<FONT size=4 face='a b'>", "</font>", '<b class="x">', "{\\i1\\b0}"),
)


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_subtitles_are_left_out(file, tag, kind):
    times = "00:00:01.000 --> 00:00:02.000"
    content = {"srt": f"1\n{times.replace('.', ',')}\n", "vtt": f"WEBVTT\n\n{times}\n"}[kind]
    (line,) = read_transcript(file(f"talk.{kind}", f"{content}one{tag} two\n")).lines
    assert line.text == "one two"


# Words without a known tag, however they stand beside each other.
WORDS = """< > <5 5> <3 x<y y>z <name> <unk> <br <a </ <<< >>> <> </> <i i> <b b> <v <font
<5:00> &lt; & {x} {an8} if the, « 日本 <ß> <ia> <bc.x> <font-size> <s=1> <c3>"""


@settings(max_examples=60)
@given(st.lists(st.sampled_from(WORDS.split()), min_size=1))
def test_whatever_else_stands_in_brackets_was_said(tmp_path_factory, words):
    cue = (Cue(1.0, 2.0, (" ".join(words),)),)
    for kind in ("srt", "vtt"):
        path = tmp_path_factory.mktemp("said") / f"talk.{kind}"
        path.write_text(render(kind, OURS, cue))
        (line,) = read_transcript(path).lines
        assert line.text.split() == words


def test_comparisons_are_not_taken_for_tags(file):
    said = "If the temperature is < 5 degrees, and the pressure is > 3 bar, we stop."
    also = "We need i <b and c> d, u <v or w> x."
    srt_text = (
        f"1\n00:00:01,000 --> 00:00:02,000\n{said}\n\n2\n00:00:03,000 --> 00:00:04,000\n{also}\n"
    )
    assert [one.text for one in read_transcript(file("talk.srt", srt_text)).lines] == [said, also]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(1, 9000), st.text("ab c<>&-", min_size=1)),
        max_size=8,
    )
)
def test_what_we_wrote_as_srt_and_vtt_is_read_back(tmp_path_factory, said):
    cues = tuple(
        Cue(start / 1000, (start + length) / 1000, (f"a{text}",)) for start, length, text in said
    )
    for kind in ("srt", "vtt"):
        path = tmp_path_factory.mktemp("back") / f"talk.{kind}"
        path.write_text(render(kind, OURS, cues))
        found = read_transcript(path)
        assert [line.start_s for line in found.lines] == sorted(cue.start_s for cue in cues)


@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-8"])
def test_marks_of_the_encoding_and_windows_line_ends_do_not_matter(file, coding):
    text = SRT.replace("Goodbye", "Tschüß").replace("\n", "\r\n")
    found = read_transcript(file("talk.srt", text.encode(coding)))
    assert found.lines[1].text == "Tschüß."
    assert found.language is None
    assert len(read_transcript(file("talk.vtt", VTT.encode(coding))).lines) == 2


def test_texts_come_in_the_order_of_time_and_empty_ones_are_left_out(file):
    swapped = [(5, 6, "later"), (9, 8, "ends before it begins"), (1, 2, "first"), (3, 4, "  ")]
    segments = [{"start": a, "end": b, "text": text} for a, b, text in swapped]
    found = read_transcript(file("talk.json", json.dumps({"segments": segments})))
    assert [line.text for line in found.lines] == ["first", "later", "ends before it begins"]
    assert found.lines[-1].end_s == 9


def test_an_empty_transcript_says_nothing(file):
    assert read_transcript(file("talk.srt", "")).lines == ()
    assert read_transcript(file("talk.vtt", "WEBVTT\n")).lines == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("talk.srt", "no subtitles at all", "line 1: not SRT"),
        ("talk.srt", "\n\ngarbage\n\n" + SRT, "line 1: not SRT"),
        ("talk.srt", b"1\n00:00:01,000 --> 00:00:02,000\n\xff\xfe\n", "not UTF-8"),
        ("talk.vtt", SRT, "must begin with WEBVTT"),
        ("talk.vtt", "WEBVTT\n\n00:00:01 --> soon\nx\n", "line 3: no times"),
        ("talk.json", "{", "line 1: no transcript"),
        ("talk.json", "[]", "no transcript"),
        ("talk.json", '{"segments": [{"start": "x"}]}', "no transcript"),
        ("talk.json", "[" * 100_000, "no transcript"),
        ("talk.json", '{"segments": [{"start": NaN, "end": 1, "text": "a"}]}', "impossible times"),
        ("talk.json", '{"segments": [{"start": -1, "end": 1, "text": "a"}]}', "impossible times"),
        (
            "talk.json",
            '{"segments": [{"start": 1e400, "end": 1, "text": "a"}]}',
            "impossible times",
        ),
        (
            "talk.json",
            '{"segments": [{"start": 1' + "0" * 400 + ', "end": 1, "text": "a"}]}',
            "no transcript",
        ),
    ],
    ids=range(13),
)
def test_what_is_broken_is_told(file, name, content, message):
    with pytest.raises(Unreadable, match=message):
        read_transcript(file(name, content))


@pytest.mark.parametrize(
    ("said", "code"),
    [("german", "de"), ("English", "en"), ("mandarin", "zh"), ("haitian creole", "ht"),
     ("deu", "de"), ("pt", "pt"), ("zh-TW", "zh-TW"), ("Klingon", "Klingon"), ("", None)],
)  # fmt: skip
def test_whisper_s_names_of_languages_are_understood(file, said, code):
    path = file("talk.json", json.dumps({"segments": [], "language": said}))
    assert read_transcript(path).language == code


def test_other_files_are_told(file, tmp_path):
    with pytest.raises(BadOption, match=r"give an \.srt, \.vtt or \.json"):
        read_transcript(file("talk.txt", "hello"))
    with pytest.raises(NoSuchFile):
        read_transcript(tmp_path / "none.srt")
    (tmp_path / "folder.srt").mkdir()
    with pytest.raises(NotAFile):
        read_transcript(tmp_path / "folder.srt")
    os.mkfifo(tmp_path / "pipe.srt")
    with pytest.raises(NotAFile):
        read_transcript(tmp_path / "pipe.srt")


def test_a_file_of_any_size_is_not_read_whole(file):
    with pytest.raises(Unreadable, match="larger than 64 MiB"):
        read_transcript(file("talk.srt", b"\n" * (64 * 2**20 + 1)))


@settings(max_examples=50)
@given(st.sampled_from(["srt", "vtt", "json"]), st.binary(max_size=200))
def test_no_content_is_a_surprise(tmp_path_factory, kind, content):
    path = tmp_path_factory.mktemp("any") / f"talk.{kind}"
    path.write_bytes(content)
    try:
        read_transcript(path)
    except InputError as error:
        assert str(error).endswith((".", "Whisper."))  # noqa: PT017  - any other error fails


def test_srt_of_the_library_is_read_as_the_library_reads_it(file):
    whole = list(srt.parse(SRT))
    found = read_transcript(file("talk.srt", SRT))
    assert [line.start_s for line in found.lines] == [one.start.total_seconds() for one in whole]
