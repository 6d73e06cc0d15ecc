"""Looks at real folders, with everything in them that a folder can hold."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.watch.ignoring import IgnoreOptions
from workers.watch.records import Look
from workers.watch.scan import RootMissing, scan

NOBODY = 65534


def write(path, content=b"sound"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def looked(root, options=None):
    return list(scan(root, options or IgnoreOptions()))


def media(root, options=None):
    """Names of the media, relative to the root."""
    return [
        str(look.path.relative_to(root))
        for listing in looked(root, options)
        for look in listing.media
    ]


def ignored(root, options=None):
    return {
        str(each.path.relative_to(root)): each.reason
        for listing in looked(root, options)
        for each in listing.ignored
    }


def test_a_look_tells_size_time_and_inode_and_the_names_beside(tmp_path):
    film = write(tmp_path / "film.mp3")
    write(tmp_path / "film.en.srt")
    write(tmp_path / ".hidden")
    os.utime(film, ns=(0, 5))
    [listing] = looked(tmp_path)
    assert listing.folder == listing.root == tmp_path
    assert listing.media == (Look(film, tmp_path, 5, 5, film.stat().st_ino),)
    assert listing.names == {"film.mp3", "film.en.srt", ".hidden"}
    assert listing.ignored == ()


def test_folders_and_files_come_by_name(tmp_path):
    for name in ("b/2.mp3", "b/1.mp3", "a/c/1.mp3", "a/1.mp3", "a.mp3", "z.mp3", "a b/1.mp3"):
        write(tmp_path / name)
    assert media(tmp_path) == [
        *("a.mp3", "z.mp3", "a/1.mp3", "a/c/1.mp3", "a b/1.mp3", "b/1.mp3", "b/2.mp3")
    ]


def test_an_empty_folder_gives_an_empty_listing(tmp_path):
    [listing] = looked(tmp_path)
    assert (listing.media, listing.names, listing.ignored) == ((), frozenset(), ())


def test_what_could_be_media_and_is_left_alone_is_reported_and_nothing_else(tmp_path):
    for name in ("a.mp3.part", ".b.mp3", "c.jpg", ".DS_Store", "d.mp3", "d.mp3.aria2"):
        write(tmp_path / name)
    write(tmp_path / "@eaDir" / "e.mp3")
    write(tmp_path / ".stversions" / "f.mp3")
    assert media(tmp_path) == []
    assert ignored(tmp_path) == {
        ".b.mp3": "hidden",
        ".stversions": "hidden",
        "@eaDir": "a system folder (Synology)",
        "a.mp3.part": "unfinished (Firefox, yt-dlp and others)",
        "d.mp3": "unfinished (aria2 keeps .aria2 beside it)",
        "d.mp3.aria2": "unfinished (aria2)",
    }


def test_ignore_files_add_to_those_above_them(tmp_path):
    write(tmp_path / ".transcribeignore", b"*-sample.*\n/private/\n!\n")
    write(tmp_path / "show" / ".transcribeignore", b"!good-sample.mp3\n")
    for name in ("a-sample.mp3", "private/a.mp3", "show/good-sample.mp3", "show/bad-sample.mp3"):
        write(tmp_path / name)
    write(tmp_path / "show" / "private" / "a.mp3")
    assert media(tmp_path) == ["show/good-sample.mp3", "show/private/a.mp3"]
    assert ignored(tmp_path) == {
        ".transcribeignore": "line 3 is no pattern and does nothing",
        "a-sample.mp3": "matches .transcribeignore",
        "private": "matches .transcribeignore",
        "show/bad-sample.mp3": "matches .transcribeignore",
    }


def test_folders_that_are_left_out_are_not_entered_by_any_way(tmp_path):
    write(tmp_path / "done" / "deep" / "a.mp3")
    write(tmp_path / "done too" / "b.mp3")
    (tmp_path / "link").symlink_to("done/deep")
    options = IgnoreOptions(excluded=(tmp_path / "x" / ".." / "done", tmp_path / "not there"))
    assert media(tmp_path, options) == ["done too/b.mp3"]
    assert ignored(tmp_path, options) == {
        "done": "left out on purpose",
        "link": "left out on purpose",
    }


@pytest.mark.timeout(10)
def test_pipes_sockets_and_devices_are_not_opened_and_folders_may_have_any_name(tmp_path):
    os.mkfifo(tmp_path / "fifo.mp3")
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{place}/socket.mp3")
        os.close(place)
    (tmp_path / "null.mp3").symlink_to("/dev/null")
    write(tmp_path / "x.mp3" / "a.mp3")
    assert media(tmp_path) == ["x.mp3/a.mp3"]
    assert ignored(tmp_path) == {
        "fifo.mp3": "no file but a pipe, a socket or a device",
        "null.mp3": "a link out of the watched folder",
        "socket.mp3": "no file but a pipe, a socket or a device",
    }


def test_links_are_followed_inside_the_root_and_nowhere_else(tmp_path):
    root = tmp_path / "in"
    real = write(root / ".annex" / "blob.mp3", b"four")
    (root / "film.mp3").symlink_to(".annex/blob.mp3")
    (root / "passwd.mp3").symlink_to("/etc/passwd")
    (root / "nowhere.mp3").symlink_to("gone.mp3")
    (root / "round.mp3").symlink_to("round.mp3")
    write(tmp_path / "in-fact-outside" / "a.mp3")
    (root / "out").symlink_to("../in-fact-outside")
    (root / "out.mp3").symlink_to("../in-fact-outside/a.mp3")
    [listing] = looked(root)
    status = real.stat()
    assert listing.media == (Look(root / "film.mp3", root, 4, status.st_mtime_ns, status.st_ino),)
    assert ignored(root) == {
        ".annex": "hidden",
        "nowhere.mp3": "a link that leads nowhere",
        "out": "a link out of the watched folder",
        "out.mp3": "a link out of the watched folder",
        "passwd.mp3": "a link out of the watched folder",
        "round.mp3": "a link that leads nowhere",
    }


@pytest.mark.timeout(10)
def test_folders_that_link_to_each_other_are_listed_once(tmp_path):
    names = [f"{number:02}" for number in range(12)]
    for name in names:
        write(tmp_path / name / "a.mp3")
        for other in names:
            if other != name:
                (tmp_path / name / f"to {other}").symlink_to(f"../{other}")
        (tmp_path / name / "up").symlink_to("..")
        (tmp_path / name / "self").symlink_to(".")
    assert media(tmp_path) == [f"{name}/a.mp3" for name in names]
    assert (
        ignored(tmp_path)["03/up"]
        == ignored(tmp_path)["03/self"]
        == ("a link to a folder above it")
    )


def test_a_hidden_folder_is_listed_under_the_first_link_to_it(tmp_path):
    write(tmp_path / ".store" / "deep" / "a.mp3")
    (tmp_path / "b").symlink_to(".store")
    (tmp_path / "a").symlink_to(".store")
    assert media(tmp_path) == ["a/deep/a.mp3"]


def test_the_root_may_be_a_link_itself(tmp_path):
    write(tmp_path / "real" / "a.mp3")
    (tmp_path / "real" / "b.mp3").symlink_to(tmp_path / "real" / "a.mp3")
    (tmp_path / "root").symlink_to("real")
    assert media(tmp_path / "root") == ["a.mp3", "b.mp3"]


def test_hard_links_have_one_inode_and_a_file_put_in_its_place_has_another(tmp_path):
    first = write(tmp_path / "a.mp3")
    (tmp_path / "b.mp3").hardlink_to(first)
    [before] = looked(tmp_path)
    assert len({look.inode for look in before.media}) == 1
    new = write(tmp_path / "new.tmp")
    os.utime(new, ns=(0, first.stat().st_mtime_ns))
    new.replace(first)
    [after] = looked(tmp_path)
    assert [look.size_bytes for look in after.media] == [5, 5]
    assert [look.mtime_ns for look in after.media] == [look.mtime_ns for look in before.media]
    assert after.media[0].inode != before.media[0].inode == after.media[1].inode


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe.mp3",
        b"new\nline\x1b[31m.mp3",
        b"x" * 251 + b".mp3",
        "ä".encode() * 125 + b".mp3",
        b"-rf.mp3",
        b"%03d:.mp3",
        b"a .mp3",
        b"..mp3",
    ],
)
def test_no_name_is_trouble(tmp_path, name):
    place = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118  - bytes
    with open(place, "wb") as file:  # noqa: PTH123
        file.write(b"sound")
    is_hidden = name.startswith(b".")
    assert media(tmp_path) == ([] if is_hidden else [os.fsdecode(name)])
    folder = tmp_path / "inner"
    folder.mkdir()
    os.mkdir(os.path.join(os.fsencode(folder), name))  # noqa: PTH102, PTH118
    assert len(looked(tmp_path)) == (2 if is_hidden else 3)


def test_names_that_look_alike_are_two_files(tmp_path):
    for name in ("\u00e9.mp3", "e\u0301.mp3"):
        write(tmp_path / name)
    assert len(media(tmp_path)) == 2


@contextmanager
def without_privileges():
    """As somebody who is not root: root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_read_is_reported_and_the_rest_goes_on():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        write(root / "a" / "1.mp3")
        write(root / "b" / "2.mp3")
        write(root / "c" / "3.mp3")
        write(root / "d.mp3")
        (root / "b").chmod(0)
        (root / "c").chmod(0o444)  # its names can be read, and nothing of them
        with without_privileges():
            assert media(root) == ["d.mp3", "a/1.mp3"]
            reasons = ignored(root)
            names = {listing.folder.name: listing.names for listing in looked(root)}
        (root / "b").chmod(0o755)
        (root / "c").chmod(0o755)
    assert reasons["b"] == "cannot be searched (Permission denied): allow reading it"
    assert reasons["c/3.mp3"] == "cannot be looked at (Permission denied)"
    assert names["b"] == frozenset()


