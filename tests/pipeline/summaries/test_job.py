"""A job's summary: store and files are real, a scripted engine answers."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace

import pytest

from models.demo import clips
from models.engines.scripted import ScriptedDetector, ScriptedEngine, ScriptedEngines, spoken
from pipeline import codec
from pipeline.errors import BadOption, NoSuchFile, StorageFailed, TextEngineFailed
from pipeline.ffmpeg import Tools
from pipeline.run import run
from pipeline.source import take
from pipeline.store import Store
from pipeline.summaries.job import STAYS, summarise_job
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.records import Summary
from pipeline.types import Job, OutputOptions, Span, SpeechOptions
from tests.pipeline.summaries import scripted_engine
from tests.pipeline.summaries.talks import talk

NAMED = SummaryOptions(llm="scripted")
SPANS = (Span(0.5, 4.0),)
MADE = ["talk.chapters.json", "talk.summary.json", "talk.summary.md"]


class Machine(ScriptedEngines):
    """Hears what it is told to have been said, and lends a scripted language model."""

    def __init__(self, said="We met in the harbour to load the ship.", spans=SPANS):
        super().__init__(ScriptedEngine(lambda w: spoken(w, said)), ScriptedDetector(spans))
        self.llm = scripted_engine.ScriptedEngine()
        self.asked_for = []

    @contextmanager
    def text(self, llm):
        self.asked_for.append(llm)
        if isinstance(self.llm, Exception):
            raise self.llm
        yield None if llm == "none" else self.llm


class Told:
    """A listener that remembers."""

    def __init__(self):
        self.stages, self.done_s, self.notes = [], [], []

    def stage(self, stage, total_s):
        self.stages.append((stage, total_s))

    def progress(self, done_s):
        self.done_s.append(done_s)

    def note(self, text):
        self.notes.append(text)


class Desk:
    """One person's machine."""

    def __init__(self, folder):
        self.folder = folder / "media"
        self.folder.mkdir()
        self.store = Store(folder / "home")
        self.machine = Machine()
        self.told = Told()

    def media(self, name="talk.wav", clip=0):
        path = self.folder / name
        path.write_bytes(clips()[clip].path.read_bytes())
        return path

    def job(self, path, summary=NAMED, **output):
        return Job(take(path), SpeechOptions(language="en"), OutputOptions(**output), summary)

    def heard(self, path, summary=NAMED, **output):
        """The job, after its subtitles are out."""
        job = self.job(path, summary, **output)
        return job, run(job, self.store, self.machine, Tools(), Told()).outputs

    def subtitled(self, path, summary=NAMED, **output):
        """The same as a person sees it: nothing was heard here, but subtitles are there."""
        job = self.job(path, summary, **output)
        srt = (job.output.output_dir or path.parent) / f"{path.stem}.en.srt"
        srt.parent.mkdir(exist_ok=True)
        srt.write_text("1\n00:00:00,500 --> 00:00:04,000\nWe met in the harbour.\n")
        return job, (srt,)

    def sum_up(self, job, outputs=()):
        return summarise_job(job, outputs, self.store, self.machine, self.told)

    def names(self):
        return sorted(path.name for path in self.folder.iterdir() if "srt" not in path.suffix)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture
def talked(desk):
    """A file whose subtitles are out: job and outputs."""
    return desk.subtitled(desk.media())


@pytest.fixture
def heard(desk):
    """The same, and the job's folder holds what was heard."""
    return desk.heard(desk.media())


def summary_in(files):
    (path,) = (file for file in files if file.name.endswith(".summary.json"))
    return codec.loads(path.read_bytes(), Summary)


# ── what is summed up ────────────────────────────────────────────────────────────────────────


def test_what_was_heard_is_summed_up_beside_the_media(desk, heard):
    files = desk.sum_up(*heard)
    assert sorted(file.name for file in files) == MADE
    assert desk.names() == sorted([*MADE, "talk.wav"])
    assert "[00:00](talk.wav#t=0)" in (desk.folder / "talk.summary.md").read_text()
    summary = summary_in(files)
    assert summary.coverage.covered_s == summary.coverage.speech_s > 0
    assert desk.machine.asked_for == ["scripted"]


def test_without_a_wish_there_is_none(desk, talked):
    job, outputs = talked
    assert desk.sum_up(replace(job, summary=None), outputs) == ()
    assert desk.machine.asked_for == []


