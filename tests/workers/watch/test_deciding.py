"""What is to be done with a complete file: real media, real subtitles beside and inside of them."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from pipeline.errors import NotMedia
from pipeline.ffmpeg import Tools
from pipeline.folder import Done, Failure, output_id
from pipeline.source import take
from pipeline.store import Store
from pipeline.summaries.options import SummaryOptions
from pipeline.types import OutputOptions, SpeechOptions
from workers.watch.deciding import Decider, Policy
from workers.watch.folder_settings import FolderSettings
from workers.watch.records import Look
from workers.watch.sidecars import Subtitles

SILENCE = ("-f", "lavfi", "-t", "0.2", "-i", "anullsrc=r=16000:cl=mono")


class Desk:
    """A folder with media, and a decider."""

    def __init__(self, tmp_path):
        self.folder = tmp_path / "in"
        self.folder.mkdir()
        self.store = Store(tmp_path / "home")
        self.policy = Policy(SpeechOptions(model="demo"), OutputOptions())
        self.settings = FolderSettings()

    def media(self, name="film.mkv", *tags):
        path = self.folder / name
        subprocess.run(["ffmpeg", "-v", "error", *SILENCE, *tags, str(path)], check=True)
        return path

    def with_subtitles_in_it(self, language):
        (self.folder / "in.srt").write_text("1\n00:00:00,000 --> 00:00:00,100\nhello\n")
        path = self.folder / "film.mkv"
        subprocess.run(
            ["ffmpeg", "-v", "error", *SILENCE, "-i", str(self.folder / "in.srt"), "-map", "0",
             "-map", "1", "-metadata:s:s:0", f"language={language}", str(path)],
            check=True,
        )  # fmt: skip
        (self.folder / "in.srt").unlink()
        return path

    def beside(self, *names):
        for name in names:
            (self.folder / name).write_text("text")

    def decide(self, path):
        status = path.stat()
        look = Look(path, self.folder, status.st_size, status.st_mtime_ns, status.st_ino)
        names = Subtitles(each.name for each in self.folder.iterdir())
        decider = Decider(self.policy, self.store, Tools())
        return decider.decide(look, names, self.settings)

    def asks(self, **changes):
        self.policy = replace(self.policy, **changes)

    def speaks(self, **changes):
        self.asks(speech=replace(self.policy.speech, **changes))


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_a_new_file_is_work(desk):
    decision = desk.decide(desk.media())
    assert (decision.kind, decision.priority) == ("work", "normal")
    assert decision.job.source == take(desk.folder / "film.mkv")


class TestOthersSubtitles:
    """Subtitles that somebody else made."""

    @pytest.mark.parametrize(
        ("name", "spoken", "kind"),
        [
            ("film.en.srt", "en", "leave"),
            ("film.eng.vtt", "en", "leave"),
            ("film.en.sdh.srt", "en", "leave"),
            ("film.srt", "en", "leave"),  # of no known language: it may be this one
            ("film.de.srt", "en", "work"),
            ("film.en.forced.srt", "en", "work"),
            ("film.en.txt", "en", "work"),
            ("other.en.srt", "en", "work"),
            ("film.en.srt", None, "leave"),  # the film's language is not known
            ("film.en.forced.srt", None, "work"),
        ],
    )
    def test_they_count_when_they_may_be_what_is_wanted(self, desk, name, spoken, kind):
        path = desk.media()
        desk.beside(name)
        desk.speaks(language=spoken)
        assert desk.decide(path).kind == kind

    @pytest.mark.parametrize(("tag", "kind"), [("eng", "leave"), ("ger", "work")])
    def test_where_the_media_tells_its_language_that_counts(self, desk, tag, kind):
        path = desk.media("film.mkv", "-metadata:s:a:0", f"language={tag}")
        desk.beside("film.en.srt")
        assert desk.decide(path).kind == kind

    def test_a_translation_is_english(self, desk):
        path = desk.media("film.mkv", "-metadata:s:a:0", "language=ger")
        desk.beside("film.de.srt")
        desk.speaks(task="translate")
        assert desk.decide(path).kind == "work"
        desk.beside("film.en.srt")
        assert desk.decide(path).kind == "leave"

    def test_they_do_not_matter_where_only_a_text_is_wanted(self, desk):
        path = desk.media()
        desk.beside("film.en.srt")
        desk.asks(output=OutputOptions(formats=("txt",)))
        assert desk.decide(path).kind == "work"

    def test_they_are_replaced_if_asked(self, desk):
        path = desk.media()
        desk.beside("film.en.srt")
        desk.asks(existing="replace")
        decision = desk.decide(path)
        assert decision.kind == "work"
        assert decision.job.output.overwrite

    def test_ours_are_written_beside_them_if_asked_and_then_it_is_done(self, desk):
        path = desk.media()
        desk.beside("film.en.srt")
        desk.asks(existing="beside")
        decision = desk.decide(path)
        assert decision.job.output.name == "{stem}.transcribe.{language}.{format}"
        ours = desk.folder / "film.transcribe.en.srt"
        ours.write_text("text")
        with desk.store.open_folder(decision.job) as folder:
            folder.finish(Done(output_id(decision.job), (ours,)))
        assert desk.decide(path).kind == "done"

    def test_subtitles_inside_of_the_media_count_if_asked(self, desk):
        path = desk.with_subtitles_in_it("eng")
        desk.speaks(language="en")
        assert desk.decide(path).kind == "work"
        desk.asks(heeds_embedded=True)
        decision = desk.decide(path)
        assert (decision.kind, decision.reason[:28]) == ("leave", "it has subtitles in it, en (")
        desk.speaks(language="de")
        assert desk.decide(path).kind == "work"


class TestOurs:
    """What we made."""

    def made(self, desk, path, name, task="transcribe"):
        output = desk.folder / name
        output.write_text("text")
        desk.store.outputs.note((output,), take(path), task)
        return output

    def test_what_we_made_of_this_very_version_is_done(self, desk):
        path = desk.media()
        output = self.made(desk, path, "film.en.srt")
        decision = desk.decide(path)
        assert (decision.kind, decision.outputs) == ("done", (output,))

    def test_what_we_made_of_another_version_is_made_again(self, desk):
        path = desk.media()
        self.made(desk, path, "film.en.srt")
        path.write_bytes(path.read_bytes() + b"\0")
        assert desk.decide(path).kind == "work"

    def test_what_another_task_made_is_not_what_is_wanted(self, desk):
        path = desk.media()
        self.made(desk, path, "film.en.srt", "translate")
        assert desk.decide(path).kind == "work"

    def test_another_format_is_still_to_be_made(self, desk):
        path = desk.media()
        self.made(desk, path, "film.en.srt")
        desk.asks(output=OutputOptions(formats=("srt", "vtt")))
        assert desk.decide(path).kind == "work"

    def test_another_language_is_still_to_be_made(self, desk):
        path = desk.media()
        self.made(desk, path, "film.en.srt")
        desk.speaks(language="de")
        assert desk.decide(path).kind == "work"

    def test_of_two_media_of_one_stem_each_has_its_own(self, desk):
        video, sound = desk.media("talk.mkv"), desk.media("talk.mp3")
        self.made(desk, video, "talk.en.srt")
        desk.speaks(language="en")
        assert desk.decide(video).kind == "done"
        assert desk.decide(sound).kind == "work"
        self.made(desk, sound, "talk.mp3.en.srt")
        assert desk.decide(sound).kind == "done"


class TestFailures:
    """What failed, or cannot even be tried."""

    def test_what_failed_before_says_why(self, desk):
        path = desk.media()
        failure = Failure("no sound in it", "NoAudio", 2, 0.0)
        desk.store.note_failure(desk.decide(path).job, failure)
        decision = desk.decide(path)
        assert (decision.kind, decision.failure) == ("failed", failure)

    def test_an_empty_file_is_a_problem(self, desk):
        path = desk.folder / "film.mkv"
        path.touch()
        decision = desk.decide(path)
        assert decision.kind == "failed"
        assert isinstance(decision.problem, NotMedia)


class TestFolders:
    """What a folder asks for."""

    def test_its_settings_hold_but_for_flags_that_were_given(self, desk):
        path = desk.media()
        desk.settings = FolderSettings(language="de", model="small", priority="high")
        desk.asks(given=frozenset(("model", "priority")), priority="low")
        decision = desk.decide(path)
        assert decision.job.speech.language == "de"
        assert decision.job.speech.model == "demo"
        assert decision.priority == "low"

    def test_below_an_output_folder_files_keep_their_place(self, desk, tmp_path):
        (desk.folder / "a").mkdir()
        path = desk.media("a/film.mkv")
        desk.asks(output=OutputOptions(output_dir=tmp_path / "out"))
        assert desk.decide(path).job.output.output_dir == tmp_path / "out/a"


class TestSummaries:
    """What is wanted besides subtitles."""

    WISH = SummaryOptions(llm="none", glossary=("Ulla",), formats=("md",))

    def test_a_folder_may_want_one_with_its_terms(self, desk):
        path = desk.media()
        desk.asks(summaries=self.WISH)
        desk.settings = FolderSettings(summary=True, glossary=("Kubernetes",))
        assert desk.decide(path).job.summary == replace(self.WISH, glossary=("Ulla", "Kubernetes"))
        desk.settings = FolderSettings(summary=False)
        desk.asks(summary=self.WISH)
        assert desk.decide(path).job.summary is None
        desk.asks(given=frozenset(("summary",)))
        assert desk.decide(path).job.summary == self.WISH

    def test_a_summarys_json_is_no_transcripts(self, desk):
        path = desk.media()
        desk.asks(output=OutputOptions(formats=("json",)))
        summary = desk.folder / "film.summary.json"
        summary.write_text("{}")
        desk.store.outputs.note((summary,), take(path), "transcribe")
        assert desk.decide(path).kind == "work"

    def test_it_is_done_only_with_its_summary(self, desk):
        path = desk.media()
        desk.asks(summary=self.WISH)
        output = desk.folder / "film.en.srt"
        output.write_text("text")
        desk.store.outputs.note((output,), take(path), "transcribe")
        assert desk.decide(path).kind == "work"
        summary = desk.folder / "film.summary.md"
        summary.write_text("text")
        desk.store.outputs.note((summary,), take(path), "transcribe")
        assert desk.decide(path).kind == "done"