def test_a_folder_too_deep_for_the_system_is_reported(tmp_path):
    write(tmp_path / "z.mp3")
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=place)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    listings = looked(tmp_path)
    assert listings[0].media
    [why] = listings[-1].ignored
    assert why.reason == "cannot be searched (File name too long): allow reading it"


def test_a_file_or_folder_that_goes_away_during_the_look_is_no_trouble(tmp_path):
    write(tmp_path / "a" / "1.mp3")
    write(tmp_path / "b" / "2.mp3")
    listings = scan(tmp_path, IgnoreOptions())
    next(listings)
    (tmp_path / "a" / "1.mp3").unlink()
    (tmp_path / "a").rmdir()
    (tmp_path / "b").rename(tmp_path / "c")
    (tmp_path / "b").write_bytes(b"no folder any more")
    assert list(listings) == []


def test_a_root_that_is_missing_is_told_and_is_found_again_when_it_comes_back(tmp_path):
    root = tmp_path / "in"
    write(root / "a.mp3")
    assert media(root) == ["a.mp3"]
    root.rename(tmp_path / "away")
    with pytest.raises(RootMissing, match="No such file or directory.*bring it back"):
        looked(root)
    root.mkdir()  # as a mount point without its file system
    assert media(root) == []
    root.rmdir()
    (tmp_path / "away").rename(root)
    assert media(root) == ["a.mp3"]


def test_a_root_that_is_no_folder_is_missing(tmp_path):
    with pytest.raises(RootMissing, match="Not a directory"):
        looked(write(tmp_path / "in.mp3"))


def test_a_root_that_may_not_be_read_is_missing():
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0)
        with without_privileges(), pytest.raises(RootMissing, match="Permission denied"):
            looked(Path(name))
