"""The story of one file, told with real ffmpeg and scripted engines."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import srt

from models.engines.scripted import (
    DESCRIPTION,
    ScriptedDetector,
    ScriptedEngine,
    ScriptedEngines,
    spoken,
)
from pipeline import codec
from pipeline.errors import ModelUnavailable, SourceChanged, StorageFailed
from pipeline.ffmpeg import Tools
from pipeline.run import prepare, run
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import (
    Job,
    LanguageGuess,
    OutputOptions,
    Span,
    SpeechOptions,
    Transcript,
)

SPANS = tuple(Span(start_s, start_s + 3.0) for start_s in (1.0, 8.0, 15.0, 22.0))


class Ear:
    """A listener that remembers."""

    def __init__(self):
        self.stages = []
        self.notes = []
        self.done_s = []

    def stage(self, stage, total_s):
        self.stages.append(stage)

    def progress(self, done_s):
        self.done_s.append(done_s)

    def note(self, text):
        self.notes.append(text)


class Studio:
    """One media file and all that is needed to transcribe it."""

    def __init__(self, media, home):
        self.media = media
        self.store = Store(home)
        self.engine = ScriptedEngine(("One.", "Two.", "Three.", "Four."))
        self.spans = SPANS
        self.ear = Ear()

    def run(self, speech=None, output=None, failure=None):
        return self._do(run, speech, output, failure)

    def prepare(self):
        return self._do(prepare, None, None, None)

    def _do(self, what, speech, output, failure):
        self.ear = Ear()
        job = Job(take(self.media), speech or SpeechOptions(), output or OutputOptions())
        self.engines = ScriptedEngines(self.engine, ScriptedDetector(self.spans), failure)
        return what(job, self.store, self.engines, Tools(), self.ear)

    def replace_media(self):
        """Another sound under the same name."""
        sound = self.media.read_bytes()
        self.media.write_bytes(sound[:-2] + b"\x01\x02")

    def named(self, name):
        """The same sound under another name."""
        media = self.media.with_name(name)
        media.write_bytes(self.media.read_bytes())
        other = Studio(media, self.store.home)
        other.engine = ScriptedEngine(("Other.",))
        return other


@pytest.fixture
def studio(tmp_path, media):
    talk = tmp_path / "media" / "talk.wav"
    talk.parent.mkdir()
    talk.write_bytes(media.tone("half-a-minute.wav", 30).read_bytes())
    return Studio(talk, tmp_path / "home")


def cues(path):
    return [cue.content for cue in srt.parse(path.read_text())]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_media_in_subtitles_out(studio):
    outcome = studio.run()
    assert outcome.state == "done"
    assert outcome.language == "en"
    assert outcome.duration_s == pytest.approx(30.0)
    (path,) = outcome.outputs
    assert path == studio.media.with_name("talk.en.srt")
    assert cues(path) == ["One.", "Two.", "Three.", "Four."]
    assert studio.ear.stages == ["probe", "convert", "speech", "language", "transcribe", "write"]
    assert names(studio.media.parent) == ["talk.en.srt", "talk.wav"]


def test_the_sound_is_let_go_and_the_source_left_alone(studio):
    before = studio.media.read_bytes()
    studio.run()
    assert list(studio.store.home.rglob("audio.wav")) == []
    assert studio.media.read_bytes() == before


class TestDoneBefore:
    """What is there is not done again."""

    def test_a_finished_file_is_skipped_without_any_work(self, studio):
        studio.run()
        outcome = studio.run()
        assert outcome.state == "skipped"
        assert "talk.en.srt exists: --overwrite makes it again." in outcome.reason
        assert studio.ear.stages == []

    def test_a_run_that_died_before_it_said_that_it_was_done_leaves_nothing(self, studio):
        english = SpeechOptions(language="en")
        (path,) = studio.run(english).outputs
        (done,) = studio.store.home.rglob("done.json")
        done.unlink()
        sound = done.with_name("audio.wav")
        sound.write_bytes(b"as large as the recording")
        assert studio.run(english).state == "skipped"
        assert done.exists()
        assert not sound.exists()
        assert path.exists()

    def test_overwrite_does_it_all_again(self, studio):
        studio.run()
        studio.engine = ScriptedEngine(("New.",))
        outcome = studio.run(output=OutputOptions(overwrite=True))
        assert cues(outcome.outputs[0]) == ["New."] * 4

    def test_what_was_made_of_an_older_version_of_the_media_is_made_again(self, studio):
        (srt,) = studio.run().outputs
        studio.replace_media()
        studio.engine = ScriptedEngine(("New.",))
        assert studio.run().state == "done"
        assert cues(srt) == ["New."] * 4

    def test_but_not_if_somebody_corrected_it_since(self, studio):
        (srt,) = studio.run().outputs
        srt.write_text("corrected")
        studio.replace_media()
        assert studio.run().state == "skipped"
        assert srt.read_text() == "corrected"

    def test_another_format_needs_no_listening(self, studio):
        studio.run()
        outcome = studio.run(output=OutputOptions(formats=("txt",)))
        assert outcome.outputs[0].read_text().split() == ["One.", "Two.", "Three.", "Four."]
        assert studio.engines.lent == []
        assert "convert" not in studio.ear.stages

    def test_an_output_deleted_by_hand_is_made_again(self, studio):
        (path,) = studio.run().outputs
        path.unlink()
        assert studio.run().state == "done"
        assert path.exists()

    def test_a_file_somebody_else_wrote_stays_and_nothing_is_heard(self, studio):
        theirs = studio.media.with_name("talk.en.srt")
        theirs.write_text("by hand")
        outcome = studio.run()
        assert outcome.state == "skipped"
        assert theirs.read_text() == "by hand"
        assert studio.engine.asked == []
        assert list(studio.store.home.rglob("audio.wav")) == []

    def test_where_the_language_is_given_not_even_the_sound_is_converted(self, studio):
        studio.media.with_name("talk.de.srt").write_text("by hand")
        outcome = studio.run(SpeechOptions(language="de"))
        assert outcome.state == "skipped"
        assert studio.ear.stages == []

    def test_a_file_that_comes_meanwhile_stays_and_is_told(self, studio):
        theirs = studio.media.with_name("talk.en.srt")

        def script(window):
            theirs.write_text("by hand")
            return spoken(window, "Ours.")

        studio.engine = ScriptedEngine(script)
        assert studio.run().state == "skipped"
        assert theirs.read_text() == "by hand"

    def test_only_the_missing_one_of_two_outputs_is_written(self, studio):
        theirs = studio.media.with_name("talk.en.srt")
        theirs.write_text("by hand")
        outcome = studio.run(output=OutputOptions(formats=("srt", "json")))
        assert outcome.state == "done"
        assert theirs.read_text() == "by hand"
        assert studio.media.with_name("talk.en.json").exists()


class TestInterrupted:
    """A run that was killed goes on where it was."""

    @pytest.mark.parametrize("failing_clip", [0, 1, 2, 3])
    def test_no_window_is_heard_twice(self, studio, failing_clip):
        script = ("One.", "Two.", "Three.", "Four.")
        studio.run(output=OutputOptions(name="whole.{stem}.srt"))
        studio.store = Store(studio.store.home.with_name("second"))
        studio.engine = first = ScriptedEngine(script, failure=(failing_clip, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            studio.run()
        assert not studio.media.with_name("talk.en.srt").exists()
        studio.engine = second = ScriptedEngine(script[failing_clip:])
        outcome = studio.run()
        assert studio.ear.stages == ["transcribe", "write"]
        heard = [clip.window for clip in first.asked[:failing_clip] + second.asked]
        assert len(heard) == len(set(heard))
        whole = studio.media.with_name("whole.talk.srt")
        assert outcome.outputs[0].read_text() == whole.read_text()

    def test_a_source_that_changes_meanwhile_gives_no_subtitles(self, studio):
        def script(window):
            os.utime(studio.media, ns=(1, 1))
            return ()

        studio.engine = ScriptedEngine(script)
        with pytest.raises(SourceChanged):
            studio.run()
        assert names(studio.media.parent) == ["talk.wav"]

    def test_without_a_model_the_sound_is_kept_for_the_next_try(self, studio):
        with pytest.raises(ModelUnavailable):
            studio.run(failure=ModelUnavailable("no weights"))
        assert studio.run().state == "done"
        assert "convert" not in studio.ear.stages

    def test_a_folder_that_cannot_be_written_is_found_before_any_work(self, studio, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StorageFailed):
            studio.run(output=OutputOptions(output_dir=tmp_path / "file" / "out"))
        assert studio.ear.stages == []

    def test_a_home_that_was_moved_is_no_obstacle(self, studio):
        studio.engine = ScriptedEngine(failure=(1, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            studio.run()
        studio.store = Store(studio.store.home.rename(studio.store.home.with_name("moved")))
        studio.engine = ScriptedEngine()
        assert studio.run().state == "done"


class TestDamage:
    """What is broken in the job's folder is made again."""

    @pytest.mark.parametrize("finished", [True, False])
    @pytest.mark.parametrize(
        "name", ["media.json", "audio.json", "windows.json", "language.json", "heard.jsonl"]
    )
    @pytest.mark.parametrize("content", [b"", b"garbage\n"])
    def test_a_broken_file_costs_work_and_nothing_else(self, studio, name, content, finished):
        if not finished:
            studio.engine = ScriptedEngine(failure=(2, KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                studio.run()
        else:
            studio.run().outputs[0].unlink()
        (file,) = studio.store.home.rglob(name)
        file.write_bytes(content)
        studio.engine = ScriptedEngine(lambda window: spoken(window, f"At {window.start_s:.0f}."))
        outcome = studio.run()
        assert outcome.state == "done"
        assert len(cues(outcome.outputs[0])) == 4

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"x" * 1000])
    def test_broken_sound_is_converted_again(self, studio, content):
        studio.engine = ScriptedEngine(failure=(2, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            studio.run()
        (file,) = studio.store.home.rglob("audio.wav")
        file.write_bytes(content)
        studio.engine = ScriptedEngine()
        assert studio.run().state == "done"
        assert studio.ear.stages == ["convert", "transcribe", "write"]


class TestSilence:
    """Nobody speaks: an expected ending, not an error."""

    def test_silence_gives_a_valid_empty_srt_and_a_note(self, studio):
        studio.spans = ()
        outcome = studio.run(failure=AssertionError("no model is needed"))
        assert outcome.state == "done"
        assert outcome.outputs == (studio.media.with_name("talk.und.srt"),)
        assert cues(outcome.outputs[0]) == []
        assert outcome.notes == ("no speech was found",)
        assert "no speech was found" in studio.ear.notes

    def test_the_language_that_was_asked_for_names_the_empty_file(self, studio):
        studio.spans = ()
        outcome = studio.run(SpeechOptions(language="de"))
        assert outcome.outputs[0].name == "talk.de.srt"


class TestLanguage:
    """Asked over the whole file, unless it is given."""

    def test_a_guess_names_the_file_and_is_told(self, studio):
        studio.engine = ScriptedEngine(guess=LanguageGuess("de", 0.93))
        outcome = studio.run()
        assert outcome.outputs[0].name == "talk.de.srt"
        assert "language: de (93% over 4 windows)" in studio.ear.notes
        assert {clip.options.language for clip in studio.engine.asked} == {"de"}

    def test_a_language_that_is_given_is_not_asked(self, studio):
        studio.run(SpeechOptions(language="de"))
        assert studio.engine.asked_for_language == []

    def test_a_translation_is_english(self, studio):
        studio.engine = ScriptedEngine(guess=LanguageGuess("de", 0.93))
        outcome = studio.run(SpeechOptions(task="translate"))
        assert outcome.outputs[0].name == "talk.en.srt"


def test_json_holds_the_whole_transcript_and_how_it_came_about(studio):
    speech = SpeechOptions(initial_prompt="Names")
    outcome = studio.run(speech, OutputOptions(formats=("json",)))
    transcript = codec.loads(outcome.outputs[0].read_text(), Transcript)
    assert [segment.text for segment in transcript.segments] == ["One.", "Two.", "Three.", "Four."]
    assert transcript.provenance.engines == (studio.engine.description,)
    assert transcript.provenance.options == speech
    assert transcript.provenance.program.startswith("transcribe ")


def test_an_engine_that_changes_on_the_way_is_recorded_as_two(studio):
    smaller = replace(DESCRIPTION, model="smaller", reason="out of memory")
    studio.engine = ScriptedEngine(("One.",), change=(2, smaller))
    outcome = studio.run(output=OutputOptions(formats=("json",)))
    transcript = codec.loads(outcome.outputs[0].read_text(), Transcript)
    assert transcript.provenance.engines == (DESCRIPTION, smaller)


def test_a_run_that_goes_on_with_another_engine_records_both(studio):
    studio.engine = ScriptedEngine(("One.",), failure=(2, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        studio.run(output=OutputOptions(formats=("json",)))
    other = replace(DESCRIPTION, model="other")
    studio.engine = ScriptedEngine(("Two.",), other)
    outcome = studio.run(output=OutputOptions(formats=("json",)))
    transcript = codec.loads(outcome.outputs[0].read_text(), Transcript)
    assert [one.model for one in transcript.provenance.engines] == ["scripted", "other"]


def test_windows_reach_the_engine_as_sound_in_media_time(studio):
    studio.run()
    clips = studio.engine.asked
    assert [round(clip.window.start_s) for clip in clips] == [1, 8, 15, 22]
    for clip in clips:
        length_s = clip.window.end_s - clip.window.start_s
        assert len(clip.samples) == pytest.approx(16_000 * length_s, abs=1)


class TestInTwoHalves:
    """What comes before hearing may be done by itself."""

    def test_what_was_prepared_is_not_done_again(self, studio):
        assert studio.prepare() == pytest.approx(30.0)
        assert studio.ear.stages == ["probe", "convert", "speech"]
        assert studio.engines.lent == []
        assert studio.run().state == "done"
        assert studio.ear.stages == ["language", "transcribe", "write"]

    def test_preparing_twice_does_nothing_the_second_time(self, studio):
        studio.prepare()
        assert studio.prepare() == pytest.approx(30.0)
        assert studio.ear.stages == []

    def test_where_nothing_is_left_to_do_nothing_is_prepared(self, studio):
        studio.run()
        assert studio.prepare() == 0.0
        assert studio.ear.stages == []

    def test_what_cannot_be_written_is_not_prepared(self, studio):
        studio.media.parent.chmod(0o500)
        try:
            if os.access(studio.media.parent, os.W_OK):
                pytest.skip("this user may write everywhere")
            with pytest.raises(StorageFailed):
                studio.prepare()
        finally:
            studio.media.parent.chmod(0o700)


class TestTheSameSoundUnderAnotherName:
    def test_is_not_heard_again(self, studio):
        first = studio.run()
        other = studio.named("copy.wav")
        outcome = other.run()
        assert cues(outcome.outputs[0]) == cues(first.outputs[0])
        assert outcome.outputs[0].name == "copy.en.srt"
        assert other.engine.asked == other.engine.asked_for_language == []
        assert any("talk.wav: its text is taken" in note for note in other.ear.notes)

    def test_is_heard_when_other_words_are_wanted(self, studio):
        studio.run()
        other = studio.named("copy.wav")
        outcome = other.run(SpeechOptions(initial_prompt="Anna"))
        assert cues(outcome.outputs[0]) == ["Other."] * 4

    def test_is_heard_when_it_is_to_be_made_anew(self, studio):
        studio.run()
        outcome = studio.named("copy.wav").run(output=OutputOptions(overwrite=True))
        assert cues(outcome.outputs[0]) == ["Other."] * 4

    def test_is_heard_from_where_the_others_log_is_torn(self, studio):
        studio.run()
        (log,) = studio.store.home.rglob("heard.jsonl")
        log.write_bytes(log.read_bytes()[:-5])
        outcome = studio.named("copy.wav").run()
        assert cues(outcome.outputs[0]) == ["One.", "Two.", "Three.", "Other."]

    def test_is_heard_from_where_the_others_log_is_damaged(self, studio):
        studio.run()
        (log,) = studio.store.home.rglob("heard.jsonl")
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:2]) + b"\xff\xfe\n" + lines[3])
        outcome = studio.named("copy.wav").run()
        assert cues(outcome.outputs[0]) == ["One.", "Two.", "Other.", "Other."]

    def test_is_heard_when_the_other_folder_is_gone(self, studio):
        studio.run()
        studio.store.clean(everything=True)
        assert list(studio.store.home.glob("twins/*")) == []
        outcome = studio.named("copy.wav").run()
        assert cues(outcome.outputs[0]) == ["Other."] * 4

    def test_keeps_the_record_of_who_heard_it(self, studio):
        studio.run()
        outcome = studio.named("copy.wav").run(output=OutputOptions(formats=("json",)))
        transcript = codec.loads(outcome.outputs[0].read_bytes(), Transcript)
        assert transcript.provenance.engines == (DESCRIPTION,)
