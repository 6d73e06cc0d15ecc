"""Whatever ffmpeg does, it ends, takes its children along, and the reason is told in words."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.demuxers import DEMUXERS
from pipeline.errors import StorageFailed, ToolFailed, ToolMissing
from pipeline.ffmpeg import Finished, Patience, decoders, failure, locator, run
from pipeline.leash import by_setpriv

TALK = Path("talk.mp3")


def shell(script):
    return ["sh", "-c", script]


def test_lines_are_told_as_they_come():
    lines = []
    finished = run(
        shell("echo one; echo two; printf three; echo oh >&2"), TALK, Patience(10), lines.append
    )
    assert lines == ["one", "two", "three"]
    assert finished == Finished(0, ("oh",))


def test_a_program_that_complains_endlessly_neither_blocks_nor_fills_memory():
    script = "yes 'a complaint' | head -c 3000000 >&2; head -c 1000000 /dev/zero >&2; exit 3"
    finished = run(shell(script), TALK, Patience(30), print)
    assert finished.return_code == 3
    assert len(finished.complaints) <= 100
    assert max(len(line) for line in finished.complaints) <= 300


def test_a_long_line_is_told_whole():
    lines = []
    run(shell("head -c 1000000 /dev/zero | tr '\\0' x"), TALK, Patience(30), lines.append)
    assert [len(line) for line in lines] == [1_000_000]


def test_a_missing_program_says_how_to_install_it():
    with pytest.raises(ToolMissing, match="no-such-ffmpeg is not installed.*apt install ffmpeg"):
        run(["no-such-ffmpeg"], TALK, Patience(10), print)


NO_PROGRAMS = {
    "not executable": (0o644, b"#!/bin/sh"),
    "empty": (0o755, b""),
    "for another processor": (0o755, b"\x7fELF" + bytes(60)),
    "a page of a web server": (0o755, b"<html><body>404</body></html>"),
}


@pytest.mark.parametrize(("mode", "content"), NO_PROGRAMS.values(), ids=NO_PROGRAMS)
def test_a_program_that_cannot_be_run_says_so(tmp_path, mode, content):
    tool = tmp_path / "ffmpeg"
    tool.write_bytes(content)
    tool.chmod(mode)
    for _ in range(2):
        with pytest.raises(ToolMissing, match="cannot be run"):
            run([str(tool)], TALK, Patience(10), print)


def test_a_hanging_program_is_stopped_with_its_children(life):
    script = f"exec 3>{life.path}; sleep 300 & sleep 300"
    with pytest.raises(ToolFailed, match=r"sh, reading talk\.mp3, got no further for 0\.3 s"):
        run(shell(script), TALK, Patience(0.3), print)
    assert life.ended


SILENT = {
    "says nothing": "sleep 300 & sleep 300",
    "says what is no progress": "yes",
    "complains": "yes >&2",
    "has closed its pipes": "exec >&- 2>&-; sleep 300",
}


@pytest.mark.parametrize("script", SILENT.values(), ids=SILENT)
def test_a_wish_to_stop_is_heeded_within_a_second_whatever_comes(life, script):
    asked_s = []

    def heed():
        asked_s.append(time.monotonic())
        if len(asked_s) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(shell(f"exec 3>{life.path}; {script}"), TALK, Patience(300, heed), lambda _: False)
    assert max(later - one for one, later in pairwise(asked_s)) < 1
    assert life.ended


def test_whoever_waits_no_decoders_are_asked_for_twice(tmp_path):
    tool = tmp_path / "ffmpeg"
    tool.write_text(f"#!/bin/sh\necho >> {tmp_path}/asked; exec ffmpeg -decoders\n")
    tool.chmod(0o755)
    for heed in (bool, int, str):
        assert "flac" in decoders(str(tool), Patience(30, heed), "A")
    assert (tmp_path / "asked").read_text() == "\n"


def test_talking_without_progress_is_hanging(life):
    with pytest.raises(ToolFailed, match="got no further"):
        run(shell(f"exec 3>{life.path}; yes"), TALK, Patience(0.3), lambda _: False)
    assert life.ended


def test_closing_the_pipes_without_ending_is_hanging():
    with pytest.raises(ToolFailed, match="got no further"):
        run(shell("exec >&- 2>&-; sleep 300"), TALK, Patience(0.3), print)


def test_progress_keeps_a_slow_program_alive():
    script = "for i in 1 2 3; do sleep 0.3; echo $i; done"
    assert run(shell(script), TALK, Patience(0.8), bool).return_code == 0


def test_a_program_killed_by_a_signal_is_told():
    with pytest.raises(ToolFailed, match=r"reading talk\.mp3, was killed by signal 9 \(Killed\)"):
        run(shell("kill -9 $$"), TALK, Patience(10), print)


def test_an_interrupt_kills_the_whole_group(life):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(
            shell(f"exec 3>{life.path}; sleep 300 & echo up; sleep 300"),
            TALK,
            Patience(60),
            interrupt,
        )
    assert life.ended


needs_setpriv = pytest.mark.skipif(not by_setpriv().before, reason="no setpriv of util-linux")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("starts", [1, pytest.param(2, marks=needs_setpriv)], ids=["1st", "2nd"])
def test_the_program_dies_with_us_even_when_we_are_killed(tmp_path, starts):
    """The first time it is started by ourselves, then by setpriv."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = ["sh", "-c", f"exec 3>{pipe}; echo up >&3; exec sleep 300"]
    code = f"""
from pipeline.ffmpeg import Patience, run
for command in [["sh", "-c", ""], {command!r}][-{starts}:]:
    run(command, None, Patience(300), print)
"""
    us = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    with us, pipe.open("rb") as file:
        assert file.readline() == b"up\n"
        us.send_signal(signal.SIGKILL)
        assert file.read() == b""  # closed by the death of the last who held it