def test_progress_is_told_in_seconds_of_the_media(desk, talked):
    desk.sum_up(*talked)
    ((stage, total_s),) = desk.told.stages
    assert stage == "summarise"
    assert (desk.told.done_s[0], desk.told.done_s[-1]) == (0.0, total_s)


def test_subtitles_will_do_where_the_folder_was_cleaned(desk, heard):
    desk.store.clean(everything=True)
    assert summary_in(desk.sum_up(*heard)).points[0].start_s == pytest.approx(0.5, abs=0.6)


def test_the_best_of_the_published_files_is_read(desk):
    job, outputs = desk.heard(desk.media(), formats=("txt", "srt", "json"))
    desk.store.clean(everything=True)
    (srt,) = (path for path in outputs if path.suffix == ".srt")
    srt.write_text("not what is read")
    assert summary_in(desk.sum_up(job, outputs)).points


def test_text_without_times_is_no_transcript_unless_the_folder_has_one(desk):
    job, outputs = desk.heard(desk.media(), formats=("txt",))
    assert desk.sum_up(job, outputs)
    for file in desk.folder.glob("talk.*.json"):
        file.unlink()
    desk.store.clean(everything=True)
    with pytest.raises(NoSuchFile, match=r"talk\.wav has no transcript to summarise"):
        desk.sum_up(job, outputs)


def test_where_nobody_speaks_no_model_is_asked(desk):
    desk.machine = Machine(spans=())
    desk.machine.llm = TextEngineFailed("It is down.")
    files = desk.sum_up(*desk.heard(desk.media()))
    assert sorted(file.name for file in files) == MADE
    assert "no speech was found" in summary_in(files).provenance.fallbacks
    assert desk.machine.asked_for == []


# ── what is there already ────────────────────────────────────────────────────────────────────


def test_a_known_summary_is_not_made_again(desk, talked):
    first = desk.sum_up(*talked)
    assert desk.sum_up(*talked) == first
    assert len(desk.machine.asked_for) == 1


def test_overwrite_makes_it_again_once(desk, talked):
    job, outputs = talked
    desk.sum_up(job, outputs)
    desk.sum_up(replace(job, output=OutputOptions(overwrite=True)), outputs)
    assert len(desk.machine.asked_for) == 2
    desk.sum_up(job, outputs)  # the same wish as ever
    assert len(desk.machine.asked_for) == 2


def test_other_subtitle_formats_are_no_other_summary(desk, talked):
    job, outputs = talked
    desk.sum_up(job, outputs)
    desk.sum_up(replace(job, output=OutputOptions(formats=("srt", "vtt"))), outputs)
    assert len(desk.machine.asked_for) == 1


def test_another_wish_is_made_again_and_replaces_ours(desk, talked):
    job, outputs = talked
    desk.sum_up(job, outputs)
    meeting = replace(job, summary=replace(NAMED, style="meeting"))
    assert summary_in(desk.sum_up(meeting, outputs)).provenance.style == "meeting"


def test_prompts_of_ones_own_that_were_changed_are_another_wish(desk, talked, tmp_path):
    job, outputs = talked
    prompts = tmp_path / "mine.toml"
    prompts.write_text('part = "Note all."\nmerge = "Join all."\n')
    mine = replace(job, summary=replace(NAMED, style=str(prompts)))
    desk.sum_up(mine, outputs)
    prompts.write_text('part = "Note it well."\nmerge = "Join all."\n')
    desk.sum_up(mine, outputs)
    assert len(desk.machine.asked_for) == 2


def test_a_file_that_was_deleted_is_made_again(desk, talked):
    desk.sum_up(*talked)
    (desk.folder / "talk.chapters.json").unlink()
    desk.sum_up(*talked)
    assert (desk.folder / "talk.chapters.json").exists()


def test_after_a_clean_a_summary_of_this_very_version_stays(desk, talked):
    job, outputs = talked
    desk.sum_up(job, outputs)
    desk.store.clean(everything=True)
    assert sorted(path.name for path in desk.sum_up(job, outputs)) == MADE
    assert len(desk.machine.asked_for) == 1
    media = desk.media(clip=1)  # now it is another one
    os.utime(media, ns=(1, 1))
    desk.sum_up(*desk.subtitled(media))
    assert len(desk.machine.asked_for) == 2


