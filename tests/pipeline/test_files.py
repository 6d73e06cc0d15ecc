"""Files appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import Busy, StorageFailed
from pipeline.files import (
    ensure_writable,
    locked_folder,
    part_of,
    try_lock,
    whole,
    write_whole,
)


def test_a_file_is_written_and_nothing_else_stays(tmp_path):
    write_whole(tmp_path / "a.srt", "1\nüber\n")
    assert (tmp_path / "a.srt").read_bytes() == "1\nüber\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.srt"]


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    target = tmp_path / "a.srt"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(target, "new \udcff")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.srt"]


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="file/out cannot be written .Not a directory"):
        ensure_writable(tmp_path / "file" / "out")


def test_a_file_system_without_room_is_told_in_words():
    with pytest.raises(StorageFailed, match="cannot be written"):
        ensure_writable(Path("/proc/no-such-place"))


def test_the_growing_file_has_a_name_that_always_fits(tmp_path):
    longest = tmp_path / ("x" * 251 + ".srt")
    write_whole(longest, "text")
    assert longest.read_text() == "text"
    assert len(part_of(longest).name) < 40


def test_two_writers_never_share_a_growing_file(tmp_path):
    target = tmp_path / "a.srt"
    with whole(target) as part:
        part.write_text("first")
        with pytest.raises(Busy, match="a.srt is being written"):
            write_whole(target, "second")
    assert target.read_text() == "first"


def test_without_replace_a_file_that_is_there_stays(tmp_path):
    target = tmp_path / "a.srt"
    target.write_text("theirs")
    assert not write_whole(target, "ours", replace=False)
    assert target.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a.srt"]


def test_a_lock_is_held_until_it_is_released_also_over_a_removed_file(tmp_path):
    path = tmp_path / "lock"
    held = try_lock(path)
    assert try_lock(path) is None
    path.unlink()
    again = try_lock(path)
    assert again is not None
    again.release()
    held.release()


def test_a_folder_on_a_disk_that_is_not_there_is_told(tmp_path):
    (tmp_path / "jobs").symlink_to(tmp_path / "unmounted")
    with pytest.raises(StorageFailed), locked_folder(tmp_path / "jobs" / "one"):
        pass


def test_a_released_lock_is_free_although_a_child_of_another_thread_has_its_file_still_open(
    tmp_path,
):
    """As any child has between its fork and its exec."""
    path = tmp_path / "lock"
    held = try_lock(path)
    inherited = os.dup(held.file.fileno())
    try:
        held.release()
        again = try_lock(path)
        assert again is not None
        again.release()
    finally:
        os.close(inherited)
