"""The job's folder survives what a machine does to it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from pipeline.errors import Busy
from pipeline.files import whole
from pipeline.folder import Done, TwinKey, name_in, output_id, work_id
from pipeline.store import Store
from pipeline.types import (
    Heard,
    Job,
    LanguageGuess,
    OutputOptions,
    Source,
    Span,
    SpeechOptions,
    Window,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


@pytest.fixture
def job(tmp_path):
    media = tmp_path / "talk.mp3"
    media.write_bytes(b"sound")
    now = media.stat()
    return Job(Source(media, now.st_size, now.st_mtime_ns), SpeechOptions(), OutputOptions())


def heard(start_s):
    return Heard(Window(start_s, start_s + 1, (Span(start_s, start_s + 1),)), ())


def test_a_stage_is_done_once(store, job):
    asked = []

    def guess():
        asked.append(1)
        return LanguageGuess("en", 0.9)

    for _ in range(2):
        with store.open_folder(job) as folder:
            assert folder.once("language", LanguageGuess, guess) == LanguageGuess("en", 0.9)
    assert len(asked) == 1


@pytest.mark.parametrize("content", ["", "{", "null", "[" * 100_000, "7"])
def test_what_cannot_be_read_back_is_made_again(store, job, content):
    with store.open_folder(job) as folder:
        (folder.path / "language.json").write_text(content)
        made = folder.once("language", LanguageGuess, lambda: LanguageGuess("de", None))
    assert made.language == "de"


def test_a_line_that_a_crash_tore_is_cut_off_and_heard_again(store, job):
    with store.open_folder(job) as folder, folder.hear() as append:
        append(heard(0))
        append(heard(1))
    windows = (heard(0).window, heard(1).window)
    log = folder.path / "heard.jsonl"
    whole = log.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        log.write_bytes(whole[:cut])
        with store.open_folder(job) as again:
            assert again.known(windows) == 1
            with again.hear() as append:
                append(heard(1))
            assert again.known(windows) == 2
            assert tuple(again.said(windows)) == heard(0).segments + heard(1).segments


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda first, second: b"\0\0\0\n" + second, 0),
        (lambda first, second: first + b"garbage\n" + second, 1),
        (lambda first, second: first + first + second, 1),
        (lambda first, second: first + second + second, 2),
        (lambda first, second: second, 0),
    ],
)
def test_a_log_counts_as_far_as_it_goes_on_window_by_window(store, job, damage, kept):
    with store.open_folder(job) as folder, folder.hear() as append:
        append(heard(0))
        append(heard(1))
    log = folder.path / "heard.jsonl"
    log.write_bytes(damage(*log.read_bytes().splitlines(keepends=True)))
    windows = (heard(0).window, heard(1).window)
    with store.open_folder(job) as again:
        assert again.known(windows) == kept
        assert log.read_bytes().count(b"\n") == kept


def test_jobs_of_one_sound_may_lend_at_the_same_moment(store, job):
    twin = TwinKey("digest", job.speech)
    with store.open_folder(job) as folder:
        folder.lend(twin)
        (told,) = store.home.glob("twins/*")
        with whole(told) as part:  # as another job does just now
            folder.lend(twin)
            part.write_bytes(told.read_bytes())
    assert name_in(told) == folder.path.name


def test_two_processes_never_work_on_one_job(store, job):
    script = (
        "import sys, fcntl; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with store.open_folder(job) as folder:
        lock = folder.path / "lock"
    other = subprocess.Popen(
        [sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline()
        with pytest.raises(Busy, match="talk.mp3"), store.open_folder(job):
            pass
    finally:
        other.communicate(b"")
    with store.open_folder(job):
        pass


def test_the_folder_depends_on_what_is_heard_and_not_on_how_it_is_written(job):
    assert work_id(job) == work_id(replace(job, output=OutputOptions(formats=("vtt",))))
    assert work_id(job) != work_id(replace(job, speech=SpeechOptions(language="de")))
    assert work_id(job) != work_id(replace(job, source=replace(job.source, mtime_ns=7)))
    assert output_id(job) == output_id(replace(job, output=OutputOptions(overwrite=True)))
    assert output_id(job) != output_id(replace(job, output=OutputOptions(formats=("vtt",))))


def test_finishing_lets_the_big_file_go_and_keeps_what_was_heard(store, job):
    with store.open_folder(job) as folder, folder.hear() as append:
        append(heard(0))
        folder.audio.write_bytes(b"RIFF")
        folder.finish(Done("x", (Path("/m/talk.en.srt"),)))
        assert not folder.audio.exists()
        assert tuple(folder.said((heard(0).window,))) == heard(0).segments
        assert folder.read("done", Done) == Done("x", (Path("/m/talk.en.srt"),))


class TestClean:
    """`transcribe clean` removes what nobody needs."""

    def fill(self, store, job, *, done):
        with store.open_folder(job) as folder:
            folder.audio.write_bytes(b"x" * 1000)
            if done:
                folder.save("done", Done("x", ()))
        return folder.path

    def test_a_finished_job_goes_and_one_that_can_go_on_stays(self, store, job):
        finished = self.fill(store, job, done=True)
        waiting = self.fill(store, replace(job, speech=SpeechOptions(task="translate")), done=False)
        assert store.clean(everything=False) >= 1000
        assert not finished.exists()
        assert waiting.exists()
        store.clean(everything=True)
        assert not waiting.exists()

    @pytest.mark.parametrize("change", ["gone", "changed"])
    def test_a_job_whose_source_is_no_more_goes(self, store, job, change):
        folder = self.fill(store, job, done=False)
        if change == "gone":
            job.source.path.unlink()
        else:
            os.utime(job.source.path, ns=(1, 1))
        store.clean(everything=False)
        assert not folder.exists()

    def test_a_job_at_work_stays(self, store, job):
        with store.open_folder(job) as folder:
            store.clean(everything=True)
            assert folder.path.exists()

    def test_whoever_begins_while_a_folder_is_removed_keeps_what_it_saves(self, store, job):
        ended, lost = Event(), []

        def begin_again_and_again():
            while not ended.is_set():
                with suppress(Busy), store.open_folder(job) as folder:
                    folder.save("language", LanguageGuess("en", None))
                    lost.append(folder.read("language", LanguageGuess) is None)

        with ThreadPoolExecutor() as pool:
            other = pool.submit(begin_again_and_again)
            try:
                for _ in range(100):
                    with suppress(Busy), store.open_folder(job) as folder:
                        for number in range(20):  # the lock is neither first nor last of them
                            (folder.path / str(number)).touch()
                    store.clean(everything=True)
            finally:
                ended.set()
            other.result()
        assert lost
        assert not any(lost)
