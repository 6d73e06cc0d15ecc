"""The child process that llama.cpp runs in: how it is started, heard, and ended.

Goes in: an order. Comes out: the child's one answer, and why it ended. Does not know: HTTP, what
the model is asked.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from models.text import llama_child
from pipeline.errors import ModelUnavailable, TextEngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable

_COMMAND = (sys.executable, "-P", llama_child.__file__)
_MOST_WORDS_BYTES = 8192  # of what it says on standard error, from the end
_LINGER_S = 0.5  # between the end of the line and the end of the process
# How llama.cpp and the C++ library tell that there is no memory; the last is an assertion, which
# may come before the words that explain it.
_SHORTAGE = (
    *("failed to alloc", "unable to alloc", "cannot allocate", "insufficient memory"),
    *("out of memory", "bad_alloc", "mem_buffer != null"),
)


@dataclass(frozen=True, slots=True)
class Order:
    """What the child is told."""

    path: str
    name: str
    key: str
    context_tokens: int
    batch_tokens: int
    gpu_layers: int
    gpu_index: int
    threads: int | None
    most_bytes: int | None  # of its own memory, the mapped file aside; None: drivers need more


class Child:
    """The process, what it answers, and its last words."""

    def __init__(self, order: Order | None) -> None:
        self._words: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  - closed by end()
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C is for us
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then it has ended, which shows when it is read
            line = json.dumps(None if order is None else asdict(order))
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def said(self, most_s: float, beat_s: float, heed: Callable[[], None]) -> dict[str, Any]:
        """Its one line. Raises ModelUnavailable, TextEngineFailed."""
        stdout = self._process.stdout
        assert stdout is not None
        end_s = time.monotonic() + most_s
        while not select.select([stdout], [], [], beat_s)[0]:
            heed()
            if time.monotonic() > end_s:
                raise TextEngineFailed(f"llama.cpp was not ready after {most_s:g} s: try again.")
        line = stdout.readline()
        if not line:
            raise TextEngineFailed(f"llama.cpp ended at once ({self.last_words}).")
        said: dict[str, Any] = json.loads(line)
        if "lacking" in said:
            raise not_installed(said["lacking"])
        return said

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def lingers(self) -> bool:
        """Whether it is still there; one that ends is given a moment for it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LINGER_S)
        return self._process.returncode is None

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether it said so, or was killed by somebody who is not us."""
        words = self._tail().lower()
        is_said = any(each in words for each in _SHORTAGE)
        return is_said or self._process.returncode == -signal.SIGKILL

    @property
    def last_words(self) -> str:
        """The first error among the last that it told, or the signal that ended it."""
        lines = [line.rpartition(" E ") for line in self._tail().splitlines()]
        errors = [said for _, mark, said in lines if mark or "ASSERT" in said]
        if errors:
            return "".join(filter(str.isprintable, errors[0].strip()))[:300]
        code = self._process.poll()
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def end(self) -> None:
        """Kill it, and wait until its memory is back."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._words):
            if file is not None:
                with suppress(OSError):
                    file.close()

    def _tail(self) -> str:
        if self._words.closed:
            return ""
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - _MOST_WORDS_BYTES))
        return self._words.read().decode(errors="replace")


def not_installed(why: str) -> ModelUnavailable:
    """What to install."""
    return ModelUnavailable(
        f"A language model of this machine is run by llama.cpp, which cannot be loaded ({why}): "
        "install it with: pip install '.[llm]', in the folder that transcribe was installed from, "
        "or give the address of a server with --llm."
    )
