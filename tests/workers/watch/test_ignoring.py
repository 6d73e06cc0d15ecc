"""Names that are left alone, and .transcribeignore against git itself."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.watch.ignoring import IGNORE_FILE, OTHER_KIND, IgnoreOptions, Rules, still_downloaded

RULES = Rules(IgnoreOptions())


def of_file(name, rules=RULES):
    return rules.reason_to_ignore(name, is_folder=False)


def of_folder(name, rules=RULES):
    return rules.reason_to_ignore(name, is_folder=True)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "film.mkv",
            "FILM.MKV",
            "a.b.c.mp3",
            "-rf.mp3",
            "100%.mp3",
            "new\nline.mp3",
            "x" * 251 + ".mp3",
        ),
        *("Film.Part.1.mp4", "Film.part.mkv", "f1.mp4", "race.f1.mp4", "temp.mp3", "~film.mp3"),
        *(os.fsdecode(b"\xff\xfe.mp3"), "😀.mp3", "film..mp3", " .mp3"),
    ],
)
def test_media_is_taken_whatever_it_is_called(name):
    assert of_file(name) is None


@pytest.mark.parametrize(
    "name", ["film.srt", "film.jpg", "mp3", ".mp3", "film.mp3.srt", ".DS_Store", ""]
)
def test_what_is_no_media_is_of_another_kind(name):
    assert of_file(name) == OTHER_KIND


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".film.mp3", "hidden"),
        ("._film.mp3", "hidden"),
        ("film.mp3.part", "unfinished (Firefox, yt-dlp and others)"),
        ("FILM.MP3.PART", "unfinished (Firefox, yt-dlp and others)"),
        ("film.mp4.crdownload", "unfinished (Chromium)"),
        ("film.mkv.!qB", "unfinished (qBittorrent)"),
        ("film.mkv.aria2", "unfinished (aria2)"),
        (".syncthing.film.mp3.tmp", "hidden"),
        ("~syncthing~film.mp3.tmp", "unfinished (Syncthing and others)"),
        ("~syncthing~film.mp3", "temporary"),
        ("film.temp.mp4", "temporary"),
        ("film.f137.mp4", "temporary"),
        ("film.f140-drc.m4a", "temporary"),
    ],
)
def test_what_is_not_finished_is_left_alone_with_the_reason(name, reason):
    assert of_file(name) == reason


def test_names_that_rsync_writes_to_are_never_taken(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "from" / "film.mp3").write_bytes(bytes(1_000_000))
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    # it is stopped on its way, and leaves what it had written for a moment
    rsync = subprocess.Popen(
        ["rsync", "--bwlimit=100", f"{tmp_path}/from/film.mp3", f"{tmp_path}/to/"]
    )
    try:
        while not (names := [path.name for path in (tmp_path / "to").iterdir()]):
            assert rsync.poll() is None
    finally:
        rsync.kill()
        rsync.wait()
    assert all(of_file(name) is not None for name in names)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Season 1", None),
        ("x.mp3", None),
        ("Show.Part", None),
        (".stversions", "hidden"),
        ("@eaDir", "a system folder (Synology)"),
        ("$RECYCLE.BIN", "a system folder (Windows)"),
        ("__MACOSX", "a system folder (macOS)"),
        ("film.mp4.download", "unfinished"),
        ("_UNPACK_film", "unfinished"),
    ],
)
def test_folders_of_systems_and_downloads_are_not_entered(name, reason):
    assert of_folder(name) == reason


def test_a_state_file_beside_it_means_that_a_file_is_being_downloaded():
    names = frozenset({"a.mp3", "a.mp3.aria2", "b.mp3", "b.mp3-lftp-pget-status", "c.mp3"})
    assert still_downloaded("a.mp3", names) == "unfinished (aria2 keeps .aria2 beside it)"
    assert still_downloaded("b.mp3", names)
    assert still_downloaded("c.mp3", names) is None


def test_the_list_of_suffixes_can_be_changed():
    rules = Rules(IgnoreOptions(suffixes=frozenset({".xyz"})))
    assert of_file("film.xyz", rules) is None
    assert of_file("film.mp3", rules) == OTHER_KIND


def rules_with(folder, text, rules=RULES):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / IGNORE_FILE).write_bytes(text)
    return rules.with_file_of(folder)


def test_patterns_of_an_ignore_file_hold_for_its_folder_and_below(tmp_path):
    rules, complaints = rules_with(tmp_path, b"# trailers\r\n*-trailer.*\r\n/extras/\r\n\r\n")
    assert complaints == ()
    assert of_file("film-trailer.mp4", rules) == "matches .transcribeignore"
    assert of_file("film.mp4", rules) is None
    assert of_folder("extras", rules) == "matches .transcribeignore"
    below = rules.below("season")
    assert of_file("film-trailer.mp4", below) == "matches .transcribeignore"
    assert of_folder("extras", below) is None


def test_the_nearest_ignore_file_wins(tmp_path):
    rules, _ = rules_with(tmp_path, b"*.mp3\n")
    nearer, _ = rules_with(tmp_path / "music", b"!keep.mp3\n", rules.below("music"))
    assert of_file("keep.mp3", rules) == "matches .transcribeignore"
    assert of_file("keep.mp3", nearer) is None
    assert of_file("other.mp3", nearer) == "matches .transcribeignore"


def test_an_ignore_file_can_take_back_a_built_in_rule(tmp_path):
    rules, _ = rules_with(tmp_path, b"!race.f100.mp4\n!@eaDir\n")
    assert of_file("race.f100.mp4", rules) is None
    assert of_file("race.f101.mp4", rules) == "temporary"
    assert of_folder("@eaDir", rules) is None


def test_a_pattern_matches_names_that_are_not_utf_8(tmp_path):
    rules, complaints = rules_with(tmp_path, b"\xef\xbb\xbf\xff*.mp3\n")
    assert complaints == ()
    assert of_file(os.fsdecode(b"\xffx.mp3"), rules) == "matches .transcribeignore"
    assert of_file("x.mp3", rules) is None


def test_a_line_that_is_no_pattern_is_reported_and_the_others_hold(tmp_path):
    rules, complaints = rules_with(tmp_path, b"*-trailer.*\n!\n")
    assert [each.reason for each in complaints] == ["line 2 is no pattern and does nothing"]
    assert of_file("a-trailer.mp4", rules)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "huge", "binary"])
def test_an_ignore_file_that_cannot_be_used_is_reported_and_nothing_else(tmp_path, kind):
    path = tmp_path / IGNORE_FILE
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        path.write_bytes(bytes(2**20 + 1))
    else:
        path.write_bytes(bytes(range(256)) * 10)
    rules, complaints = RULES.with_file_of(tmp_path)
    assert of_file("film.mp3", rules) is None
    if kind != "binary":
        assert [each.path for each in complaints] == [path]


def test_an_ignore_file_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "patterns").write_text("*.mp3")
    (tmp_path / IGNORE_FILE).symlink_to("patterns")
    rules, [complaint] = RULES.with_file_of(tmp_path)
    assert of_file("film.mp3", rules) is None
    assert complaint.reason == "cannot be read (a link, which is not followed)"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.mark.parametrize(
    ("patterns", "name"),
    [
        ("*.mp3\n!a.mp3", "a.mp3"),
        ("!a.mp3\n*.mp3", "a.mp3"),
        ("/a.mp3", "a.mp3"),
        ("b/a.mp3", "a.mp3"),
        ("**/a.mp3", "a.mp3"),
        ("a.mp3 ", "a.mp3"),
        ("a.mp3\\ ", "a.mp3 "),
        ("\\#a.mp3", "#a.mp3"),
        ("#a.mp3", "#a.mp3"),
        ("\\!a.mp3", "!a.mp3"),
        ("[ab].mp3", "b.mp3"),
        ("[!ab].mp3", "b.mp3"),
        ("?.mp3", "b.mp3"),
        ("a.mp3/", "a.mp3"),
        ("A.mp3", "a.mp3"),
    ],
)
def test_patterns_mean_what_they_mean_to_git(repository, patterns, name):
    (repository / ".gitignore").write_text(patterns)
    asked = ["git", "-C", str(repository), "check-ignore", "-q", "--no-index", "--", name]
    does_git = subprocess.run(asked, check=False).returncode == 0
    rules, _ = rules_with(repository, patterns.encode())
    suffixes = Rules(IgnoreOptions(frozenset({".mp3", ".mp3 "})), rules.patterns)
    assert (of_file(name, suffixes) == "matches .transcribeignore") == does_git


@given(st.binary(max_size=40), st.text(max_size=12))
def test_no_ignore_file_and_no_name_is_trouble(tmp_path_factory, content, name):
    folder = tmp_path_factory.getbasetemp() / "any"
    rules, _ = rules_with(folder, content)
    for asked in (rules, rules.below("a")):
        of_file(f"{name}.mp3", asked)
        of_folder(name, asked)
