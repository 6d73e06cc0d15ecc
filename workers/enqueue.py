"""Files and addresses on their way into the queue.

Goes in: what somebody asked for, and the options. Comes out: one answer each: the job's id, or why
there is none. Does not know: who will work, or when.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import TranscribeError
from pipeline.source import display, take
from pipeline.types import Job
from workers.batch import expand, placed
from workers.ledger_records import HEARING, Entry, State
from workers.remote import expected, is_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.summaries.options import SummaryOptions
    from pipeline.types import OutputOptions, SpeechOptions
    from workers.batch import Request
    from workers.ledger import Ledger
    from workers.ledger_records import Accepted, Priority

AT_ONCE = 1000  # entries between two answers
UNKNOWN_S = 3600.0  # as long as a podcast's episode: the guess for what nobody has seen yet
# Typical bytes a second, for a first guess at the length: 44.1 kHz stereo PCM, the same with
# lossless compression, speech at 128 kbit/s; video at 2 Mbit/s is everything else.
_RATES = (
    (176_400, ("aif", "aiff", "au", "caf", "voc", "w64", "wav")),
    (90_000, ("ape", "flac", "tak", "tta", "wv")),
    (16_000, ("aac", "ac3", "amr", "dts", "eac3", "gsm", "m4a", "m4b", "mka", "mp2", "mp3", "oga",
              "ogg", "opus", "ra", "spx", "weba", "wma")),
)  # fmt: skip
_VIDEO_RATE = 250_000
_BYTES_PER_S = {f".{suffix}": rate for rate, suffixes in _RATES for suffix in suffixes}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of every file."""

    speech: SpeechOptions
    output: OutputOptions
    priority: Priority
    folder: Path  # where subtitles of remote media go, unless the output options name one
    summary: SummaryOptions | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One file: an entry for the ledger, or why there cannot be one."""

    source: str  # its path or address
    entry: Entry | None = None
    problem: TranscribeError | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """What the queue says to one file. This is what `--json` prints."""

    source: str
    id: str | None = None
    state: State | None = None
    is_new: bool = False
    reason: str | None = None  # why it was not taken
    error: str | None = None  # the class in pipeline.errors
    exit_code: int = 0


def asked(sources: Iterable[str], wanted: Wanted, *, recursive: bool) -> Iterator[Asked]:
    """Every file that is meant, once, in the order in which they were given."""
    paths: list[Path] = []
    for source in sources:
        if is_address(source):
            yield _remote(source, wanted)
        else:
            paths += _globbed(source)
    for request in expand(paths, recursive=recursive):
        yield _local(request, wanted)


def register(files: Iterable[Asked], ledger: Ledger) -> Iterator[Registered]:
    """Put them into the ledger, some at a time. Raises QueueUnavailable."""
    source = iter(files)
    while batch := tuple(islice(source, AT_ONCE)):
        accepted = iter(_accepted(tuple(one.entry for one in batch if one.entry), ledger))
        for one in batch:
            yield _answer(one, next(accepted) if one.entry else None)


def _globbed(source: str) -> list[Path]:
    """A pattern that the shell left alone stands for what it matches; a name stands for itself."""
    if os.path.lexists(source) or not glob.has_magic(source):
        return [Path(source)]
    matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  - it may be absolute
    return [Path(match) for match in matches] or [Path(source)]


def _remote(url: str, wanted: Wanted) -> Asked:
    try:
        source = expected(url)
    except TranscribeError as error:
        return Asked(url, problem=error)
    output = replace(wanted.output, output_dir=wanted.output.output_dir or wanted.folder)
    job = Job(source, wanted.speech, output, wanted.summary)
    return Asked(url, entry_of(job, wanted.priority, UNKNOWN_S))


def _local(request: Request, wanted: Wanted) -> Asked:
    name = str(request.path.absolute())
    try:
        if request.problem:
            raise request.problem
        output = placed(wanted.output, request)
        job = Job(take(request.path), wanted.speech, output, wanted.summary)
    except TranscribeError as error:
        return Asked(name, problem=error)
    length_s = guess_s(job.source.path, job.source.size_bytes)
    return Asked(name, entry_of(job, wanted.priority, length_s))


def entry_of(job: Job, priority: Priority, length_s: float) -> Entry:
    """What is put into the ledger for a job: also which stages it needs."""
    stages = (*HEARING, "text") if job.summary else HEARING
    return Entry(job, priority, length_s, again=job.output.overwrite, stages=stages)


def guess_s(path: Path, size_bytes: int) -> float:
    """About how long a file plays, as its name and size tell."""
    return size_bytes / _BYTES_PER_S.get(path.suffix.lower(), _VIDEO_RATE)


def _accepted(entries: tuple[Entry, ...], ledger: Ledger) -> tuple[Accepted, ...]:
    """Take them; those that are done are taken again if one of their files is gone."""
    accepted = list(ledger.accept(entries))
    lacking = [
        number
        for number, one in enumerate(accepted)
        if one.state == "done" and not one.is_new and _lacks_output(one.id, ledger)
    ]
    again = ledger.accept([replace(entries[number], again=True) for number in lacking])
    for number, one in zip(lacking, again, strict=True):
        accepted[number] = one
    return tuple(accepted)


def _lacks_output(job_id: str, ledger: Ledger) -> bool:
    record = ledger.record(job_id)
    # unlike Path.exists, this never raises
    return record is not None and not all(map(os.path.exists, record.outputs))


def _answer(one: Asked, accepted: Accepted | None) -> Registered:
    if accepted:
        return Registered(one.source, accepted.id, accepted.state, accepted.is_new)
    error = one.problem or TranscribeError(f"{display(one.source)} was not taken.")
    return Registered(
        one.source, reason=str(error), error=type(error).__name__, exit_code=error.exit_code
    )
