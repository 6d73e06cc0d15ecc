from __future__ import annotations

import errno
import hashlib
import io
import os

import pytest

from models.part import Part, open_part, part_of
from pipeline.errors import StorageFailed


@pytest.fixture
def target(tmp_path):
    return tmp_path / "small.pt"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_a_part_grows_over_several_times_and_gets_its_name(target):
    for content, before in ((b"one ", False), (b"two", True)):
        with open_part(target, pytest.fail) as part:
            assert part.is_pieced == before
            part.append(content)
    with open_part(target, pytest.fail) as part:
        assert (part.size_bytes, part.sha256) == (7, sha256(b"one two"))
        assert part.publish() is None
    assert [path.name for path in target.parent.iterdir()] == ["small.pt"]
    assert target.read_bytes() == b"one two"


def test_a_part_that_is_restarted_forgets(target):
    with open_part(target, pytest.fail) as part:
        part.append(b"one")
        part.etag = '"x"'
        part.restart()
        assert (part.size_bytes, part.sha256, part.etag) == (0, sha256(b""), None)
        part.append(b"two")
        assert part.sha256 == sha256(b"two")
    assert part_of(target).read_bytes() == b"two"


def test_an_empty_part_leaves_nothing(target):
    with open_part(target, pytest.fail) as part:
        part.etag = '"x"'
    assert list(target.parent.iterdir()) == []


def test_what_had_the_name_is_kept(target):
    target.write_bytes(b"mine")
    with open_part(target, pytest.fail) as part:
        part.append(b"theirs")
        kept = part.publish()
    assert kept == target.with_name("small.pt.damaged")
    assert (kept.read_bytes(), target.read_bytes()) == (b"mine", b"theirs")


class Reluctant(io.FileIO):
    """A file on a disk that takes little at once, and in the end nothing."""

    def __init__(self, path, room_bytes):
        super().__init__(path, "a+")
        self.room_bytes = room_bytes

    def write(self, data):
        taken = bytes(data[: min(2, self.room_bytes)])
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.room_bytes -= len(taken)
        return super().write(taken)


def test_a_disk_may_take_less_than_it_is_given(target):
    with Reluctant(part_of(target), 7) as file:
        part = Part(file, part_of(target), target)
        part.append(b"1234567")
        with pytest.raises(OSError, match="No space"):
            part.append(b"8")
    assert part_of(target).read_bytes() == b"1234567"


def test_room_is_asked_for_what_is_missing(target):
    with open_part(target, pytest.fail) as part:
        part.ensure_room(1)
        with pytest.raises(StorageFailed, match=r"small\.pt takes 1000000000\.0 MB of space"):
            part.ensure_room(10**15)


def test_whoever_comes_second_is_told_so(target):
    class Told(Exception):
        pass

    def tell():
        raise Told

    with open_part(target, pytest.fail), pytest.raises(Told), open_part(target, tell):
        pytest.fail("two have it")
    with open_part(target, pytest.fail):
        pass


def test_a_part_is_free_at_once_although_a_child_of_another_thread_has_it_still_open(target):
    """As any child has between its fork and its exec."""
    with open_part(target, pytest.fail) as part:
        part.append(b"half")
        inherited = os.dup(part._file.fileno())
    try:
        with open_part(target, pytest.fail) as part:
            assert part.size_bytes == 4
    finally:
        os.close(inherited)
