"""Watched folders when something goes wrong: the real program, a real model, real files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import time

import pytest
import srt

from models.demo import EPISODE
from tests.end_to_end.conftest import Program
from tests.faults.disks import mounted
from tests.faults.processes import PATIENCE_S, until
from tests.faults.sounds import FFMPEG, write_sound
from tests.faults.test_clocks import library as clock_library

library = clock_library  # a fixture

RECORDINGS = EPISODE.parent
CLIP = RECORDINGS / "clip1.wav"
QUICK = ("--model", "demo", "--quiet-time", "1", "--every", "1")
SLOW = pytest.mark.slow
WHOLE_S = 40


class House(Program):
    """A program, a folder that it watches, and the processes that were started."""

    def __init__(self, folder):
        super().__init__(folder / "home", folder)
        self.inbox = folder / "in"
        self.inbox.mkdir()
        self._started = []

    def watch(self, *flags, home=None):
        """A process that watches."""
        program = Program(home, self.folder) if home else self
        process = program.start("watch", self.inbox, *QUICK, *flags)
        self._started.append(process)
        return process

    def once(self, *flags):
        ended = self.run("watch", self.inbox, "--once", "--json", *QUICK, *flags)
        assert "Traceback" not in ended.err
        return ended

    def drop(self, source=CLIP, name=None):
        return shutil.copyfile(source, self.inbox / (name or source.name))

    def srt(self, name):
        return self.inbox / f"{name}.en.srt"

    def until_written(self, name):
        until(self.srt(name).exists, f"{name} is never done")
        return list(srt.parse(self.srt(name).read_text()))

    def names(self):
        return sorted(path.name for path in self.inbox.iterdir())

    def stop(self, process, number=signal.SIGINT):
        """What it said; it ends soon, and in order."""
        process.send_signal(number)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130, said
        assert "Traceback" not in said
        return said

    def end(self):
        for process in self._started:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.end()


# ── copies ───────────────────────────────────────────────────────────────────────────────────


def half(house, name, *options):
    """The first half of a file, as a copy leaves it that was broken off for good."""
    whole = house.folder / name
    subprocess.run(
        [FFMPEG, "-v", "error", "-t", f"{WHOLE_S}", "-i", EPISODE, *options, whole], check=True
    )
    content = whole.read_bytes()
    (house.inbox / name).write_bytes(content[: len(content) // 2])


@SLOW
def test_a_copy_that_was_broken_off_for_good_is_told_and_tried_once(house):
    half(house, "half.wav", "-ar", "16000")
    half(house, "half.mp3", "-c", "copy")
    half(house, "half.mp4", "-c:a", "aac")
    half(house, "half.mkv", "-c", "copy")
    half(house, "half.ogg", "-ar", "16000")
    (house.inbox / "byte.mp3").write_bytes(b"\xff")
    (house.inbox / "header.wav").write_bytes((house.inbox / "half.wav").read_bytes()[:44])
    house.drop(name="whole.wav")
    ended = house.once()
    assert ended.code == 2
    states = {name: one["error"] or one["state"] for name, one in ended.outcomes.items()}
    assert states == {
        "half.wav": "done",
        "half.mp3": "done",
        "half.mp4": "NotMedia",  # its index comes last
        "half.mkv": "done",
        "half.ogg": "done",
        "byte.mp3": "NotMedia",
        "header.wav": "NotMedia",
        "whole.wav": "done",
    }
    cut = {name for name, one in ended.outcomes.items() if "cut short" in str(one["notes"])}
    assert cut == {"half.mp3", "half.mkv", "half.wav"}  # ffprobe takes a cut ogg for a whole one
    for name in ("half.wav", "half.mp3", "half.mkv", "half.ogg"):
        assert ended.outcomes[name]["duration_s"] < 0.6 * WHOLE_S
    assert house.once().outcomes == {}


@SLOW
def test_a_copy_that_pauses_for_longer_than_the_quiet_time_ends_with_the_whole_text(house):
    house.watch()
    content = EPISODE.read_bytes()
    path = house.inbox / "talk.mp3"
    with path.open("wb", buffering=0) as copy:
        for start in range(0, len(content), len(content) // 4 + 1):
            copy.write(content[start : start + len(content) // 4 + 1])
            time.sleep(4)  # the fault, not a wait
    (house.folder / "calm").mkdir()
    other = House(house.folder / "calm")
    other.drop(EPISODE, "talk.mp3")
    assert other.once().code == 0
    whole = other.srt("talk").read_bytes()
    until(lambda: house.srt("talk").exists() and house.srt("talk").read_bytes() == whole, "half")


@SLOW
def test_a_copy_that_pauses_is_not_moved_away_from_its_writer(house):
    archive = house.folder / "archive"
    process = house.watch("--after", f"move:{archive}")
    content = CLIP.read_bytes()
    path = house.inbox / "talk.wav"
    with path.open("wb", buffering=0) as copy:
        copy.write(content[: len(content) // 2])
        house.until_written("talk")
        time.sleep(3)  # looks that find it done
        assert path.exists()
        copy.write(content[len(content) // 2 :])
    until((archive / "talk.wav").exists, "it is never moved")
    assert (archive / "talk.wav").read_bytes() == content
    until(lambda: not path.exists(), "it is still there")
    assert "open for writing" in house.stop(process)


# ── names and contents ───────────────────────────────────────────────────────────────────────


def until_in_work(house):
    until(lambda: any(house.home.glob("jobs/*/media.json")), "nothing is in work")


@SLOW
@pytest.mark.parametrize("stage", ["media", "audio", "language"])
def test_a_file_that_is_renamed_during_work_is_done_under_its_new_name(house, stage):
    path = house.drop(EPISODE, "old.mp3")
    house.watch()
    until(lambda: any(house.home.glob(f"jobs/*/{stage}.json")), "nothing is in work")
    path.rename(house.inbox / "new.mp3")
    house.until_written("new")
    time.sleep(2)
    # it was quicker than the rename, or it was not written at all
    assert set(house.names()) - {"old.en.srt"} == {"new.en.srt", "new.mp3"}


@SLOW
def test_a_file_that_is_deleted_during_work_is_forgotten_until_it_comes_back(house):
    path = house.drop(EPISODE, "talk.mp3")
    process = house.watch()
    until_in_work(house)
    path.unlink()
    time.sleep(3)
    house.srt("talk").unlink(missing_ok=True)  # where it was done before the file went
    house.drop(EPISODE, "talk.mp3")
    assert len(house.until_written("talk")) > 10
    assert "internal error" not in house.stop(process)


@SLOW
def test_a_file_that_is_replaced_during_work_never_gets_the_others_text(house):
    path = house.drop(EPISODE, "talk.mp3")
    house.watch()
    until_in_work(house)
    other = shutil.copyfile(RECORDINGS / "clip3.ogg", house.folder / "other")
    other.rename(path)
    until(
        lambda: house.srt("talk").exists() and len(house.until_written("talk")) < 6,
        "the new content is never done",
    )


@SLOW
def test_the_same_content_under_many_names_is_done_under_each(house):
    (house.inbox / "folder").mkdir()
    odd = ["-dash", "100%d", "line\nbreak", os.fsdecode(b"caf\xe9"), "folder/same", "n" * 240]
    for name in odd:
        house.drop(name=f"{name}.wav")
    os.link(house.inbox / "-dash.wav", house.inbox / "link.wav")
    ended = house.once()
    assert ended.code == 0
    written = [path.read_bytes() for path in house.inbox.rglob("*.srt")]
    assert len(written) == len(odd) + 1
    assert len(set(written)) == 1


# ── others ───────────────────────────────────────────────────────────────────────────────────


@SLOW
@pytest.mark.parametrize("homes", [1, 2])
def test_two_watchers_that_know_nothing_of_each_other_write_each_subtitle_once(house, homes):
    ours = house.watch("--error-files")
    theirs = house.watch("--error-files", home=house.folder / "other" if homes == 2 else None)
    for name in ("clip1.wav", "clip2.wav", "clip3.ogg", "clip5.mp4"):
        house.drop(RECORDINGS / name)
    for name in ("clip1", "clip2", "clip3", "clip5"):
        house.until_written(name)
    written = {path: path.stat() for path in house.inbox.glob("*.srt")}
    time.sleep(5)
    assert {path: path.stat().st_mtime_ns for path in house.inbox.glob("*.srt")} == {
        path: status.st_mtime_ns for path, status in written.items()
    }
    assert not list(house.inbox.glob(".*"))
    assert not list(house.inbox.glob("*.txt"))
    house.stop(theirs)
    house.stop(ours)


@SLOW
def test_a_folder_that_is_unmounted_and_comes_back_is_watched_again(house):
    with mounted(house.inbox, 8):
        process = house.watch()
        house.drop(name="one.wav")
        house.until_written("one")
        first = house.srt("one").stat().st_mtime_ns
        subprocess.run(["mount", "--bind", house.folder / "home", house.inbox], check=True)
        time.sleep(3)
        subprocess.run(["umount", "--lazy", house.inbox], check=True)
        house.drop(name="two.wav")
        house.until_written("two")
        assert house.srt("one").stat().st_mtime_ns == first
        house.stop(process)


@SLOW
@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_neither_hurries_nor_hinders(house, library, hours):
    clock = house.folder / "clock"
    clock.write_bytes(struct.pack("l", 0))
    environment = house.environment
    house.environment = lambda **changes: environment(
        LD_PRELOAD=str(library), FAULTS_CLOCK=str(clock), **changes
    )
    process = house.watch()
    house.drop(name="one.wav")
    house.until_written("one")
    with clock.open("r+b") as file:
        file.write(struct.pack("l", hours * 3600))
    house.drop(name="two.wav")
    (house.inbox / "bad.mp3").write_text("not media")
    house.until_written("two")
    time.sleep(4)
    said = house.stop(process)
    assert said.count("bad.mp3 is not media") == 1
    assert said.count("one.en.srt") == said.count("two.en.srt") == 1


@SLOW
@pytest.mark.parametrize("seed", [1, 2])
def test_a_watcher_and_a_redis_that_die_make_one_job_of_each_file(yard, house, seed):
    environment = house.environment
    house.environment = lambda **changes: environment(
        TRANSCRIBE_REDIS_URL=yard.redis.url, **changes
    )
    names = [f"{number}.wav" for number in range(7)]
    for number, name in enumerate(names[:-1]):
        write_sound(house.inbox / name, 20 + number)
    yard.start()
    chance = random.Random(seed)
    for _ in range(3):
        process = house.watch("--language", "en")
        time.sleep(chance.uniform(0.5, 4.0))  # the fault, not a wait
        process.kill()
    watcher = house.watch("--language", "en")
    for number in range(6):
        house.until_written(str(number))
    time.sleep(2)  # it may have begun only now
    yard.redis.kill()
    write_sound(house.inbox / names[-1], 30)
    time.sleep(chance.uniform(0.5, 6.0))
    yard.redis.start()
    house.until_written("6")
    house.stop(watcher)
    counts = {state: number for state, number in yard.ledger.counts().by_state if number}
    assert counts == {"done": 7}
    assert house.once("--language", "en").outcomes == {}
    assert house.names() == sorted([*names, *(f"{number}.en.srt" for number in range(7))])


# ── stopping ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_watcher_stops_at_once(house, number):
    process = house.watch()
    time.sleep(1.5 if number == signal.SIGTERM else 0.8)  # also while it begins
    began_s = time.monotonic()
    house.stop(process, number)
    assert time.monotonic() - began_s < 5


@SLOW
@pytest.mark.parametrize("signals", [1, 2])
def test_a_busy_watcher_stops_soon_and_the_next_goes_on(house, signals):
    house.drop(EPISODE, "talk.mp3")
    process = house.watch()
    until_in_work(house)
    for _ in range(signals - 1):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    house.stop(process)
    assert house.names() == ["talk.mp3"]
    assert house.once().code == 0
    assert house.names() == ["talk.en.srt", "talk.mp3"]