def test_what_was_made_for_lack_of_a_model_is_made_again_with_one(desk, talked):
    job, outputs = talked
    whichever = replace(job, summary=SummaryOptions())
    llm, desk.machine.llm = desk.machine.llm, None
    assert summary_in(desk.sum_up(whichever, outputs)).provenance.engine is None
    desk.machine.llm = llm
    assert summary_in(desk.sum_up(whichever, outputs)).provenance.engine
    desk.sum_up(whichever, outputs)
    assert len(desk.machine.asked_for) == 2


def test_an_extractive_summary_that_was_wanted_is_known(desk, talked):
    job, outputs = talked
    none = replace(job, summary=SummaryOptions(llm="none"))
    assert summary_in(desk.sum_up(none, outputs)).provenance.engine is None
    desk.sum_up(none, outputs)
    assert desk.machine.asked_for == ["none"]


def test_other_words_are_another_summary_and_the_same_words_are_none(desk, heard):
    """German first, then English: the summary must not stay German."""
    job, outputs = heard
    desk.sum_up(job, outputs)
    desk.machine = Machine("Nous chargeons le bateau.")
    other = replace(job, speech=replace(job.speech, task="translate"), output=OutputOptions(
        name="{stem}.two.{format}"))  # fmt: skip
    subtitles = run(other, desk.store, desk.machine, Tools(), Told()).outputs
    files = desk.sum_up(other, subtitles)
    assert "Nous chargeons" in (desk.folder / "talk.summary.md").read_text()
    assert sorted(file.name for file in files) == MADE
    desk.sum_up(other, subtitles)
    assert len(desk.machine.asked_for) == 1
    desk.sum_up(job, outputs)  # its own words again, though its folder knows that it has been done
    assert "harbour" in (desk.folder / "talk.summary.md").read_text()


def test_another_model_that_heard_nothing_new_costs_no_summary(desk, heard):
    job, outputs = heard
    desk.sum_up(job, outputs)
    desk.sum_up(replace(job, speech=replace(job.speech, model="base")), outputs)
    desk.store.clean(everything=True)
    desk.sum_up(job, outputs)
    assert len(desk.machine.asked_for) == 1


@pytest.mark.parametrize("wish", [{"style": "meeting"}, {"llm": "other"}, {"language": "de"}])
def test_after_a_clean_another_wish_is_still_another_wish(desk, talked, wish):
    job, outputs = talked
    desk.sum_up(job, outputs)
    desk.store.clean(everything=True)
    desk.sum_up(replace(job, summary=replace(NAMED, **wish)), outputs)
    assert len(desk.machine.asked_for) == 2


def test_a_summary_of_other_words_that_somebody_edited_stays_and_is_told(desk, talked):
    job, outputs = talked
    files = desk.sum_up(job, outputs)
    for path in files:
        path.write_text("edited")
    outputs[0].write_text("1\n00:00:00,500 --> 00:00:04,000\nQuite other words.\n")
    desk.sum_up(job, outputs)
    assert {path.read_text() for path in files} == {"edited"}
    assert desk.told.notes == [f"{path} {STAYS}" for path in files]


def test_without_any_transcript_a_summary_that_is_there_will_do(desk, talked):
    job, outputs = talked
    files = desk.sum_up(job, outputs)
    outputs[0].unlink()
    assert desk.sum_up(job, ()) == files
    files[0].unlink()
    with pytest.raises(NoSuchFile):
        desk.sum_up(job, ())


def test_who_notes_a_summary_without_its_wish_leaves_that_known(desk, talked):
    """A watched folder notes all outputs once more."""
    job, outputs = talked
    files = desk.sum_up(job, outputs)
    desk.store.outputs.note(files, job.source, job.speech.task)
    desk.sum_up(job, outputs)
    assert len(desk.machine.asked_for) == 1


def test_a_strangers_file_stays_and_the_others_are_written(desk, talked):
    theirs = desk.folder / "talk.summary.md"
    theirs.write_text("mine, by hand")
    desk.sum_up(*talked)
    assert theirs.read_text() == "mine, by hand"
    assert desk.names() == sorted([*MADE, "talk.wav"])
    assert any("talk.summary.md exists and stays as it is" in note for note in desk.told.notes)


