"""Nothing is lost, and nothing goes round in circles: real files, a clock that is set by hand."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from pipeline.folder import Done, Failure, output_id
from pipeline.source import take
from pipeline.summaries.options import SummaryOptions
from pipeline.types import Outcome, OutputOptions, SpeechOptions
from tests.workers.watch.watching import Yard, names, tree
from workers.watch.after import After
from workers.watch.deciding import Policy
from workers.watch.ending import EndingOptions
from workers.watch.ignoring import IgnoreOptions
from workers.watch.rhythm import WatchOptions
from workers.watch.settling import SettleOptions

HOUR_S = 3600.0
HALF_AN_HOUR_S = 1800.0


@pytest.fixture
def yard(tmp_path):
    return Yard(tmp_path)


def is_over(yard):
    return next(yard.tasks, "over") == "over"


def waiting(yard):
    yard.watcher.tick()
    return [one.path.name for one in yard.watcher.picture().waiting]


class TestNoCircles:
    """What is decided stays decided until something changes."""

    def test_what_somebody_else_did_meanwhile_is_not_tried_again(self, yard):
        path = yard.drop("talk.mp3")
        (task,) = yard.after(7)
        yard.fail(task, "StorageFailed")
        yard.drop("talk.en.srt")  # by somebody else
        assert yard.after(HALF_AN_HOUR_S) == []
        assert len(yard.left) == 1
        assert waiting(yard) == []
        assert path.exists()

    def test_what_another_watcher_of_this_home_did_meanwhile_is_seen_to_once(self, tmp_path):
        ending = EndingOptions(After(tmp_path / "in"))  # where it is already: told at each try
        yard = Yard(tmp_path, ending=ending)
        yard.drop("talk.mp3")
        (task,) = yard.after(7)
        yard.fail(task, "Busy", 4)
        srt = yard.drop("talk.en.srt")
        yard.store.outputs.note((srt,), task.job.source, "transcribe")
        assert yard.after(HALF_AN_HOUR_S) == []
        assert len(yard.remarks) == 1
        assert waiting(yard) == []

    def test_another_version_does_not_inherit_the_failure_of_the_first(self, yard):
        path = yard.drop("talk.mp3")
        (task,) = yard.after(7)
        yard.fail(task, "SourceChanged", 2)
        path.write_text("another version")
        yard.drop("talk.en.srt")
        assert yard.after(HALF_AN_HOUR_S) == []
        assert len(yard.left) == 1
        assert waiting(yard) == []

    def test_what_another_watcher_gave_up_is_given_up_whatever_became_of_the_version_before(
        self, yard
    ):
        path = yard.drop("talk.mp3")
        (task,) = yard.after(7)
        yard.fail(task, "StorageFailed")
        path.write_text("another version")
        failure = Failure("it is no media", "NotMedia", 2, time.time() + 1)
        yard.store.note_failure(replace(task.job, source=take(path)), failure)
        assert yard.after(HALF_AN_HOUR_S) == []
        assert len(yard.left) == 1

    @pytest.fixture
    def forgetful(self, tmp_path):
        """A yard whose home cannot be written."""
        (tmp_path / "home").write_text("a file")
        policy = Policy(SpeechOptions(language="en"), OutputOptions(formats=("txt",)))
        return Yard(tmp_path, policy=policy)

    def test_a_bad_file_is_tried_once_although_that_cannot_be_noted(self, forgetful):
        forgetful.drop("talk.mp3")
        forgetful.fail(*forgetful.after(7), "NotMedia", 2)
        assert forgetful.after(2 * HOUR_S, 10) == []

    @pytest.mark.parametrize("state", ["done", "skipped"])
    def test_a_file_is_done_once_although_that_cannot_be_noted(self, forgetful, state):
        path = forgetful.drop("talk.mp3")
        (task,) = forgetful.after(7)
        text = forgetful.drop("talk.en.txt")
        forgetful.watcher.ended(task, Outcome(path, state, (text,)))
        assert forgetful.after(HALF_AN_HOUR_S) == []
        path.write_text("another talk")
        assert names(forgetful.after(30)) == ["talk.mp3"]

    def test_an_output_that_is_deleted_is_made_again_although_nothing_was_noted(self, forgetful):
        path = forgetful.drop("talk.mp3")
        (task,) = forgetful.after(7)
        text = forgetful.drop("talk.en.txt")
        forgetful.watcher.ended(task, Outcome(path, "done", (text,)))
        forgetful.after(60)
        text.unlink()
        assert names(forgetful.after(HOUR_S + 30, 5)) == ["talk.mp3"]

    def test_what_failed_just_now_is_not_said_to_have_failed_before(self, yard):
        yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "NotMedia", 2)
        assert yard.after(60) == []
        assert yard.left == []

    def test_what_passes_by_itself_is_nobodys_news(self, tmp_path):
        yard = Yard(tmp_path, ending=EndingOptions(error_files=True))
        yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "Busy", 4)
        assert tree(yard.folder) == ["talk.mp3"]
        assert yard.told() == []

    def test_nothing_is_remembered_of_what_the_disk_knows_or_does_not_have_any_more(self, yard):
        for name in ("bad.mp3", "gone.mp3", "here.mp3"):
            yard.drop(name)
        bad, gone, here = yard.after(7)
        yard.fail(bad, "NotMedia", 2)
        for task in (gone, here):
            yard.work(task)
        bad.look.path.unlink()
        gone.look.path.unlink()
        remembered = yard.watcher._trying
        assert (len(remembered._good), len(remembered._given_up)) == (2, 1)
        yard.after(30)
        assert list(remembered._good) == [gone.look.path]
        yard.after(HOUR_S + 30, 5)
        assert (remembered._good, remembered._given_up) == ({}, {})


class TestSettings:
    """Other settings are another chance."""

    @pytest.mark.parametrize("end", ["failed", "skipped"])
    def test_a_file_that_came_to_nothing_is_tried_with_new_ones(self, yard, end):
        path = yard.drop("talk.mp3")
        (task,) = yard.after(7)
        if end == "failed":
            yard.fail(task, "BadOption", 2)
        else:
            yard.watcher.ended(task, Outcome(path, "skipped", reason="somebody's"))
        assert yard.after(60) == []
        yard.drop("transcribe.toml", 'formats = ["srt", "vtt"]\nlanguage = "de"\n')
        assert names(yard.after(30)) == ["talk.mp3"]

    def test_a_folder_that_is_switched_off_while_its_files_settle_is_left_alone(self, yard):
        yard.drop("talk.mp3")
        assert yard.after(2) == []
        yard.drop("transcribe.toml", "enabled = false\n")
        assert yard.after(60) == []

    def test_a_file_that_is_to_be_ignored_since_it_was_met_is_left_alone(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(every_s=2))
        yard.drop("talk.mp3")
        assert yard.after(1) == []
        yard.drop(".transcribeignore", "talk.*\n")
        assert yard.after(60) == []
        assert waiting(yard) == []

    def test_subtitles_count_beside_media_of_any_kind_that_is_asked_for(self, tmp_path):
        yard = Yard(tmp_path, ignoring=IgnoreOptions(frozenset((".sound",))))
        yard.drop("talk.sound")
        yard.drop("talk.en.srt")
        assert yard.after(60) == []
        assert "talk.en.srt is there" in yard.left[0]


class TestFaults:
    """Those of reliability that need no other process."""

    @pytest.mark.slow
    def test_ten_thousand_files_at_once_are_each_handed_out_once(self, yard):
        for number in range(10_000):
            (yard.folder / f"{number}.mp3").write_text("sound")
        found = yard.after(20)
        assert len(found) == len({task.look.path for task in found}) == 10_000
        assert yard.after(60, 10) == []

    def test_names_that_are_not_utf_8_are_files_like_others(self, yard):
        path = yard.drop(os.fsdecode(b"caf\xe9\n.mp3"))
        assert [task.look.path for task in yard.after(7)] == [path]

    def test_a_clock_that_jumps_repeats_nothing(self, yard):
        yard.drop("good.mp3")
        yard.drop("bad.mp3")
        for task in yard.after(7):
            if task.look.path.name == "good.mp3":
                yard.work(task)
            else:
                yard.fail(task, "NotMedia", 2)
        yard.watcher._trying._began_at_s += 365 * 86_400  # as if the clock was set back since
        assert yard.after(2 * HOUR_S, 10) == []


class TestTold:
    """What somebody has to see to is told, once."""

    def test_why_nothing_is_heard_of_changes(self, yard):
        yard.drop("talk.mp3")
        yard.events.why_not = "no inotify watches are left"
        yard.after(60)
        (warning,) = yard.warnings
        assert warning == "Some changes are only seen by looking: no inotify watches are left."

    def test_what_cannot_be_read_of_a_folder(self, yard):
        yard.drop("talk.mp3")
        (yard.folder / ".transcribeignore").mkdir()
        assert len(yard.after(60)) == 1
        (warning,) = yard.warnings
        assert warning.startswith(f"{yard.folder}/.transcribeignore: cannot be read")

    def test_a_file_that_cannot_even_be_tried_counts_as_failed(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(settle=SettleOptions(empty_s=0)))
        yard.drop("talk.mp3", "")
        yard.after(60)
        assert next(iter(yard.screen.lines())).endswith("1 failed")
        assert yard.screen.codes == {2}

    def test_a_folder_that_is_missing_is_an_error(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(once=True))
        yard.folder.rmdir()
        assert is_over(yard) or is_over(yard)
        assert yard.screen.codes == {2}

    def test_a_long_name_leaves_room_for_the_reason(self, yard):
        yard.drop(f"{'long ' * 40}name.mp3")
        yard.now()
        _, line = yard.screen.lines()
        assert line.endswith("name.mp3: new: 5 bytes, quiet for 0 of 5 s")
        assert len(line) < 80

    def test_a_source_that_cannot_be_moved_is_a_warning_even_when_all_is_quiet(self, tmp_path):
        (tmp_path / "archive").write_text("a file")
        yard = Yard(tmp_path, ending=EndingOptions(After(tmp_path / "archive")))
        path = yard.drop("talk.mp3")
        yard.work(*yard.after(7))
        assert "cannot be written" in yard.warnings[0]
        assert yard.remarks == []
        assert path.exists()

    def test_what_was_skipped_is_skipped_once_in_all(self, yard):
        path = yard.drop("talk.mp3")
        text = yard.drop("talk.en.txt")
        (task,) = yard.after(7)
        yard.watcher.ended(task, Outcome(path, "skipped", (text,), reason="somebody's"))
        assert yard.after(3 * HOUR_S, 10) == []

    def test_how_a_file_ended_is_told_with_its_place_afterwards(self, tmp_path):
        yard = Yard(tmp_path, ending=EndingOptions(After(tmp_path / "archive")))
        path = yard.drop("talk.mp3")
        (task,) = yard.after(7)
        srt = yard.drop("talk.en.srt")
        ended = yard.watcher.ended(task, Outcome(path, "done", (srt,)))
        assert ended.source == tmp_path / "archive/talk.mp3"
        assert ended.outputs == (tmp_path / "archive/talk.en.srt",)

    def test_a_source_whose_text_is_somebody_elses_stays(self, tmp_path):
        yard = Yard(tmp_path, ending=EndingOptions(After(None)))
        path = yard.drop("talk.mp3")
        srt = yard.drop("talk.de.srt")  # not in the way of ours
        (task,) = yard.after(7)
        with yard.store.open_folder(task.job) as folder:  # as a worker that found it there
            folder.finish(Done(output_id(task.job), (srt,)))
        yard.watcher.ended(task, Outcome(path, "skipped", (srt,), reason="it is there"))
        assert yard.after(3 * HOUR_S, 10) == []
        assert path.exists()

    def test_a_summary_that_failed_is_told_and_tried_again_though_others_did_the_work(
        self, tmp_path
    ):
        yard = Yard(tmp_path, ending=EndingOptions(error_files=True))
        yard.policy = replace(yard.policy, summary=SummaryOptions())
        yard.start()
        path = yard.drop("talk.mp3")
        (task,) = yard.after(7)
        srt = yard.drop("talk.en.srt")
        away = {"summary_failure": "It is away.", "error": "OutOfMemory", "exit_code": 3}
        yard.watcher.ended(task, Outcome(path, "done", (srt,), **away))
        assert (yard.folder / "talk.mp3.error.txt").read_text() == "It is away.\n"
        assert names(yard.after(120)) == ["talk.mp3"]


class TestFolders:
    """Which folders are watched."""

    def test_a_folder_is_watched_once_however_it_is_called(self, tmp_path):
        (tmp_path / "in").mkdir()
        (tmp_path / "link").symlink_to("in")
        folders = (tmp_path / "in", tmp_path / "in/../in", tmp_path / "link")
        yard = Yard(tmp_path, *folders)
        path = yard.drop("talk.mp3")
        assert [task.job.source.path for task in yard.after(20)] == [path]

    def test_a_way_up_is_taken_as_the_system_takes_it(self, tmp_path):
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "link").symlink_to("a/b")
        yard = Yard(tmp_path, tmp_path / "link/../c")
        path = yard.drop("talk.mp3", folder=tmp_path / "a/c")
        assert [task.job.source.path for task in yard.after(20)] == [path]


class TestOnce:
    """With `--once`, everything that is there has its turn."""

    def test_new_files_behind_more_old_ones_than_may_wait_are_done(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(most=10, once=True))
        for number in range(25):
            yard.drop(f"{number:02}.mp3")
        for task in yard.after(120):
            yard.work(task)
        yard.drop("zz.mp3")
        yard.start()
        assert names(yard.after(300)) == ["zz.mp3"]

    def test_a_file_that_changes_while_others_are_in_work_is_waited_for(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(once=True))
        yard.drop("a.mp3")
        changed = yard.drop("b.mp3")
        yard.now()
        while (first := next(yard.tasks)) is None:
            yard.clock.now_s += 0.5
        changed.write_text("other sound")
        yard.clock.now_s += 60
        assert yard.now() == []
        yard.work(first)
        assert names(yard.after(30)) == ["b.mp3"]

    def test_what_the_queue_forgot_is_handed_out_again(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(once=True))
        yard.drop("talk.mp3")
        (task,) = yard.after(60)
        yard.watcher.put_back(task)
        assert names(yard.after(30)) == ["talk.mp3"]
        yard.work(task)
        yard.after(1)
        assert is_over(yard)
