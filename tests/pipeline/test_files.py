"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import StorageFailed
from pipeline.files import ensure_writable, part_of, write_whole


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
    with pytest.raises(StorageFailed, match="cannot write .*file/out: not a directory"):
        ensure_writable(tmp_path / "file" / "out")


def test_a_file_system_without_room_is_told_in_words():
    with pytest.raises(StorageFailed, match="cannot write"):
        ensure_writable(Path("/proc/no-such-place"))


def test_the_growing_file_has_a_name_that_always_fits(tmp_path):
    longest = tmp_path / ("x" * 251 + ".srt")
    write_whole(longest, "text")
    assert longest.read_text() == "text"
    assert len(part_of(longest).name) < 40