@needs_setpriv
def test_a_process_that_holds_much_is_not_copied_for_a_program():
    """What was shared with a copy, even for a moment, is faulted in again when it is written."""
    pages, page_bytes = 40 * 2**20 // mmap.PAGESIZE, mmap.PAGESIZE
    held = mmap.mmap(-1, pages * page_bytes, flags=mmap.MAP_PRIVATE)
    held.madvise(mmap.MADV_NOHUGEPAGE)

    def faults_of_writing():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held[::page_bytes] = bytes(pages)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    run(["true"], None, Patience(30), print)  # the first time may be another way
    assert faults_of_writing() >= pages
    run(["true"], None, Patience(30), print)
    assert faults_of_writing() < pages / 10


FAILURES = {
    "disk full": (
        "[out] av_interleaved_write_frame(): No space left on device",
        StorageFailed,
        "filled the disk",
    ),
    "last words": (
        "[mov,mp4 @ 0x55f3] error reading header\nConversion failed!",
        ToolFailed,
        r"talk\.mp3, failed: error reading header\. ",
    ),
    "nothing said": ("", ToolFailed, r"failed: exit code 1\."),
    "escapes": ("\x1b[31mred", ToolFailed, r"failed: \\x1b\[31mred\."),
}


@pytest.mark.parametrize(("stderr", "kind", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_the_last_words_that_mean_something(stderr, kind, words):
    error = failure(["ffmpeg"], TALK, Finished(1, tuple(stderr.splitlines())))
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error


def test_decoders_are_told_apart_by_kind():
    assert {"aac", "pcm_s16le", "flac"} <= set(decoders("ffmpeg", Patience(30), "A"))
    assert "h264" not in decoders("ffmpeg", Patience(30), "A")
    assert "h264" in decoders("ffprobe", Patience(30), "V")


def test_a_program_without_decoders_is_no_ffmpeg():
    with pytest.raises(ToolFailed, match="names no decoders"):
        decoders("true", Patience(30), "A")


OPEN_OTHERS = ("hls", "applehttp", "concat", "dash", "imf", "sdp", "rtsp", "rtp", "sap", "mlv")
NO_FILES = ("lavfi", "tty", "image2", "gif", "srt", "alsa", "x11grab", "avisynth", "data", "xbin")


@pytest.mark.parametrize("name", OPEN_OTHERS + NO_FILES)
def test_formats_that_open_others_or_hold_no_sound_are_barred(name):
    assert name not in DEMUXERS


def test_this_ffmpeg_knows_the_common_formats_by_the_names_we_allow():
    command = ["ffmpeg", "-v", "error", "-demuxers"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    known = {name for line in text.splitlines() for name in line[4:].split(" ")[0].split(",")}
    known |= {name for line in text.splitlines() for name in line.split()[1:2]}
    common = {"mp3", "wav", "ogg", "flac", "aac", "mpegts", "mpeg", "avi", "asf", "amr", "aiff"}
    assert common <= known & set(DEMUXERS)


def test_a_locator_is_absolute_and_marked_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locator(Path("-i")) == f"file:{tmp_path}/-i"
