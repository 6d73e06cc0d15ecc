"""Telling others how files ended, without making anybody wait.

Goes in: outcomes. Comes out: what each teller does with them, in a thread of its own; what fails is
a remark. Does not know: what is worked on, whether anybody listens.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from threading import Condition, Event, Thread
from typing import IO, TYPE_CHECKING, Protocol

from pipeline import codec
from pipeline.errors import BadOption, TranscribeError
from pipeline.source import display

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.types import Outcome

    Pause = Callable[[float], bool]  # waits so many seconds; True: give up, there is no time left

NOTICE = "notice"  # the name of the threads
_SAID_BYTES = 300  # of what a command that failed said last
_MOST_CHARS = 20_000  # of a variable: Linux takes no longer one than 128 KiB


class Teller(Protocol):
    """Somebody who passes on how a file ended."""

    def tell(self, outcome: Outcome, pause: Pause) -> None:
        """Pass it on. Raises TranscribeError when that comes to nothing."""


class Notices:
    """Every teller has a thread and a queue of its own, so that none waits for another.

    `remark` is called in any thread. What comes while `most` wait is dropped, with a remark.
    """

    def __init__(
        self, tellers: tuple[Teller, ...], remark: Callable[[str], None], most: int = 1000
    ) -> None:
        self._lines = tuple(_Line(teller, remark, most) for teller in tellers)

    def tell(self, outcome: Outcome) -> None:
        """Have it passed on. Returns at once."""
        for line in self._lines:
            line.put(outcome)

    def close(self, within_s: float) -> None:
        """Pass on what waits, but no longer than this; then give up, with a remark."""
        ends_s = time.monotonic() + within_s
        for line in self._lines:
            line.end()
        for line in self._lines:
            line.join(max(0.0, ends_s - time.monotonic()))


class _Line:
    """One teller's queue and thread."""

    def __init__(self, teller: Teller, remark: Callable[[str], None], most: int) -> None:
        self._teller = teller
        self._remark = remark
        self._most = most
        self._changed = Condition()
        self._waiting: deque[Outcome] = deque()
        self._is_telling = False
        self._is_ending = False  # no more will come
        self._given_up = Event()
        self._thread = Thread(target=self._run, name=NOTICE, daemon=True)
        self._thread.start()

    def put(self, outcome: Outcome) -> None:
        """Let it wait for its turn."""
        with self._changed:
            is_full = len(self._waiting) >= self._most
            if not is_full:
                self._waiting.append(outcome)
                self._changed.notify()
        if is_full:
            path = display(outcome.source)
            self._remark(f"{self._most} notices wait already, so nobody is told of {path}.")

    def end(self) -> None:
        """Let the thread end when nothing waits any more."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()

    def join(self, within_s: float) -> None:
        """Wait for that; then drop what waits."""
        self._thread.join(within_s)
        self._given_up.set()
        with self._changed:
            lost = len(self._waiting) + self._is_telling
            self._waiting.clear()
        if lost:
            notices = "notice was" if lost == 1 else "notices were"
            self._remark(f"{lost} {notices} not passed on in time.")

    def _run(self) -> None:
        while outcome := self._next():
            self._tell(outcome)

    def _next(self) -> Outcome | None:
        """The one that has waited longest; None at the end."""
        with self._changed:
            self._is_telling = False
            self._changed.wait_for(lambda: self._waiting or self._is_ending)
            self._is_telling = bool(self._waiting)
            return self._waiting.popleft() if self._waiting else None

    def _tell(self, outcome: Outcome) -> None:
        try:
            self._teller.tell(outcome, self._given_up.wait)
        except TranscribeError as error:
            self._remark(str(error))
        except Exception as error:  # noqa: BLE001  - our bug in a notice must not end the notices
            self._remark(f"Nobody was told of {display(outcome.source)}: internal error {error!r}.")


# ── a command ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Command:
    """`--on-done`: a program that is run once a file, without a shell.

    Its environment says TRANSCRIBE_STATE, _SOURCE, _OUTPUTS (one a line), _LANGUAGE and _REASON;
    its standard input is the outcome as one line of JSON.
    """

    words: tuple[str, ...]
    limit_s: float = 60.0

    def tell(self, outcome: Outcome, _: Pause) -> None:
        """Run it to its end. Raises TranscribeError."""
        with TemporaryFile() as given, TemporaryFile() as said:
            given.write(codec.dumps(outcome).encode() + b"\n")
            given.seek(0)
            ended = self._run(outcome, given, said)
            if ended != 0:
                how = f"took longer than {self.limit_s:g} s" if ended is None else _how(ended)
                raise TranscribeError(
                    f"--on-done: {display(self.words[0])}, told of {display(outcome.source)}, "
                    f"{how}{_last_words(said)}."
                )

    def _run(self, outcome: Outcome, given: IO[bytes], said: IO[bytes]) -> int | None:
        """Its exit code; None when it had to be stopped, with all that it had started.

        Files instead of pipes: a program that it leaves running keeps nobody waiting.
        """
        try:
            process = subprocess.Popen(
                ["env", "--", *_variables(outcome), *self.words],  # our own environment, and these
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # one group to kill; Ctrl-C reaches us alone
            )
        except OSError as error:
            raise TranscribeError(f"--on-done: it cannot be run ({error.strerror}).") from error
        try:
            return process.wait(self.limit_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def command(text: str) -> Command:
    """The command that somebody typed. Raises BadOption."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise BadOption(f"--on-done {display(text)}: {error}: check the quotes.") from error
    if not words or shutil.which(words[0]) is None:
        raise BadOption(f"--on-done {display(text)}: there is no such program: check its name.")
    return Command(words)


def _variables(outcome: Outcome) -> list[str]:
    said = {
        "STATE": outcome.state,
        "SOURCE": str(outcome.source),
        "OUTPUTS": "\n".join(map(str, outcome.outputs)),
        "LANGUAGE": outcome.language or "",
        "REASON": outcome.reason or "",
    }
    return [f"TRANSCRIBE_{name}={text[:_MOST_CHARS]}" for name, text in said.items()]


def _how(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"


def _last_words(said: IO[bytes]) -> str:
    end = said.seek(0, os.SEEK_END)
    said.seek(max(0, end - _SAID_BYTES))
    lines = said.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {display(last.rstrip('. '))}" if last else ""
