"""A source is moved or deleted only after success, and never lost, whenever the program dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.errors import BadOption, SourceChanged, StorageFailed
from pipeline.source import take
from pipeline.types import Outcome
from workers.watch.after import After, parse, tidy

ROOT = Path(__file__).parents[3]
TIDYING = Path(__file__).with_name("tidying.py")
MEDIA, SRT = b"\1" * 100_000, b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n\n"


class Place:
    """A watched folder with one finished talk in it, and a folder to move it to."""

    def __init__(self, folder, archive):
        self.root = folder / "watched"
        self.media = self.root / "2024" / "talk.mp4"
        self.srt = self.media.with_name("talk.en.srt")
        self.archive = archive
        self.fill()

    def fill(self):
        self.media.parent.mkdir(parents=True, exist_ok=True)
        self.media.write_bytes(MEDIA)
        os.utime(self.media, (1_000_000_000, 1_000_000_000))
        self.srt.write_bytes(SRT)

    def tidy(self, after=None, outputs=None, source=None):
        outcome = Outcome(self.media, "done", (self.srt,) if outputs is None else outputs)
        tidied = tidy(outcome, source or take(self.media), self.root, after or After(self.archive))
        self.outcome = tidied.outcome
        return tidied.what

    def tidy_elsewhere(self, how):
        """In a process of its own, to which something happens."""
        words = [TIDYING, str(how), self.media, self.root, self.archive, self.srt]
        return subprocess.run(
            [sys.executable, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
            capture_output=True,
            text=True,
        )

    def empty(self):
        for folder in (self.root, self.archive):
            shutil.rmtree(folder, ignore_errors=True)

    def all_files(self, folder):
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, tmp_path / "archive")


@pytest.fixture
def far(tmp_path):
    """A place whose archive is on another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Place(tmp_path, Path(folder, "archive"))


@pytest.fixture(params=["place", "far"])
def either(request):
    return request.getfixturevalue(request.param)


# ── what was asked ───────────────────────────────────────────────────────────────────────────