def test_where_every_file_is_a_strangers_no_model_is_asked(desk, talked):
    for name in MADE:
        (desk.folder / name).write_text("mine")
    desk.sum_up(*talked)
    assert desk.machine.asked_for == []
    assert len(desk.told.notes) == len(MADE)
    assert {(desk.folder / name).read_text() for name in MADE} == {"mine"}


def test_a_summary_that_somebody_edited_stays(desk, talked):
    job, outputs = talked
    desk.sum_up(job, outputs)
    ours = desk.folder / "talk.summary.md"
    ours.write_text("edited")
    desk.sum_up(replace(job, summary=replace(NAMED, style="lecture")), outputs)
    assert ours.read_text() == "edited"
    assert summary_in(desk.folder.iterdir()).provenance.style == "lecture"


def test_two_media_of_one_stem_get_two_summaries(desk, talked):
    desk.sum_up(*talked)
    other = desk.sum_up(*desk.subtitled(desk.media("talk.mkv", clip=1)))
    assert (desk.folder / "talk.mkv.summary.md") in other
    assert summary_in(other).source == "talk.mkv"


def test_from_an_output_folder_links_lead_back_to_the_media(desk):
    out = desk.folder.parent / "out"
    files = desk.sum_up(*desk.subtitled(desk.media("a talk.wav"), output_dir=out))
    assert {file.parent for file in files} == {out}
    assert "(../media/a%20talk.wav#t=0)" in (out / "a talk.summary.md").read_text()


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("where", ["loading", "answering"])
def test_what_fails_leaves_the_subtitles_and_no_file(desk, talked, where):
    job, outputs = talked
    before = outputs[0].read_bytes()
    failure = TextEngineFailed("It is down.")
    desk.machine.llm = failure if where == "loading" else desk.machine.llm
    if where == "answering":
        desk.machine.llm.script = lambda *_: failure
    with pytest.raises(TextEngineFailed, match="It is down"):
        desk.sum_up(job, outputs)
    assert outputs[0].read_bytes() == before
    assert desk.names() == ["talk.wav"]


def test_a_style_that_is_none_is_told_before_anything_is_loaded(desk, talked):
    job, outputs = talked
    with pytest.raises(BadOption, match="haiku"):
        desk.sum_up(replace(job, summary=replace(NAMED, style="haiku")), outputs)
    assert desk.machine.asked_for == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_loaded(desk, talked):
    job, outputs = talked
    blocked = desk.folder / "file"
    blocked.touch()
    with pytest.raises(StorageFailed):
        desk.sum_up(replace(job, output=OutputOptions(output_dir=blocked / "x")), outputs)
    assert desk.machine.asked_for == []


def test_a_run_after_a_crash_asks_only_for_the_rest(desk):
    """An hour is several questions of a small model."""
    said = talk(60)
    job = desk.job(desk.media())
    srt = desk.folder / "talk.en.srt"
    srt.write_text(srt_of(said))

    class Pulled(scripted_engine.ScriptedEngine):
        """The plug is pulled at the fifth question."""

        def answer(self, request, heed):
            if len(self.asked) == 4:
                raise KeyboardInterrupt
            return super().answer(request, heed)

    desk.machine.llm = Pulled(4096)
    with pytest.raises(KeyboardInterrupt):
        desk.sum_up(job, (srt,))
    kept = list(desk.store.home.glob("jobs/*/notes-*.json"))
    assert len(kept) == 4
    assert desk.names() == ["talk.wav"]

    desk.machine.llm = scripted_engine.ScriptedEngine(4096)
    desk.sum_up(job, (srt,))
    rest = len(desk.machine.llm.asked)
    undisturbed = scripted_engine.ScriptedEngine(4096)
    desk.machine.llm = undisturbed
    desk.sum_up(replace(job, output=OutputOptions(overwrite=True)), (srt,))
    assert rest == len(undisturbed.asked) - 4 > 0
    assert not list(desk.store.home.glob("jobs/*/notes-*.json"))


def srt_of(said):
    def clock(time_s):
        minutes, rest_ms = divmod(round(time_s * 1000), 60_000)
        return f"{minutes // 60:02}:{minutes % 60:02}:{rest_ms // 1000:02},{rest_ms % 1000:03}"

    cues = (
        f"{number}\n{clock(line.start_s)} --> {clock(line.end_s)}\n{line.text}\n"
        for number, line in enumerate(said.lines, 1)
    )
    return "\n".join(cues)
