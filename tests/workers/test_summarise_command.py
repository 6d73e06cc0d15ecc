"""`summarise`, with transcripts that exist."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, OutputOptions, SpeechOptions
from tests.models.text.tiny import write_tiny
from tests.pipeline.summaries.talks import talk
from tests.pipeline.summaries.test_job import srt_of
from workers.cli import main
from workers.summarise_command import media_beside, stem_of

SRT = "1\n00:00:01,000 --> 00:00:04,000\nThe ship lies in the harbour.\n"


@pytest.fixture
def summarise(capfd, monkeypatch, tmp_path):
    """Run the command without a model; gives its exit code and what --json printed, by name."""
    monkeypatch.chdir(tmp_path)
    handlers = [(one, signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM)]

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["summarise", "--llm", "none", "--json", *map(str, arguments)])
        outcomes = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        return ended.value.code, {one["source"].rpartition("/")[2]: one for one in outcomes}

    yield run
    for number, handler in handlers:
        signal.signal(number, handler)


@pytest.fixture
def srt(tmp_path):
    path = tmp_path / "talk.en.srt"
    path.write_text(SRT)
    return path


def made(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".srt")


THREE = ["talk.chapters.json", "talk.summary.json", "talk.summary.md"]


def test_a_transcripts_summary_lies_beside_it(summarise, srt):
    srt.write_text(srt_of(talk(10)))
    code, outcomes = summarise(srt.name)
    assert code == 0
    assert made(srt.parent) == THREE
    outcome = outcomes["talk.en.srt"]
    assert (outcome["state"], outcome["language"]) == ("done", "en")
    assert sorted(outcome["outputs"]) == [str(srt.parent / name) for name in THREE]
    assert "[" not in (srt.parent / "talk.summary.md").read_text().replace("[ ]", "")  # no link


def test_times_are_links_to_the_media_beside_it(summarise, srt, tmp_path):
    (tmp_path / "talk.MP4").touch()
    summarise(srt)
    assert "[00:01](talk.MP4#t=1)" in (tmp_path / "talk.summary.md").read_text()
    summarise(srt, "-o", tmp_path / "notes")
    assert "[00:01](../talk.MP4#t=1)" in (tmp_path / "notes" / "talk.summary.md").read_text()


def test_what_is_there_stays_unless_it_is_to_be_overwritten(summarise, srt, tmp_path):
    summarise(srt)
    (tmp_path / "talk.summary.md").write_text("edited")
    code, outcomes = summarise(srt)
    assert (code, outcomes["talk.en.srt"]["state"]) == (0, "skipped")
    assert "exist: --overwrite makes them again." in outcomes["talk.en.srt"]["reason"]
    (tmp_path / "talk.chapters.json").unlink()
    _, outcomes = summarise(srt)
    assert outcomes["talk.en.srt"]["outputs"] == [str(tmp_path / "talk.chapters.json")]
    assert (tmp_path / "talk.summary.md").read_text() == "edited"
    summarise(srt, "--overwrite")
    assert "harbour" in (tmp_path / "talk.summary.md").read_text()


def test_what_is_kept_of_a_transcript_that_is_summed_up_is_cleaned_away(summarise, srt, own_home):
    summarise(srt)
    (folder,) = own_home.glob("jobs/*")
    assert not list(folder.glob("notes-*"))
    assert Store(own_home).clean(everything=False) > 0
    assert not folder.exists()


def test_a_transcript_that_another_process_is_at_is_busy(summarise, srt, own_home):
    job = Job(take(srt), SpeechOptions(), OutputOptions())
    with Store(own_home).open_folder(job):
        code, outcomes = summarise(srt)
    assert (code, outcomes["talk.en.srt"]["error"]) == (4, "Busy")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is left")
def test_nobody_wants_a_model_after_the_last_file(summarise, srt, tmp_path):
    pytest.importorskip("xllamacpp")
    llm = write_tiny(tmp_path / "tiny.gguf")
    code, outcomes = summarise(srt, "--llm", llm, "--threads", "1")
    assert code in (0, 3)
    assert "xllamacpp" not in str(outcomes)  # it was there
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    assert not [line for line in commands if b"llama_child" in line]


def test_one_bad_file_stops_no_other_and_is_told_with_its_reason(summarise, srt, tmp_path):
    (tmp_path / "torn.vtt").write_text("no web video text")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "notes.txt").write_text("hello")
    code, outcomes = summarise("torn.vtt", "list.json", "notes.txt", "nosuch.srt", srt)
    assert code == 2
    assert outcomes["talk.en.srt"]["state"] == "done"
    reasons = {name: one["reason"] for name, one in outcomes.items() if one["state"] == "failed"}
    assert "not WebVTT" in reasons["torn.vtt"]
    assert "no transcript of ours or of Whisper" in reasons["list.json"]
    assert "give an .srt, .vtt or .json file" in reasons["notes.txt"]
    assert "does not exist" in reasons["nosuch.srt"]
    assert made(tmp_path) == sorted([*THREE, "torn.vtt", "list.json", "notes.txt"])


def test_a_transcript_in_which_nobody_speaks_has_a_summary_that_says_so(summarise, srt, tmp_path):
    srt.write_text("")
    assert summarise(srt)[0] == 0
    assert "no speech was found" in (tmp_path / "talk.summary.md").read_text()


def test_a_folder_that_cannot_be_written_is_told(summarise, srt, tmp_path):
    (tmp_path / "file").touch()
    code, outcomes = summarise(srt, "-o", tmp_path / "file" / "x")
    assert (code, outcomes["talk.en.srt"]["error"]) == (3, "StorageFailed")


GERMAN = "1\n00:00:01,000 --> 00:00:04,000\nDas Schiff liegt im Hafen.\n"


@pytest.fixture
def two(tmp_path):
    """A German and an English transcript of one stem."""
    german, english = tmp_path / "two.de.srt", tmp_path / "two.en.srt"
    german.write_text(GERMAN)
    english.write_text(SRT)
    return german, english


def said_in(*files):
    """What each of these files is about."""
    return ["Hafen" if "Hafen" in one.read_text() else "harbour" for one in files]


@pytest.mark.parametrize("medium", [None, "two.mp4"])
def test_two_transcripts_of_one_stem_have_two_summaries(summarise, two, tmp_path, medium):
    if medium:
        (tmp_path / medium).touch()
    for flags in ([], ["--overwrite"], ["--overwrite"]):
        code, outcomes = summarise(*flags, *two)
        assert code == 0
        assert {one["state"] for one in outcomes.values()} == {"done"}
        assert len(outcomes["two.en.srt"]["outputs"]) == 3
        written = [tmp_path / "two.summary.md", tmp_path / "two.en.summary.md"]
        assert said_in(*written) == ["Hafen", "harbour"]
    assert len(list(tmp_path.glob("*.summary.md"))) == 2


def test_what_is_missing_of_one_transcript_s_files_is_not_made_of_another_s(
    summarise, two, tmp_path
):
    german, english = two
    summarise(english)
    (tmp_path / "two.summary.json").unlink()
    summarise(german)
    assert said_in(tmp_path / "two.summary.md", tmp_path / "two.de.summary.json") == [
        "harbour",
        "Hafen",
    ]
    assert not (tmp_path / "two.summary.json").exists()
    summarise(english)
    assert said_in(tmp_path / "two.summary.json") == ["harbour"]


def test_a_file_that_nobody_knows_stays_and_is_told(capfd, summarise, srt, tmp_path):
    (tmp_path / "talk.summary.md").write_text("of whom?")
    with pytest.raises(SystemExit):
        main(["summarise", "--llm", "none", str(srt)])
    assert "talk.summary.md exists and stays as it is" in capfd.readouterr().out
    assert (tmp_path / "talk.summary.md").read_text() == "of whom?"
    assert (tmp_path / "talk.summary.json").exists()


def test_one_transcript_in_two_formats_has_one_summary(summarise, srt, tmp_path):
    vtt = tmp_path / "talk.en.vtt"
    vtt.write_text("WEBVTT\n\n00:01.000 --> 00:04.000\nThe ship lies in the harbour.\n")
    code, outcomes = summarise(srt, vtt)
    assert (code, outcomes["talk.en.vtt"]["state"]) == (0, "skipped")
    assert len(list(tmp_path.glob("*.summary.md"))) == 1


def test_a_summary_that_came_with_the_subtitles_is_known(summarise, srt, own_home, tmp_path):
    media = tmp_path / "talk.mp4"
    media.write_bytes(b"not looked into")
    outputs = Store(own_home).outputs
    files = [tmp_path / name for name in THREE]
    for file in files:
        file.write_text("made by run")
    assert outputs.claim(files, media)
    outputs.note(files, take(media), "transcribe")
    assert summarise(srt)[1]["talk.en.srt"]["state"] == "skipped"
    assert summarise("--overwrite", srt)[1]["talk.en.srt"]["state"] == "done"
    assert said_in(tmp_path / "talk.summary.md") == ["harbour"]
    assert len(list(tmp_path.glob("*.summary.md"))) == 1


def test_a_summary_from_our_own_subtitles_is_the_medias(summarise, srt, own_home, tmp_path):
    media = tmp_path / "video" / "talk.mp4"
    media.parent.mkdir()
    media.write_bytes(b"not looked into")
    outputs = Store(own_home).outputs
    outputs.claim([srt], media)
    outputs.note([srt], take(media), "transcribe")
    summarise(srt)
    assert "(video/talk.mp4#t=1)" in (tmp_path / "talk.summary.md").read_text()
    assert outputs.claim([tmp_path / name for name in THREE], media)


def test_a_summary_s_own_files_are_no_transcripts(summarise, srt, tmp_path):
    summarise(srt, "--summary-format", "chapters.vtt", "--summary-format", "json")
    before = made(tmp_path)
    code, outcomes = summarise(*sorted(tmp_path.glob("*.*")), "--summary-format", "md")
    assert code == 0
    assert {name: one["state"] for name, one in outcomes.items()} == {
        "talk.chapters.vtt": "skipped",
        "talk.en.srt": "done",
        "talk.summary.json": "skipped",
    }
    assert "no transcript: rename it" in outcomes["talk.chapters.vtt"]["reason"]
    assert made(tmp_path) == sorted([*before, "talk.summary.md"])
    (tmp_path / "talk.chapters.mp4").touch()
    assert summarise(tmp_path / "talk.chapters.vtt")[1]["talk.chapters.vtt"]["state"] == "done"
    assert summarise(tmp_path / "no.chapters.vtt")[0] == 2


@pytest.mark.parametrize(
    ("name", "stem", "language"),
    [
        ("talk.srt", "talk", None),
        ("talk.en.srt", "talk", "en"),
        ("talk.deu.vtt", "talk", "de"),
        ("talk.mp4.en.srt", "talk.mp4", "en"),
        ("v1.2.srt", "v1.2", None),
        ("en.srt", "en", None),
        ("Dr.No.srt", "Dr.No", None),
    ],
)
def test_the_stem_is_what_stands_before_the_language(tmp_path, name, stem, language):
    (tmp_path / "Dr.No.mkv").touch()
    assert stem_of(tmp_path / name) == (stem, language)


def test_the_media_are_those_of_the_stem(tmp_path):
    path = tmp_path / "talk.en.srt"
    assert media_beside(path, "talk") is None
    for name in ("talk.txt", "talk.mkv", "talk.mp4", "other.mp3"):
        (tmp_path / name).touch()
    assert media_beside(path, "talk").name in ("talk.mkv", "talk.mp4")
    assert media_beside(path, "talk.mp4").name == "talk.mp4"
    assert media_beside(path, "x" * 300) is None
