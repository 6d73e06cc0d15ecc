"""Running ffmpeg and ffprobe on files from strangers.

Goes in: a command line. Comes out: its lines as they come, how it ended, or an error in words.
Does not know: what the commands are for. Here is what ffmpeg may open, and how it is ended.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal

from pipeline.demuxers import DEMUXERS
from pipeline.errors import MachineError, StorageFailed, ToolFailed, ToolMissing
from pipeline.leash import by_ourselves, by_setpriv
from pipeline.source import display

if TYPE_CHECKING:
    from pathlib import Path

_COMPLAINT_CHARS = 300  # of one line; a refused codec is answered with the whole list
_COMPLAINT_LINES = 100
_KILLED_S = 5.0  # how long the killed may take to go
_READ_BYTES = 65_536
_HEED_EVERY_S = 0.5

_run_before: set[str] = set()  # programs that were started well, and so can be

Heed = Callable[[], object]  # may raise, where the work is to end

# How far ffmpeg reads to find all tracks; its own 5 MB miss the late tracks of recorded broadcasts.
_PROBE_BYTES = 50_000_000
_ANALYSE_US = 60_000_000
_MAX_STREAMS = 256
_MAX_ALLOC_BYTES = 512 * 1024**2  # of one allocation: a header that lies about a size stops here


@dataclass(frozen=True, slots=True)
class Tools:
    """The two programs, and how long they may be silent."""

    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"
    stall_s: float = 120.0  # converting: without getting any further
    probe_s: float = 60.0  # probing: in all


def heedless() -> None:
    """Nobody wants it to stop."""


@dataclass(frozen=True, slots=True)
class Patience:
    """With a program that is waited for. Its answers do not depend on who waits."""

    limit_s: float  # may pass without getting any further
    heed: Heed = field(default=heedless, compare=False)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended that was not killed."""

    return_code: int
    complaints: tuple[str, ...]  # the last lines of stderr, each cut short


# ── what ffmpeg may open ─────────────────────────────────────────────────────────────────────


def locator(path: Path) -> str:
    """The name for ffmpeg's ears: neither a dash, a colon nor `concat:` means anything in it."""
    return f"file:{path.absolute()}"


def input_options(tool: str, patience: Patience) -> dict[str, str]:
    """Options to put before `-i`. Raises ToolMissing, ToolFailed.

    With video decoders closed a crafted picture finds nothing to break (CVE-2026-8461); `-vn`
    would not do, since ffmpeg decodes some video of any file to find out what it is.
    """
    return {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(DEMUXERS),
        "codec_whitelist": ",".join(decoders(tool, patience, "A")),
        "probesize": str(_PROBE_BYTES),
        "analyzeduration": str(_ANALYSE_US),
        "max_streams": str(_MAX_STREAMS),
    }


def global_options() -> tuple[str, ...]:
    """Options for any place in the line."""
    return ("-hide_banner", "-max_alloc", str(_MAX_ALLOC_BYTES))


@cache
def decoders(tool: str, patience: Patience, kind: Literal["A", "V", "S"]) -> tuple[str, ...]:
    """The decoders for audio, video or subtitles that this ffmpeg or ffprobe was built with."""
    lines: list[str] = []
    run([tool, "-hide_banner", "-decoders"], None, patience, lines.append)
    _, _, table = "\n".join(lines).partition("------\n")
    rows = [line.split() for line in table.splitlines()]
    names = tuple(row[1] for row in rows if len(row) > 1 and row[0].startswith(kind))
    if not names:
        raise ToolFailed(f"{display(tool)} names no decoders: check that it is a working ffmpeg.")
    return names


# ── running ──────────────────────────────────────────────────────────────────────────────────


def run(
    command: list[str], path: Path | None, patience: Patience, on_line: Callable[[str], object]
) -> Finished:
    """Run a program to its end; `path` is the file it works on, named in errors.

    `on_line` is given each line of its stdout and gives something true if the work got further; the
    program is killed, and its children with it, when that has not happened for too long, or when
    anything is raised here. `patience.heed` is called at least once a second, whatever comes.
    Raises ToolMissing, ToolFailed (hung, or killed by a signal).
    """
    process = _start(command)
    try:
        finished = _watch(process, patience, on_line)
    except _StalledError as error:
        raise ToolFailed(
            f"{_doing(command, path)} got no further for {patience.limit_s:g} s and was stopped: "
            "check the disk or network folder that it reads."
        ) from error
    finally:
        _end(process)
    if finished.return_code < 0:
        number = -finished.return_code
        raise ToolFailed(
            f"{_doing(command, path)} was killed by signal {number} ({signal.strsignal(number)}): "
            "free some memory if it ran out, else install another ffmpeg."
        )
    return finished


