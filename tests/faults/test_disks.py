"""Disks that are full or read-only: nothing half-written, the reason is told, and work goes on."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.disks import mounted
from tests.faults.processes import RedisServer, until
from tests.faults.sounds import write_flac_without_length
from tests.faults.yard import opened

PATIENT = 10_000  # attempts: the disk has time to be seen to


@pytest.fixture
def disks(tmp_path):
    """Mount a disk in the test's folder; it is there until the yard is closed."""
    with ExitStack() as stack:
        yield lambda name, megabytes: stack.enter_context(mounted(tmp_path / name, megabytes))


@pytest.fixture
def yard(disks, yard):
    """The disks are unmounted after the yard is closed."""
    yard.allow(PATIENT)
    return yard


def until_told(yard, one, words):
    """The ledger says why it does not go on; nothing of it was given its name."""
    until(lambda: words in (yard.ledger.record(one.id).reason or ""), f"nobody says: {words}")
    assert yard.ledger.record(one.id).state in ("queued", "running")
    assert not one.srt.exists()
    assert "internal error" not in yard.log()


@pytest.mark.slow
def test_a_disk_that_fills_up_while_sound_is_converted(yard, disks):
    disk = disks("home", 16)
    path = yard.media / "one.flac"
    write_flac_without_length(path, 200)
    one = yard.ask_for(path, 200)
    yard.start(convert_speed=60)
    yard.until_at(one, "convert", done_s=20)
    disk.fill()
    until_told(yard, one, "free some space")
    disk.free()
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_a_disk_on_which_sound_will_not_fit(yard, disks):
    disks("home", 4)
    one = yard.ask("one.wav", 200)
    yard.start()
    until_told(yard, one, "needs 6.4 MB as plain sound")
    assert list(yard.home.rglob("audio*")) == []
    yard.ledger.cancel([one.id])
    yard.expect(one, ends=("cancelled",))
    yard.check()


def test_a_disk_that_fills_up_while_a_file_is_heard(yard, disks):
    disk = disks("home", 16)
    one = yard.ask("one.wav", 400, "pace=0.1")
    yard.start()
    yard.until_at(one, "transcribe", done_s=50)
    disk.fill()
    until_told(yard, one, "free some space")
    disk.free()
    yard.until_ended()
    yard.check()
    assert "continued at" in yard.log()


@pytest.mark.slow
def test_a_disk_that_is_full_when_subtitles_are_written(yard, disks):
    disk = disks("subtitles", 1)
    disk.fill()
    one = yard.ask("one.wav", 60, output_dir=disk.folder)
    yard.start()
    until_told(yard, one, "free some space, or choose another folder")
    assert list(disk.folder.glob(".*.part")) == []
    disk.free()
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_a_folder_that_is_read_only_for_a_while(yard, disks):
    disk = disks("subtitles", 1)
    one = yard.ask("one.wav", 200, "pace=0.2", output_dir=disk.folder)
    yard.start()
    yard.until_at(one, "transcribe")
    disk.make("ro")
    until_told(yard, one, "choose another folder")
    disk.make("rw")
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_a_full_disk_that_nobody_sees_to_ends_the_job_and_retry_goes_on(yard, disks):
    yard.allow(2)
    disk = disks("subtitles", 1)
    disk.fill()
    one = yard.ask("one.wav", 60, output_dir=disk.folder)
    yard.start()
    yard.until_ended()
    record = yard.ledger.record(one.id)
    assert (record.state, record.error) == ("dead", "StorageFailed")
    assert "free some space" in record.reason
    disk.free()
    assert yard.ledger.retry([one.id]) == (one.id,)
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_home_media_and_subtitles_on_three_file_systems(yard, disks):
    disks("home", 16)
    disk = disks("subtitles", 1)
    yard.ask("one.wav", 60, output_dir=disk.folder)
    yard.start()
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_a_log_on_a_full_disk_stops_nobody(yard):
    yard.ask("one.wav", 60)
    yard.start(log=Path("/dev/full"))
    yard.until_ended()
    yard.check()


@pytest.mark.slow
def test_a_redis_whose_disk_is_full_is_waited_for(disks, tmp_path):
    disk = disks("redis", 2)
    with opened(tmp_path, redis=RedisServer(disk.folder)) as yard:
        one = yard.ask("one.wav", 300, "pace=0.2")
        yard.start()
        yard.until_at(one, "transcribe")
        disk.fill()
        until(lambda: "The work goes on" in yard.log(), "nobody noticed")
        disk.free()
        yard.until_ended()
        yard.check()
