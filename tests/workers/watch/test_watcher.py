"""The loop: real files, a clock that is set by hand. Numbers are those of reliability cases."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from pipeline.types import Outcome, OutputOptions, SpeechOptions
from tests.workers.watch.watching import Yard, names, touch_back, tree
from workers.watch.after import After
from workers.watch.deciding import Policy
from workers.watch.ending import EndingOptions
from workers.watch.ignoring import IgnoreOptions
from workers.watch.rhythm import WatchOptions
from workers.watch.settling import SettleOptions

HOUR_S = 3600.0


@pytest.fixture
def yard(tmp_path):
    return Yard(tmp_path)


class TestComplete:
    """When a file is taken."""

    def test_a_file_is_taken_once_when_it_has_been_quiet(self, yard):
        assert yard.now() == []
        yard.drop("talk.mp3")
        assert yard.after(10 + 4.5) == []
        assert names(yard.after(2)) == ["talk.mp3"]
        assert yard.after(60) == []

    def test_the_same_holds_for_files_that_are_there_at_the_start(self, yard):
        yard.drop("talk.mp3")
        assert yard.after(4.5) == []
        assert names(yard.after(2)) == ["talk.mp3"]

    def test_a_copy_that_pauses_for_longer_than_the_quiet_time_is_taken_again_when_it_goes_on(
        self, yard
    ):
        path = yard.drop("talk.mp3", "half")
        (half,) = yard.after(7)
        path.write_text("half and half")
        assert yard.after(30) == []  # its older version is still in work
        yard.fail(half, "SourceChanged", 2)
        (whole,) = yard.after(20)
        assert whole.job.source.size_bytes == len("half and half")

    def test_a_slow_copy_is_taken_when_it_is_over(self, yard):
        path = yard.drop("talk.mp3", "")
        for _ in range(20):
            with path.open("a") as file:
                file.write("more")
            assert yard.after(4) == []
        assert names(yard.after(8)) == ["talk.mp3"]

    def test_a_copy_that_was_given_up_is_taken_as_it_is(self, yard):
        yard.drop("talk.mp3", "half")
        assert names(yard.after(7)) == ["talk.mp3"]  # whether it is media, ffmpeg says

    def test_a_rename_into_place_is_found(self, yard):
        part = yard.drop("talk.mp3.part")
        assert yard.after(30) == []
        part.rename(part.with_name("talk.mp3"))
        assert names(yard.after(20)) == ["talk.mp3"]

    def test_a_file_that_stays_empty_is_told_once_and_taken_when_it_grows(self, yard):
        path = yard.drop("talk.mp3", "")
        assert yard.after(HOUR_S, 5) == []
        assert len([text for text in yard.warnings if "empty" in text]) == 1
        path.write_text("sound")
        assert names(yard.after(30)) == ["talk.mp3"]

    def test_a_file_that_goes_away_while_it_settles_is_forgotten(self, yard):
        path = yard.drop("talk.mp3")
        yard.after(3)
        path.unlink()
        assert yard.after(30) == []
        assert yard.watcher.picture().waiting == ()

    def test_a_file_that_changes_between_decision_and_work_is_not_handed_out(self, yard):
        yard.drop("a.mp3")
        changed = yard.drop("b.mp3")
        yard.now()
        for _ in range(12):  # until both are ready
            yard.clock.now_s += 0.5
            task = next(yard.tasks)
            if task:
                break
        assert task.look.path.name == "a.mp3"
        changed.write_text("other sound")
        assert yard.now() == []
        assert names(yard.after(20)) == ["b.mp3"]

    def test_files_from_the_past_and_the_future_are_taken(self, yard):
        touch_back(yard.drop("old.mp3"), 50 * 365 * 86_400)
        touch_back(yard.drop("new.mp3"), -365 * 86_400)
        assert names(yard.after(7)) == ["new.mp3", "old.mp3"]

    def test_the_reason_to_wait_is_shown(self, yard):
        yard.drop("talk.mp3")
        yard.after(2)
        (waiting,) = yard.watcher.picture().waiting
        assert waiting.reason == "new: 5 bytes, quiet for 1 of 5 s"
        assert next(iter(yard.screen.lines())).startswith("watching 1 folder: 1 wait, 0 in work")


class TestLooks:
    """When folders are gone through."""

    def test_without_events_a_file_is_found_by_the_next_look(self, yard):
        yard.now()
        yard.drop("talk.mp3")
        assert names(yard.after(10 + 5 + 1.5)) == ["talk.mp3"]

    def test_an_event_makes_the_look_come_sooner(self, yard):
        yard.after(3)
        yard.drop("talk.mp3")
        yard.events.happened = True
        assert names(yard.after(5 + 1.5)) == ["talk.mp3"]

    def test_events_are_listened_to_in_all_folders(self, yard):
        yard.drop("talk.mp3", folder=yard.folder / "a/b")
        yard.now()
        assert set(yard.events.folders) == {yard.folder, yard.folder / "a", yard.folder / "a/b"}

    def test_a_missing_folder_is_told_once_and_watched_when_it_comes(self, yard):
        shutil.rmtree(yard.folder)
        assert yard.after(60) == []
        (warning,) = yard.warnings
        assert "cannot be watched" in warning
        yard.drop("talk.mp3")
        assert names(yard.after(30)) == ["talk.mp3"]

    def test_a_folder_that_is_unmounted_and_comes_back_loses_and_repeats_nothing(self, yard):
        for name in ("done.mp3", "new.mp3", "work.mp3"):
            yard.drop(name)
        done, new, work = yard.after(7)
        yard.work(done)
        yard.after(20)
        away = yard.folder.with_name("away")
        yard.folder.rename(away)
        yard.folder.mkdir()  # the empty folder that was mounted over
        assert yard.after(30) == []
        yard.fail(work, "SourceChanged", 2)
        yard.fail(new, "NoSuchFile", 2)
        assert yard.after(90) == []
        yard.folder.rmdir()
        away.rename(yard.folder)
        assert names(yard.after(30)) == ["new.mp3", "work.mp3"]

    def test_more_files_than_may_wait_at_once_get_their_turn(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(most=10))
        for number in range(95):
            yard.drop(f"{number:02}.mp3")
        assert len({task.look.path for task in yard.after(120)}) == 95

    def test_a_folder_in_two_watched_ones_is_watched_once(self, tmp_path):
        yard = Yard(tmp_path, tmp_path / "in", tmp_path / "in/inner", tmp_path / "in")
        yard.drop("a.mp3")
        yard.drop("inner/b.mp3")
        yard.drop("inner/deep/c.mp3")
        found = yard.after(20)
        assert sorted(names(found)) == ["a.mp3", "b.mp3", "c.mp3"]
        assert {task.look.root.name for task in found} == {"in", "inner"}


class TestDone:
    """What was done is known from the disk."""

    def test_what_is_done_is_not_done_again_by_a_watcher_that_knows_nothing(self, yard):
        yard.drop("talk.mp3")
        yard.work(*yard.after(7))
        assert yard.after(60) == []
        yard.start()
        assert yard.after(60) == []

    def test_a_second_watcher_with_a_home_of_its_own_leaves_it_alone(self, yard, tmp_path):
        yard.drop("talk.mp3")
        yard.work(*yard.after(7))
        other = Yard(tmp_path, home="other")
        assert other.after(60) == []
        assert "talk.en.srt is there" in other.left[0]

    def test_an_output_that_was_deleted_by_hand_is_made_again(self, yard):
        yard.drop("talk.mp3")
        yard.work(*yard.after(7)).unlink()
        assert names(yard.after(20)) == ["talk.mp3"]

    def test_an_output_elsewhere_that_was_deleted_is_made_again_within_the_hour(self, tmp_path):
        policy = Policy(SpeechOptions(language="en"), OutputOptions(output_dir=tmp_path / "out"))
        yard = Yard(tmp_path, policy=policy)
        yard.drop("talk.mp3")
        (task,) = yard.after(7)
        srt = tmp_path / "out/talk.en.srt"
        srt.parent.mkdir()
        srt.write_text("text")
        yard.watcher.ended(task, Outcome(task.look.path, "done", (srt,)))
        assert yard.after(60) == []
        srt.unlink()
        assert names(yard.after(HOUR_S + 30, 5)) == ["talk.mp3"]

    def test_a_file_that_is_replaced_by_other_content_is_done_again(self, yard):
        path = yard.drop("talk.mp3")
        yard.work(*yard.after(7))
        yard.after(30)
        path.write_text("another talk")
        (again,) = yard.after(30)
        assert again.job.source.size_bytes == len("another talk")

    def test_what_changes_while_it_is_in_work_is_taken_again_afterwards(self, yard):
        path = yard.drop("talk.mp3")
        (first,) = yard.after(7)
        path.write_text("another talk")
        assert yard.after(60) == []
        yard.fail(first, "SourceChanged", 2)
        assert names(yard.after(30)) == ["talk.mp3"]

    def test_what_was_done_before_records_were_cleaned_away_is_not_done_again(self, yard):
        yard.drop("talk.mp3")
        yard.work(*yard.after(7))
        yard.store.clean(everything=True)
        yard.start()
        assert yard.after(60) == []

    def test_what_is_skipped_by_its_worker_is_not_asked_for_again(self, yard):
        yard.drop("talk.mp3")
        (task,) = yard.after(7)
        yard.watcher.ended(task, Outcome(task.look.path, "skipped", reason="somebody's"))
        assert yard.after(60) == []

    def test_a_renamed_file_is_another_file(self, yard):
        path = yard.drop("talk.mp3")
        (first,) = yard.after(7)
        path.rename(path.with_name("speech.mp3"))
        yard.fail(first, "SourceChanged", 2)
        assert names(yard.after(30)) == ["speech.mp3"]

    def test_a_hard_link_is_worked_on_under_its_own_name(self, yard):
        path = yard.drop("talk.mp3")
        yard.work(*yard.after(7))
        os.link(path, path.with_name("link.mp3"))
        assert names(yard.after(30)) == ["link.mp3"]


class TestFailures:
    """When what failed is tried again."""

    def test_a_bad_file_is_tried_once_until_it_changes(self, yard):
        path = yard.drop("talk.mp3")
        (task,) = yard.after(7)
        yard.fail(task, "NotMedia", 2)
        assert yard.after(2 * HOUR_S, 10) == []
        yard.start()
        yard.watcher._trying._began_at_s += 60  # it failed before this one began
        assert yard.after(60) == []
        path.write_text("whole now")
        assert names(yard.after(30)) == ["talk.mp3"]

    def test_a_bad_file_is_tried_again_at_the_start_if_asked(self, yard):
        yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "NotMedia", 2)
        yard.options = replace(yard.options, retry_failed=True)
        yard.start()
        yard.watcher._trying._began_at_s += 60
        (task,) = yard.after(60)
        yard.fail(task, "NotMedia", 2)
        assert yard.after(2 * HOUR_S, 10) == []

    def test_a_full_disk_is_tried_again_ever_more_rarely(self, yard):
        yard.drop("talk.mp3")
        tries = yard.after(7)
        began_s, times_s = yard.clock.now_s, []
        for _ in range(9):
            yard.fail(tries.pop(), "StorageFailed")
            while not tries:
                tries = yard.after(1, 1)
            times_s.append(yard.clock.now_s - began_s)
            began_s = yard.clock.now_s
        assert times_s == sorted(times_s)
        assert 60 <= times_s[0] <= 80
        assert 3600 <= times_s[-1] <= 3620
        assert len(yard.told()) == 1

    def test_what_failed_by_the_machines_fault_is_tried_at_once_by_the_next_watcher(self, yard):
        yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "OutOfMemory")
        yard.start()
        yard.watcher._trying._began_at_s += 60
        assert names(yard.after(7)) == ["talk.mp3"]

    def test_a_file_that_breaks_ffmpeg_is_tried_three_times(self, yard):
        yard.drop("talk.mp3")
        for _ in range(3):
            (task,) = yard.after(HOUR_S, 5)
            yard.fail(task, "ToolFailed")
        assert yard.after(5 * HOUR_S, 20) == []

    def test_what_is_in_work_elsewhere_is_looked_at_again(self, yard):
        yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "Busy", 4)
        assert names(yard.after(60)) == ["talk.mp3"]
        assert list(yard.store.failures()) == []

    def test_failures_are_listed_with_their_reasons(self, yard):
        path = yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "NotMedia", 2)
        ((job, failure),) = yard.store.failures()
        assert (job.source.path, failure.reason) == (path, "NotMedia!")
        path.write_text("replaced")
        assert list(yard.store.failures()) == []

    def test_an_error_file_says_why_and_goes_when_it_is_done(self, tmp_path):
        yard = Yard(tmp_path, ending=EndingOptions(error_files=True))
        path = yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "NotMedia", 2)
        error = path.with_name("talk.mp3.error.txt")
        assert error.read_text() == "NotMedia!\n"
        path.write_text("whole now")
        yard.work(*yard.after(30))
        assert not error.exists()


class TestAfter:
    """What becomes of a source."""

    @pytest.fixture
    def yard(self, tmp_path):
        return Yard(
            tmp_path,
            ending=EndingOptions(After(tmp_path / "archive")),
            ignoring=IgnoreOptions(excluded=(tmp_path / "archive",)),
        )

    def test_a_source_is_moved_with_its_subtitles_and_told_under_its_new_name(self, yard, tmp_path):
        yard.drop("a/talk.mp3")
        yard.work(*yard.after(7))
        assert tree(tmp_path / "archive") == ["a/talk.en.srt", "a/talk.mp3"]
        assert tree(yard.folder) == []
        (told,) = yard.told()
        assert told.source == tmp_path / "archive/a/talk.mp3"
        assert told.outputs == (tmp_path / "archive/a/talk.en.srt",)

    def test_a_crash_before_it_was_moved_is_made_good(self, yard, tmp_path):
        yard.drop("talk.mp3")
        (task,) = yard.after(7)
        srt = task.look.path.with_name("talk.en.srt")
        srt.write_text("text")
        yard.store.outputs.note((srt,), task.job.source, "transcribe")
        yard.start()
        assert yard.after(7) == []
        assert tree(tmp_path / "archive") == ["talk.en.srt", "talk.mp3"]

    def test_a_source_that_failed_or_was_left_alone_stays(self, yard, tmp_path):
        yard.drop("bad.mp3")
        yard.drop("known.mp3")
        yard.drop("known.en.srt")
        yard.fail(*yard.after(7), "NotMedia", 2)
        assert tree(yard.folder) == ["bad.mp3", "known.en.srt", "known.mp3"]


class TestOnce:
    """`--once`."""

    @pytest.fixture
    def yard(self, tmp_path):
        return Yard(tmp_path, options=WatchOptions(once=True))

    def is_over(self, yard):
        return next(yard.tasks, "over") == "over"

    def test_an_empty_folder_is_over_at_once(self, yard):
        assert yard.after(1) == []
        assert self.is_over(yard)

    def test_it_ends_when_all_that_is_there_is_done(self, yard):
        for name in ("a.mp3", "b.mp3"):
            yard.drop(name)
        first, second = yard.after(7)
        yard.work(first)
        yard.after(60)
        assert not self.is_over(yard)
        yard.work(second)
        yard.after(1)
        assert self.is_over(yard)

    def test_what_is_still_growing_is_left_for_the_next_time(self, yard):
        path = yard.drop("talk.mp3")
        for _ in range(10):
            with path.open("a") as file:
                file.write("more")
            assert yard.after(2) == []
        assert self.is_over(yard)
        (left,) = yard.watcher.picture().waiting
        assert "still growing" in left.reason

    def test_what_failed_is_not_waited_for(self, yard):
        yard.drop("talk.mp3")
        yard.fail(*yard.after(7), "StorageFailed")
        yard.after(1)
        assert self.is_over(yard)


class TestSettings:
    """transcribe.toml."""

    def test_a_folders_settings_hold_for_its_files(self, yard):
        yard.drop("de/transcribe.toml", 'language = "de"\npriority = "high"\n')
        yard.drop("de/talk.mp3")
        (task,) = yard.after(7)
        assert (task.job.speech.language, task.priority) == ("de", "high")

    def test_a_bad_one_is_told_once_with_its_line_and_stops_nothing(self, yard):
        yard.drop("transcribe.toml", 'task = "translate"\nlanguage = "xx"\n')
        yard.drop("talk.mp3")
        (task,) = yard.after(60)
        assert task.job.speech.task == "translate"
        (warning,) = yard.warnings
        assert "transcribe.toml, line 2: language" in warning

    def test_a_folder_that_is_switched_off_is_left_alone_until_it_is_on_again(self, yard):
        settings = yard.drop("transcribe.toml", "enabled = false\n")
        yard.drop("talk.mp3")
        assert yard.after(30) == []
        settings.unlink()
        assert names(yard.after(20)) == ["talk.mp3"]

    def test_other_settings_are_another_job(self, yard):
        yard.drop("talk.mp3")
        yard.work(*yard.after(7))
        yard.after(30)
        yard.drop("transcribe.toml", 'formats = ["srt", "vtt"]\n')
        assert names(yard.after(30)) == ["talk.mp3"]

    def test_a_quiet_time_can_be_given(self, tmp_path):
        yard = Yard(tmp_path, options=WatchOptions(settle=SettleOptions(quiet_s=60)))
        yard.drop("talk.mp3")
        assert yard.after(59) == []
        assert names(yard.after(3)) == ["talk.mp3"]