def failure(command: list[str], path: Path, finished: Finished) -> MachineError:
    """Why the program gave up, in its own last meaningful words."""
    if any("No space left on device" in line for line in finished.complaints):
        return StorageFailed(f"{_doing(command, path)} filled the disk: free some space.")
    words = _last_words(finished.complaints) or f"exit code {finished.return_code}"
    return ToolFailed(
        f"{_doing(command, path)} failed: {display(words)}. Check that the file plays."
    )


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    program = shutil.which(command[0])
    leash = by_setpriv() if program in _run_before else by_ourselves()
    try:
        process = subprocess.Popen(
            [*leash.before, program, *command[1:]] if program else command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # one group to kill; Ctrl-C reaches us alone
            preexec_fn=leash.between,  # noqa: PLW1509  - runs no Python code, takes no lock
        )
    except FileNotFoundError as error:
        raise ToolMissing(
            f"{display(command[0])} is not installed, or not on PATH: install ffmpeg, which brings "
            "ffprobe (apt install ffmpeg, dnf install ffmpeg-free, brew install ffmpeg)."
        ) from error
    except OSError as error:
        raise ToolMissing(
            f"{display(command[0])} cannot be run ({error.strerror}): install ffmpeg again."
        ) from error
    if program:
        _run_before.add(program)
    return process


class _StalledError(Exception):
    """No progress for too long."""


def _watch(
    process: subprocess.Popen[bytes], patience: Patience, on_line: Callable[[str], object]
) -> Finished:
    """Read both pipes as they fill, so that neither can block the program, until both close."""
    complaints: deque[str] = deque(maxlen=_COMPLAINT_LINES)
    assert process.stdout is not None
    assert process.stderr is not None
    wait = _Wait(patience)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, _Lines())
        selector.register(process.stderr, selectors.EVENT_READ, _Lines(_COMPLAINT_CHARS))
        while selector.get_map():
            for key, _ in selector.select(wait.piece_s()):
                data = os.read(key.fd, _READ_BYTES)
                lines = key.data.feed(data)
                if not data:
                    selector.unregister(key.fileobj)
                if key.fileobj is process.stderr:
                    complaints.extend(lines)
                elif any([on_line(line) for line in lines]):  # noqa: C419  - all are to be told
                    wait.begin_again()
            wait.check()
    while process.poll() is None:
        wait.check()
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait.piece_s())
    return Finished(process.returncode, tuple(complaints))


class _Wait:
    """Waiting in pieces, so that a wish to stop is heeded although nothing comes."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.begin_again()

    def begin_again(self) -> None:
        self._deadline_s = time.monotonic() + self._patience.limit_s

    def piece_s(self) -> float:
        """How long to wait next. Raises what `heed` raises."""
        self._patience.heed()
        return max(0.0, min(_HEED_EVERY_S, self._deadline_s - time.monotonic()))

    def check(self) -> None:
        """After a look at what came: we may have been frozen, and the program gone on. Raises."""
        if time.monotonic() > self._deadline_s:
            raise _StalledError


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole group unless the program has ended by itself, and leave no zombie."""
    if process.returncode is None:  # not reaped yet: its number cannot belong to anyone else
        with suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies only
            os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):  # a dead network share keeps even the killed
        process.wait(_KILLED_S)


@dataclass(slots=True)
class _Lines:
    """Cuts a stream of bytes into lines, of which it keeps the first `limit` characters."""

    limit: int | None = None
    rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[str]:
        """Give the lines that are now complete; no data is the end and completes the last one."""
        self.rest += data
        if not data and self.rest:
            self.rest += b"\n"
        *lines, rest = self.rest.replace(b"\r", b"\n").split(b"\n")
        self.rest = rest if self.limit is None else rest[: 4 * self.limit]
        return [line.decode(errors="replace")[: self.limit] for line in lines if line]


def _doing(command: list[str], path: Path | None) -> str:
    tool = display(command[0])
    return tool if path is None else f"{tool}, reading {display(path)},"


def _last_words(complaints: tuple[str, ...]) -> str:
    """The last line that says something, without the address of the object that said it."""
    lines = (re.sub(r"^(\[[^]]* @ 0x[0-9a-f]+\] )+", "", line) for line in reversed(complaints))
    return next((line for line in lines if not line.startswith(_HOLLOW)), "").rstrip(". ")


_HOLLOW = ("Conversion failed", "Last message repeated", "    Last message repeated", "Exiting")
