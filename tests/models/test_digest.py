from __future__ import annotations

import hashlib
import os

import pytest

from models.digest import remember, sha256_of, stamp_of

BEFORE, AFTER = b"before", b"behind"
SUMS = {content: hashlib.sha256(content).hexdigest() for content in (BEFORE, AFTER)}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "small.pt"
    file.write_bytes(BEFORE)
    return file


def rewrite(path, *, later_ns):
    """Other content of the same length in the same inode, at a time that is chosen."""
    status = path.stat()
    path.write_bytes(AFTER)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + later_ns))


def test_a_file_is_read_once(path):
    assert sha256_of(path) == SUMS[BEFORE]
    rewrite(path, later_ns=0)
    assert sha256_of(path) == SUMS[BEFORE], "nobody looked inside again"


def test_what_is_remembered_is_not_read_at_all(path):
    remember(path, "known")
    assert sha256_of(path) == "known"


def test_a_file_of_another_time_is_read_anew(path):
    sha256_of(path)
    rewrite(path, later_ns=1)
    assert sha256_of(path) == SUMS[AFTER]


def test_a_file_in_place_of_another_is_read_anew(path):
    sha256_of(path)
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(AFTER)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert sha256_of(path) == SUMS[AFTER]


def test_a_file_that_grew_is_read_anew(path):
    sha256_of(path)
    status = path.stat()
    path.write_bytes(BEFORE * 2)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sha256_of(path) == hashlib.sha256(BEFORE * 2).hexdigest()


@pytest.mark.parametrize(
    "stamp",
    [b"", b"[]", b"1", b"\xff", b'{"sha256": "x"}', b'{"size_mtime_inode": 0, "sha256": "x"}'],
)
def test_a_broken_stamp_is_replaced(path, stamp):
    stamp_of(path).write_bytes(stamp)
    assert sha256_of(path) == SUMS[BEFORE]
    rewrite(path, later_ns=0)
    assert sha256_of(path) == SUMS[BEFORE]


def test_a_stamp_that_cannot_be_written_is_done_without(path):
    stamp_of(path).mkdir()
    assert sha256_of(path) == SUMS[BEFORE]
    remember(path, SUMS[BEFORE])
    assert sorted(path.parent.iterdir()) == [stamp_of(path), path]


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "missing")
