"""Stopped or killed, the same command goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from models.demo import EPISODE

PATIENCE_S = 120.0
SOON_S = 4.0


def until(condition):
    """Wait for something that another process does."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.02)


def heard_lines(program):
    return sum(log.read_bytes().count(b"\n") for log in program.home.glob("jobs/*/heard.jsonl"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, new_program):
    """The subtitles of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    program = new_program(folder / "home", folder)
    assert program.run("--model", "demo", "-o", folder, EPISODE).code == 0
    return (folder / "episode.en.srt").read_bytes()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_goes_on_and_ends_with_the_same_subtitles(program, undisturbed, how):
    command = ("--model", "demo", "--batch-size", "1", "-o", program.folder, EPISODE)
    process = program.start(*command)
    until(lambda: heard_lines(program) >= 2)
    process.send_signal(how)
    said, _ = process.communicate(timeout=PATIENCE_S)
    if how is not signal.SIGKILL:
        assert process.returncode == 130
        assert "the same command goes on" in said
        assert "Traceback" not in said
    assert list(program.folder.iterdir()) == []

    ended = program.run(*command)
    assert ended.code == 0
    assert "continued at" in ended.out
    assert (program.folder / "episode.en.srt").read_bytes() == undisturbed


def test_an_impatient_ctrl_c_ends_it_all_the_same(program):
    process = program.start("--model", "demo", "-o", program.folder, EPISODE)
    until(lambda: heard_lines(program) >= 1)
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in said
    assert "terminate called" not in said
    assert list(program.folder.iterdir()) == []


def test_ctrl_c_while_converting_leaves_no_ffmpeg_and_no_half_file(program):
    media = program.folder / "long.wav"
    sound = ["-f", "lavfi", "-i", "anoisesrc=r=48000:d=3600"]
    subprocess.run(["ffmpeg", "-v", "error", *sound, str(media)], check=True)
    process = program.start("--model", "demo", media)
    until(lambda: list(program.home.glob("jobs/*/*.part")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert list(program.home.glob("jobs/*/*.part")) == []
    assert list(program.home.glob("jobs/*/*.wav")) == []
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(b"long.wav" in command for command in running)


@pytest.mark.parametrize("tool", ["ffmpeg", "ffprobe"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_is_stopped_soon_though_its_tool_is_silent(program, monkeypatch, tool, how):
    tools = program.home / "tools"
    tools.mkdir(parents=True)
    (tools / tool).write_text(f"#!/bin/sh\ntouch {tools}/silent; sleep 1000\n")
    (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    process = program.start("--model", "demo", "-o", program.folder, EPISODE)
    until((tools / "silent").exists)
    process.send_signal(how)
    process.communicate(timeout=SOON_S)
    assert process.returncode == 130
    assert list(program.folder.iterdir()) == []