def test_the_flag_says_where_to_or_delete(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse("delete") == After(None)
    assert parse("move:/archive") == After(Path("/archive"))
    assert parse("move:done:2024") == After(tmp_path / "done:2024")


@pytest.mark.parametrize("text", ["", "move", "move:", "remove", "delete:", "delete:/x", "Delete"])
def test_anything_else_is_refused(text):
    with pytest.raises(BadOption, match="write move:DIR or delete"):
        parse(text)


def test_a_file_is_no_folder_to_move_to():
    with pytest.raises(BadOption, match="give a folder"):
        parse(f"move:{__file__}")


# ── after success ────────────────────────────────────────────────────────────────────────────


def test_delete_leaves_the_outputs(place):
    assert place.tidy(After(None)) == "deleted"
    assert place.all_files(place.root) == {"2024/talk.en.srt": SRT}


def test_move_keeps_the_place_in_the_tree_and_takes_the_outputs_along(either):
    done = either.tidy()
    assert done == f"moved to {either.archive / '2024' / 'talk.mp4'}"
    assert either.all_files(either.root) == {}
    assert either.all_files(either.archive) == {"2024/talk.mp4": MEDIA, "2024/talk.en.srt": SRT}
    assert (either.archive / "2024" / "talk.mp4").stat().st_mtime == 1_000_000_000


def test_outputs_that_lie_elsewhere_stay_there(place, tmp_path):
    output = tmp_path / "subtitles" / "talk.en.srt"
    output.parent.mkdir()
    place.srt.rename(output)
    place.tidy(outputs=(output,))
    assert output.read_bytes() == SRT
    assert place.all_files(place.archive) == {"2024/talk.mp4": MEDIA}


@pytest.mark.parametrize("taken", ["talk.mp4", "talk.en.srt"])
def test_what_is_there_is_never_overwritten_and_names_stay_together(either, taken):
    folder = either.archive / "2024"
    folder.mkdir(parents=True)
    (folder / taken).write_bytes(b"mine")
    (folder / "talk (2).mp4").symlink_to("nowhere")
    assert either.tidy().endswith("talk (3).mp4")
    expected = {taken: b"mine", "talk (3).mp4": MEDIA, "talk (3).en.srt": SRT}
    assert either.all_files(folder) == expected


def test_outputs_of_another_name_are_given_a_number_too(place):
    place.srt = place.srt.rename(place.srt.with_name("en-talk.srt"))
    (place.archive / "2024").mkdir(parents=True)
    (place.archive / "2024" / "en-talk.srt").write_bytes(b"mine")
    place.tidy()
    expected = {"en-talk.srt": b"mine", "en-talk (2).srt": SRT, "talk (2).mp4": MEDIA}
    assert place.all_files(place.archive / "2024") == expected


def test_another_file_of_the_same_size_and_time_is_another_file(place):
    other = place.archive / "2024" / "talk.mp4"
    other.parent.mkdir(parents=True)
    other.write_bytes(MEDIA[::-1].replace(b"\1", b"\2"))
    os.utime(other, (1_000_000_000, 1_000_000_000))
    assert place.tidy().endswith("talk (2).mp4")
    assert other.read_bytes() != MEDIA


def test_what_an_earlier_try_has_brought_is_not_brought_again(either):
    either.tidy()
    either.fill()
    either.tidy()
    assert either.all_files(either.root) == {}
    assert either.all_files(either.archive) == {"2024/talk.mp4": MEDIA, "2024/talk.en.srt": SRT}


def test_whenever_the_program_dies_nothing_is_lost_and_the_next_try_ends_it(either):
    """The promise of the whole module: killed before each step that touches the disk."""
    for step in range(1, 100):
        ended = either.tidy_elsewhere(step)
        if ended.returncode == 0:
            break
        assert ended.returncode == 99
        folders = (either.root, either.archive)
        left = [content for folder in folders for content in either.all_files(folder).values()]
        assert MEDIA in left
        assert SRT in left
        if either.media.exists():
            assert either.srt.exists()  # so that it is known to be done
            either.tidy()
            assert either.all_files(either.root) == {}
        kept = either.all_files(either.archive)
        # killed between taking a name and filling it: then an empty file has that name, and the
        # next try takes a number, for the subtitles too
        found = [content for name, content in kept.items() if content and ".part" not in name]
        assert sorted(set(found)) == sorted((MEDIA, SRT))
        assert found.count(MEDIA) == 1
        either.empty()
        either.fill()
    assert step > 8


# ── without success, or when something is wrong ──────────────────────────────────────────────


@pytest.mark.parametrize("after", [After(None), None], ids=["delete", "move"])
class TestItStays:
    def test_when_it_failed_or_was_skipped(self, place, after):
        for state in ("failed", "skipped"):
            outcome = Outcome(place.media, state, (place.srt,))
            done = tidy(outcome, take(place.media), place.root, after or After(place.archive)).what
            assert done == "left where it is: nothing was written"
        assert place.tidy(after, outputs=()) == "left where it is: nothing was written"
        assert place.media.read_bytes() == MEDIA

    def test_when_an_output_is_gone_or_is_no_file(self, place, after):
        place.srt.unlink()
        assert place.tidy(after) == f"left where it is: {place.srt} is not there"
        place.srt.symlink_to(place.media)
        assert place.tidy(after) == f"left where it is: {place.srt} is not there"
        assert place.media.read_bytes() == MEDIA

    def test_when_it_is_another_than_was_worked_on(self, place, after):
        source = take(place.media)
        place.media.write_bytes(MEDIA + b"more")
        with pytest.raises(SourceChanged):
            place.tidy(after, source=source)
        assert place.media.exists()
        assert place.srt.exists()

    def test_when_it_is_a_link(self, place, after):
        place.media.rename(place.root / "real.mp4")
        place.media.symlink_to(place.root / "real.mp4")
        assert place.tidy(after) == "left where it is: it is a link"
        assert place.media.read_bytes() == MEDIA


def test_moved_to_where_it_is_it_stays(place):
    (place.root.parent / "alias").symlink_to(place.root)
    for folder in (place.root, place.root.parent / "alias"):
        assert place.tidy(After(folder)).startswith("left where it is: that is where")
    assert place.all_files(place.root) == {"2024/talk.mp4": MEDIA, "2024/talk.en.srt": SRT}


def test_a_folder_that_cannot_be_made_is_told(place):
    place.archive.write_text("a file")
    with pytest.raises(StorageFailed, match="archive/2024 cannot be written"):
        place.tidy()
    assert place.all_files(place.root) == {"2024/talk.mp4": MEDIA, "2024/talk.en.srt": SRT}


def test_a_source_that_grows_while_it_is_copied_stays(far):
    ended = far.tidy_elsewhere("grow")
    assert "SourceChanged" in ended.stderr
    assert far.all_files(far.root) == {"2024/talk.mp4": MEDIA + b"more", "2024/talk.en.srt": SRT}


def test_a_file_that_a_program_has_open_for_writing_stays_until_it_is_closed(tmp_path):
    place = Place(tmp_path, tmp_path / "archive")
    with place.media.open("ab"):  # a copy that pauses
        assert place.tidy() == "left where it is: a program has it open for writing"
        assert place.tidy(After(None)).startswith("left where it is")
    with place.media.open("rb"):  # a player
        assert place.tidy(After(None)) == "deleted"
