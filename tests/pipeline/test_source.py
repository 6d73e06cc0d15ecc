"""Only whole, readable, regular files become sources."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NoSuchFile, NotAFile, NotMedia, SourceChanged, Unreadable
from pipeline.source import display, ensure_unchanged, take
from pipeline.types import Source


@pytest.fixture
def talk(tmp_path):
    path = tmp_path / "talk.mp3"
    path.write_bytes(b"sound")
    return path


def test_a_file_is_taken_with_its_size_and_time(talk):
    status = talk.stat()
    assert take(talk) == Source(talk, 5, status.st_mtime_ns)


def test_a_relative_name_becomes_absolute(talk, monkeypatch):
    monkeypatch.chdir(talk.parent)
    assert take(Path("talk.mp3")).path == talk


def test_a_link_keeps_its_own_name_and_is_followed(talk, tmp_path):
    link = tmp_path / "link.mp3"
    link.symlink_to(talk)
    assert take(link) == Source(link, 5, talk.stat().st_mtime_ns)


@pytest.mark.parametrize("name", ["missing.mp3", "talk.mp3/inside", "n\0l", "x" * 300])
def test_what_is_not_there_is_refused(talk, name):
    with pytest.raises(NoSuchFile, match="does not exist"):
        take(talk.parent / name)


def test_a_link_to_nowhere_says_so(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(NoSuchFile, match="leads nowhere"):
        take(tmp_path / "link")


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")
    with pytest.raises(NoSuchFile, match="leads nowhere"):
        take(tmp_path / "a")


def test_a_directory_hints_at_the_option_for_directories(tmp_path):
    with pytest.raises(NoSuchFile, match="give -r to take the files in it"):
        take(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.mp3").touch()
    with pytest.raises(NotMedia, match="is empty"):
        take(tmp_path / "empty.mp3")


@pytest.mark.timeout(10)
def test_a_named_pipe_is_refused_without_being_opened(tmp_path):
    pipe = tmp_path / "pipe.mp3"
    os.mkfifo(pipe)
    with pytest.raises(NotAFile, match="a named pipe"):
        take(pipe)


def test_a_device_is_refused():
    with pytest.raises(NotAFile, match="a device"):
        take(Path("/dev/zero"))


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.mp3")
        with pytest.raises(NotAFile, match="a socket"):
            take(Path("socket.mp3"))


@pytest.fixture
def as_nobody():
    """A folder that everybody may enter, and no privileges: root can read anything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    was = os.geteuid()

    def drop():
        if was == 0:
            os.seteuid(65534)
        return folder

    yield folder, drop
    os.seteuid(was)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_file_without_permission_is_unreadable(as_nobody):
    folder, drop_privileges = as_nobody
    (folder / "secret.mp3").write_bytes(b"sound")
    (folder / "secret.mp3").chmod(0)
    drop_privileges()
    with pytest.raises(Unreadable, match=r"secret\.mp3 cannot be read \(Permission denied\)"):
        take(folder / "secret.mp3")


def test_a_file_in_a_closed_folder_is_unreadable(as_nobody):
    folder, drop_privileges = as_nobody
    (folder / "closed").mkdir(mode=0o700)
    (folder / "closed" / "talk.mp3").write_bytes(b"sound")
    (folder / "closed").chmod(0)
    drop_privileges()
    with pytest.raises(Unreadable, match="a folder that you may not enter"):
        take(folder / "closed" / "talk.mp3")


def test_an_untouched_source_is_unchanged(talk):
    ensure_unchanged(take(talk))


def test_a_source_that_grew_has_changed(talk):
    source = take(talk)
    talk.write_bytes(b"more sound")
    with pytest.raises(SourceChanged, match="changed while it was worked on"):
        ensure_unchanged(source)


def test_a_source_of_the_same_size_but_another_time_has_changed(talk):
    source = take(talk)
    os.utime(talk, ns=(source.mtime_ns, source.mtime_ns + 1_000_000))
    with pytest.raises(SourceChanged, match="changed while it was worked on"):
        ensure_unchanged(source)


def test_a_source_that_went_away_has_changed(talk):
    source = take(talk)
    talk.unlink()
    with pytest.raises(SourceChanged, match="went away"):
        ensure_unchanged(source)


NAMES = {
    "plain": (b"talk 1.mp3", "talk 1.mp3"),
    "accented": ("Grüße 日本.mp3".encode(), "Grüße 日本.mp3"),
    "newline": (b"a\nb.mp3", "a\\nb.mp3"),
    "not UTF-8": (b"caf\xe9.mp3", "caf\\xe9.mp3"),
    "ANSI colour": (b"\x1b[31mred.mp3", "\\x1b[31mred.mp3"),
    "right to left": ("a\u202e3pm.exe".encode(), "a\\u202e3pm.exe"),
    "dash": (b"-y", "-y"),
}


@pytest.mark.parametrize(("raw", "shown"), NAMES.values(), ids=NAMES)
def test_names_are_shown_harmlessly(raw, shown):
    assert display(Path(os.fsdecode(raw))) == shown


@given(st.binary(min_size=1, max_size=40))
@settings(max_examples=60)
def test_any_name_is_shown_on_one_printable_line(raw):
    shown = display(os.fsdecode(raw))
    assert shown.isprintable()
    assert shown.encode()


@pytest.mark.parametrize("raw", [b"a\nb", b"-dash", b"a:b", b"100%03d", b"caf\xe9", b"http:x"])
def test_odd_names_are_taken_as_they_are(tmp_path, raw):
    path = tmp_path / os.fsdecode(raw)
    path.write_bytes(b"sound")
    assert take(path).path == path
