"""A summary's files, read by those who are to read them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace

import pytest

from pipeline import codec
from pipeline.errors import StorageFailed
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.reading import read_transcript
from pipeline.summaries.records import Chapter, Summary
from pipeline.summaries.summarise import summarise
from pipeline.summaries.writing import SUFFIXES, render, summary_targets, write_summary
from tests.pipeline.summaries.injections import INJECTIONS
from tests.pipeline.summaries.scripted_engine import Memory, ScriptedEngine
from tests.pipeline.summaries.talks import talk

SUMMARY = summarise(talk(30), ScriptedEngine(4096), SummaryOptions(), Memory(), lambda: None)
TITLES = (
    r"a=b;c#d\e", "two\nlines", "-->", "<b>bold</b> & so", "[CHAPTER]", "日本語", "ends in \\", "",
)  # fmt: skip
AWKWARD = replace(
    SUMMARY,
    title=r"x=1;#\ ",
    duration_s=8.0,
    chapters=tuple(Chapter(n + 0.25, n + 1.25, title) for n, title in enumerate(TITLES)),
)
SEEN = [" ".join(title.split()) or "–" for title in TITLES]


def test_each_format_has_its_own_place(tmp_path):
    formats = tuple(SUFFIXES)
    targets = summary_targets(tmp_path, "talk", formats)
    assert [path.name for path in targets.values()] == [
        "talk.summary.md",
        "talk.summary.json",
        "talk.chapters.json",
        "talk.chapters.vtt",
        "talk.ffmetadata",
    ]
    assert write_summary(SUMMARY, targets, replace=False) == tuple(targets.values())
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        path.name for path in targets.values()
    }


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(tmp_path):
    targets = summary_targets(tmp_path, "talk", ("md", "json"))
    targets["md"].write_text("mine")
    assert write_summary(SUMMARY, targets, replace=False) == (targets["json"],)
    assert targets["md"].read_text() == "mine"
    assert len(write_summary(SUMMARY, targets, replace=True)) == 2
    assert targets["md"].read_text().startswith("# ")


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StorageFailed):
        write_summary(SUMMARY, summary_targets(tmp_path / "none", "talk", ("md",)), replace=True)


def test_names_fit_the_file_system(tmp_path):
    targets = summary_targets(tmp_path, "ü" * 127, ("md", "ffmetadata"))
    assert write_summary(SUMMARY, targets, replace=True)
    assert all(len(path.name.encode()) <= 255 for path in targets.values())
    other = summary_targets(tmp_path, "ü" * 126 + "x", ("md",))
    assert other["md"] != targets["md"]


def test_json_is_the_summary():
    assert codec.loads(render("json", AWKWARD), Summary) == AWKWARD


def test_json_chapters_are_as_podcasting_2_0_has_them():
    table = json.loads(render("chapters.json", AWKWARD))
    assert table["version"] == "1.2.0"
    assert [one["title"] for one in table["chapters"]] == SEEN
    assert [one["startTime"] for one in table["chapters"][:2]] == [0.0, 1.25]
    assert all(one["startTime"] < one["endTime"] for one in table["chapters"])


def test_chapters_as_webvtt_are_read_back(tmp_path):
    path = tmp_path / "talk.vtt"
    path.write_text(render("chapters.vtt", AWKWARD))
    lines = read_transcript(path).lines
    assert [line.start_s for line in lines] == [0.0, *(n + 0.25 for n in range(1, len(TITLES)))]
    assert lines[3].text == "<b>bold</b> & so"


@pytest.mark.parametrize("at_s", [0.0, 0.0005, 4.0, 7.9996])
def test_a_chapter_without_length_lasts_a_millisecond(at_s):
    summary = replace(SUMMARY, chapters=(Chapter(0, at_s, "a"), Chapter(at_s, at_s, "b")))
    table = json.loads(render("chapters.json", summary))["chapters"]
    assert all(one["startTime"] < one["endTime"] for one in table)
    rows = render("chapters.vtt", summary).splitlines()
    cues = [row.split(" --> ") for row in rows if "-->" in row]
    assert len(cues) == 2
    assert all(start < end for start, end in cues)
    values = re.findall(r"^(?:START|END)=(\d+)$", render("ffmetadata", summary), re.MULTILINE)
    assert len(values) == 4
    assert all(int(start) < int(end) for start, end in zip(values[::2], values[1::2], strict=True))


def test_ffmpeg_reads_the_chapters_and_writes_them_into_a_file(tmp_path):
    metadata = tmp_path / "talk.ffmetadata"
    metadata.write_text(render("ffmetadata", AWKWARD))
    media = tmp_path / "talk.mka"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "anullsrc=d=9"]
    command += ["-f", "ffmetadata", "-i", metadata, "-map", "0", "-map_metadata", "1", media]
    subprocess.run(command, check=True, timeout=60)
    probe = ["ffprobe", "-v", "error", "-show_chapters", "-show_format", "-of", "json", media]
    found = json.loads(subprocess.run(probe, check=True, capture_output=True).stdout)
    assert [one["tags"]["title"].rstrip() for one in found["chapters"]] == SEEN
    assert [float(one["start_time"]) for one in found["chapters"]] == [
        0.0,
        *(n + 0.25 for n in range(1, len(TITLES))),
    ]
    assert found["format"]["tags"]["title"].rstrip() == AWKWARD.title.rstrip()


@pytest.mark.parametrize("texts", INJECTIONS.values(), ids=INJECTIONS)
def test_any_words_can_be_written(tmp_path, texts):
    evil = " ".join(texts)[:5000]
    summary = replace(AWKWARD, title=evil, abstract=evil, source=evil, topics=(evil,))
    targets = summary_targets(tmp_path, "talk", tuple(SUFFIXES))
    assert len(write_summary(summary, targets, replace=True)) == 5
