"""Media made by ffmpeg, once a session, and programs that misbehave in ffmpeg's place."""

from __future__ import annotations

import os
import select
import subprocess
import wave
from contextlib import suppress

import numpy as np
import pytest

from pipeline.ffmpeg import Tools


class MediaFolder:
    """Makes media on demand; asking twice for a name gives the same file."""

    def __init__(self, folder):
        self.folder = folder

    def make(self, name, *options):
        path = self.folder / name
        if not path.exists():
            command = ["ffmpeg", "-nostdin", "-v", "error", *options, f"file:{path}"]
            subprocess.run(command, check=True, timeout=60)
        return path

    def tone(self, name, seconds, *options):
        return self.make(name, "-f", "lavfi", "-i", f"sine=440:r=48000:d={seconds}", *options)

    def film(self, name, *options, late_s=0):
        """6 s of pictures, and a tone from `late_s` to the end."""
        return self.make(
            name,
            *("-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=6"),
            *("-f", "lavfi", "-i", f"sine=440:r=48000:d={6 - late_s}"),
            *("-filter_complex", f"[1]asetpts=PTS+{late_s}/TB[a]", "-map", "0:v", "-map", "[a]"),
            *options,
        )

    def half(self, path):
        half = path.with_name(f"half-{path.name}")
        half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return half


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    return MediaFolder(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def tools():
    return Tools(stall_s=30, probe_s=30)


@pytest.fixture
def fake_tool(tmp_path):
    """Make a shell script that knows ffmpeg's decoders, and otherwise does what it is told."""

    def make(body):
        path = tmp_path / "fake-ffmpeg"
        answer = 'case "$*" in *-decoders*) exec ffmpeg -hide_banner -decoders;; esac\n'
        path.write_text(f"#!/bin/sh\n{answer}{body}\n")
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def silent_tool(tmp_path, life):
    """Make a tool that hangs in silence when it is asked for one thing."""

    def make(asked, tool="ffmpeg"):
        path = tmp_path / f"silent-{tool}"
        hang = f"exec 3>{life.path}; echo begun >&3; sleep 300"
        path.write_text(f'#!/bin/sh\ncase "$*" in *{asked}*) {hang};; esac\nexec {tool} "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


class Life:
    """A FIFO that a program holds open for as long as it lives."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def interrupt_once_begun(self):
        """Ctrl-C, as soon as the program has written a line."""
        with suppress(BlockingIOError):
            if os.read(self.descriptor, 100):
                raise KeyboardInterrupt

    @property
    def ended(self):
        """Whether all who held it are gone, or go within seconds: SIGKILL takes a moment."""
        poller = select.poll()
        poller.register(self.descriptor, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poller.poll(5000))


@pytest.fixture
def life(tmp_path):
    life = Life(tmp_path / "life")
    yield life
    os.close(life.descriptor)


def read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (1, 16000, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


@pytest.fixture
def samples():
    """The samples of a 16 kHz mono s16 WAV, read by the standard library."""
    return read_wav
