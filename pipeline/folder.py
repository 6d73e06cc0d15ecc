"""One job's folder: what survives a crash, a power cut and Ctrl-C.

Goes in: values under names, and what was heard. Comes out: the same, to the next run of the job.
Does not know: who holds the folder, what the stages do. A file that is there is finished, except
`heard.jsonl`, which grows by whole lines.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline import codec
from pipeline.errors import Busy, StorageFailed, TranscribeError
from pipeline.files import LOCK, storage_errors, write_whole
from pipeline.source import display
from pipeline.types import Heard, Job, Segment, SpeechOptions, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
PASSING = frozenset(("Busy", "NoSuchFile", "SourceChanged"))  # nothing of the file as it is
LAYOUT = 2  # of what a folder holds; raised when a noun changes, so that no old folder is misread


@dataclass(frozen=True, slots=True)
class Done:
    """A finished job: the outputs that one set of output options led to."""

    output_id: str
    outputs: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job came to nothing."""

    reason: str  # in words for a person
    error: str  # the class in pipeline.errors
    exit_code: int
    at_s: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class TwinKey:
    """What decides the words: jobs that have it in common hear the same."""

    audio_digest: str
    speech: SpeechOptions


def work_id(job: Job) -> str:
    """What is to be heard: the source and every option that can change the words."""
    return _digest(codec.dumps((LAYOUT, job.source, job.speech)))


def output_id(job: Job) -> str:
    """How it is to be written: every option that can change the files but `overwrite`."""
    output = job.output
    return _digest(codec.dumps((output.formats, output.output_dir, output.name, output.layout)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Folder:
    """One job's folder, while its lock is held."""

    path: Path

    @property
    def audio(self) -> Path:
        """Where the converted sound lies until the job is done."""
        return self.path / "audio.wav"

    def once(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        """The value that an earlier run saved under this name; else make it and save it."""
        known = self.read(name, kind)
        if known is not None:
            return known
        made = make()
        self.save(name, made)
        return made

    def read(self, name: str, kind: type[T]) -> T | None:
        """A saved value; None when there is none, or one that this version cannot read."""
        try:
            return codec.loads((self.path / f"{name}.json").read_bytes(), kind)
        except (OSError, ValueError):
            return None

    def save(self, name: str, value: object) -> None:
        """Save a value under a name, whole or not at all."""
        write_whole(self.path / f"{name}.json", codec.dumps(value))

    def forget(self, pattern: str) -> None:
        """Remove the values whose names look like this."""
        for file in self.path.glob(f"{pattern}.json"):
            file.unlink(missing_ok=True)

    def known(self, windows: tuple[Window, ...]) -> int:
        """How many of these windows earlier runs heard, from the first on.

        The log is cut off where it does not go on like that, as after a line that a crash tore.
        """
        log = self.path / "heard.jsonl"
        if not log.exists():
            return 0
        known = whole_bytes = 0
        with storage_errors(log), log.open("r+b") as lines:
            for window, line in zip(windows, lines, strict=False):
                result = _heard_in(line)
                if result is None or result.window != window:
                    break
                known += 1
                whole_bytes += len(line)
            lines.truncate(whole_bytes)
        return known

    def said(self, windows: tuple[Window, ...]) -> Iterator[Segment]:
        """What was heard in all of these windows, read as it is taken: a day of speech is large.

        Raises StorageFailed when the log does not hold them any more.
        """
        log = self.path / "heard.jsonl"
        if not windows:
            return
        with storage_errors(log), log.open("rb") as lines:
            for window in windows:
                result = _heard_in(lines.readline())
                if result is None or result.window != window:
                    raise StorageFailed(
                        f"{display(self.path)} was changed by somebody else: run this file again."
                    )
                yield from result.segments

    @contextmanager
    def hear(self) -> Iterator[Callable[[Heard], None]]:
        """Lend a function that appends one result, on the disk when it returns."""
        with storage_errors(self.path):
            log = (self.path / "heard.jsonl").open("ab", buffering=0)  # closing it cannot fail
        with log:

            def append(heard: Heard) -> None:
                line = codec.dumps(heard).encode() + b"\n"
                with storage_errors(self.path):
                    while line:
                        line = line[log.write(line) :]
                    os.fsync(log.fileno())

            yield append

    def lend(self, key: TwinKey) -> None:
        """Let jobs of the same sound take over what was heard."""
        target = self._twin_of(key)
        with storage_errors(target):
            target.parent.mkdir(exist_ok=True)
        with suppress(Busy):  # another job of the same sound is lending just now: one is enough
            write_whole(target, codec.dumps(self.path.name))

    def take_over(self, key: TwinKey) -> Job | None:
        """Copy what another job heard of the same sound, if this one has heard nothing yet."""
        try:
            twin = Folder(self.path.parent / name_in(self._twin_of(key)))
            lines = (twin.path / "heard.jsonl").read_bytes().splitlines(keepends=True)
        except (OSError, ValueError):
            return None
        other = twin.read("job", Job)
        if other is None or twin.path == self.path or (self.path / "heard.jsonl").exists():
            return None
        for known in ("language.json", "engines.json"):
            with suppress(OSError, ValueError):
                write_whole(self.path / known, (twin.path / known).read_text(encoding="utf-8"))
        whole = takewhile(lambda line: _heard_in(line) is not None, lines)
        write_whole(self.path / "heard.jsonl", b"".join(whole).decode())
        return other

    def _twin_of(self, key: TwinKey) -> Path:
        return self.path.parent.parent / "twins" / _digest(codec.dumps((LAYOUT, key)))

    def finish(self, done: Done) -> None:
        """Note the outputs and let the big file go."""
        self.save("done", done)
        self.audio.unlink(missing_ok=True)

    @contextmanager
    def failures_noted(self) -> Iterator[None]:
        """What is raised meanwhile is remembered, for a watched folder and for people."""
        try:
            yield
        except TranscribeError as error:
            failure = Failure(str(error), type(error).__name__, error.exit_code, time.time())
            with suppress(StorageFailed, Busy):  # a full disk may be the very reason
                self.note_failure(failure)
            raise

    def note_failure(self, failure: Failure) -> None:
        """Remember it, unless it passes by itself. Raises StorageFailed, Busy."""
        if failure.error not in PASSING:
            self.save("failed", failure)

    def start_over(self) -> None:
        """Forget all that earlier runs did."""
        for file in self.path.iterdir():
            if file.name not in (LOCK, "job.json"):
                file.unlink()


def name_in(file: Path) -> str:
    """The name of the folder that a file of `twins` tells."""
    return Path(codec.loads(file.read_bytes(), str)).name


def _heard_in(line: bytes) -> Heard | None:
    """The result in a line of the log; None when the line is torn or broken."""
    try:
        return codec.loads(line, Heard) if line.endswith(b"\n") else None
    except ValueError:
        return None
