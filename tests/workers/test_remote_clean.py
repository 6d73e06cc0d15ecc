"""What is kept of fetched media, and for how long."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.files import locked_folder
from pipeline.folder import Done, output_id
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, OutputOptions, SpeechOptions
from workers.remote import borrowed, expected, let_go, place_of
from workers.remote_clean import KEPT_S, clean_remote
from workers.web import WebOptions

URL = "https://media.example/talk.mp3"
SOUND = b"sound" * 100


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def fetched(home):
    """A file that came from the web long ago."""
    return there(home, "talk.mp3")


def there(home, name):
    path = place_of(URL, home).with_name(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SOUND)
    (path.parent / "lock").touch()
    for file in path.parent.iterdir():
        os.utime(file, (1e9, 1e9))
    return path


def left(home):
    return sorted(path.name for path in home.glob("remote/*/*"))


def job_of(path):
    return Job(take(path), SpeechOptions(language="en"), OutputOptions(output_dir=path.parents[2]))


def test_what_no_job_needs_is_removed(home, fetched):
    assert clean_remote(home, everything=False) == len(SOUND)
    assert list(home.glob("remote/*")) == []
    assert clean_remote(home, everything=False) == 0


def test_what_a_job_can_go_on_with_stays_unless_everything_is_to_go(home, fetched):
    store = Store(home)
    with store.open_folder(job_of(fetched)):
        pass
    store.clean(everything=False)
    assert clean_remote(home, everything=False) == 0
    assert left(home) == ["lock", "talk.mp3"]
    store.clean(everything=True)
    assert clean_remote(home, everything=True) == len(SOUND)
    assert left(home) == []


def test_what_is_being_worked_on_stays_whatever_is_to_go(home, fetched):
    store = Store(home)
    with store.open_folder(job_of(fetched)):
        store.clean(everything=True)
        clean_remote(home, everything=True)
        assert left(home) == ["lock", "talk.mp3"]


def test_what_somebody_has_borrowed_stays(home, fetched):
    with borrowed(URL, home, WebOptions(offline=True), lambda: None):
        clean_remote(home, everything=True)
        assert fetched.read_bytes() == SOUND


def test_a_download_that_was_cut_short_may_go_on_for_a_day(home):
    part = there(home, ".0123.part")
    changed_s = part.stat().st_mtime
    assert clean_remote(home, everything=False, now_s=changed_s + KEPT_S - 1) == 0
    assert part.exists()
    assert clean_remote(home, everything=False, now_s=changed_s + KEPT_S + 1) == len(SOUND)
    assert left(home) == []


def test_a_name_stays_with_its_subtitles_though_its_sound_goes(home, fetched):
    """Else another address's file of that name would take them for its own."""
    srt = home / "talk.srt"
    srt.touch()
    store, job = Store(home), job_of(fetched)
    with store.open_folder(job) as folder:
        assert store.outputs.claim((srt,), fetched)
        folder.finish(Done(output_id(job), (srt,)))
    store.clean(everything=False)
    assert clean_remote(home, everything=False) == len(SOUND)
    assert fetched.read_bytes() == b""
    assert not store.outputs.claim((srt,), Path("/elsewhere/talk.mp3"))
    srt.unlink()
    assert clean_remote(home, everything=False) == 0
    assert left(home) == []


def test_whoever_comes_while_it_is_removed_finds_it_gone_or_whole(home, fetched):
    """Borrowers and cleaners meet often; nobody is lent a file that is gone."""
    options = WebOptions(offline=True)
    ended = threading.Event()

    def clean():
        while not ended.is_set():
            clean_remote(home, everything=True)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for _ in range(300):
            there_again(home)
            try:
                with borrowed(URL, home, options, lambda: None) as path:
                    assert path.read_bytes() == SOUND
            except Exception as error:  # noqa: BLE001  - it was removed first: none is downloaded
                assert type(error).__name__ in ("BadOption", "Busy")  # noqa: PT017  - not always raised
    finally:
        ended.set()
        cleaner.join()


def there_again(home):
    path = place_of(URL, home)
    with locked_folder(path.parent) as is_alone:
        if is_alone:
            path.write_bytes(SOUND)


def test_an_address_whose_job_failed_for_good_is_let_go(home, fetched):
    let_go(URL, home)
    assert clean_remote(home, everything=False) == 0
    assert left(home) == []
    assert replace(expected(URL), size_bytes=0) == expected(URL)
