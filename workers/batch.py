"""Many files, in this process.

Goes in: paths and options. Comes out: one outcome a file; one bad file never stops the others.
Does not know: how outcomes are shown.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import NoSuchFile, TranscribeError, Unreadable
from pipeline.run import run
from pipeline.source import display, take
from pipeline.types import Job, Outcome
from workers.interruption import Heedful
from workers.lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pipeline.ffmpeg import Tools
    from pipeline.protocols import Engines, Listener
    from pipeline.store import Store
    from pipeline.types import OutputOptions, SpeechOptions
    from workers.interruption import Interruption
    from workers.progress import Display

WORST_FIRST = (1, 3, 2, 4)  # of pipeline.errors' exit codes
MEDIA_SUFFIXES = frozenset(  # what is taken from a folder; a file that is named is always tried
    f".{suffix}"
    for suffix in (
        *("3gp", "asf", "avi", "f4v", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg"),
        *("mts", "mxf", "ogv", "rm", "ts", "vob", "webm", "wmv"),
        *("aac", "ac3", "aif", "aiff", "amr", "ape", "au", "caf", "dts", "eac3", "flac", "gsm"),
        *("m4a", "m4b", "mka", "mp2", "mp3", "oga", "ogg", "opus", "ra", "spx", "tak", "tta"),
        *("voc", "w64", "wav", "weba", "wma", "wv"),
    )
)


@dataclass(frozen=True, slots=True)
class Request:
    """One file that somebody asked for."""

    path: Path
    root: Path | None = None  # the folder that was searched for it
    problem: TranscribeError | None = None  # known before the file was opened


@dataclass(frozen=True, slots=True)
class Machinery:
    """What all files of a batch share."""

    store: Store
    engines: Engines
    tools: Tools


def expand(paths: Iterable[Path], *, recursive: bool) -> Iterator[Request]:
    """Every file that the paths stand for, once: themselves, and with `recursive` media in folders.

    A folder without `recursive` is passed on as it is; taking it then tells what to do.
    """
    seen: set[Path] = set()
    for path in paths:
        # unlike Path.is_dir, this never raises, whatever was typed
        is_folder = recursive and os.path.isdir(path)  # noqa: PTH112
        requests = _inside(path) if is_folder else [Request(path)]
        for request in requests:
            if request.path.absolute() not in seen:
                seen.add(request.path.absolute())
                yield request


def _inside(root: Path) -> Iterator[Request]:
    found = False
    closed: list[OSError] = []
    for folder, subfolders, names in os.walk(root, onerror=closed.append):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix.lower() in MEDIA_SUFFIXES and not name.startswith("."):
                found = True
                yield Request(path, root)
    for error in closed:
        path = Path(error.filename)
        why = Unreadable(
            f"{display(path)} cannot be searched ({error.strerror}): allow reading it."
        )
        yield Request(path, problem=why)
    if not found and not closed:
        why_not = NoSuchFile(f"{display(root)} holds no media files: check the folder.")
        yield Request(root, problem=why_not)


def outcomes(
    requests: Iterable[Request],
    speech: SpeechOptions,
    output: OutputOptions,
    machinery: Machinery,
    shown: Display,
    interruption: Interruption,
) -> Iterator[tuple[Request, Outcome]]:
    """Work on files side by side, and show how each ended."""

    def work(request: Request, listener: Listener) -> Outcome:
        return work_on(request, speech, output, machinery, listener)

    def listen(request: Request) -> Listener:
        return Heedful(shown.listen(request), interruption)

    for request, outcome in Lanes(work, listen).outcomes(requests):
        shown.show(request, outcome)
        yield request, outcome


def work_on(
    request: Request,
    speech: SpeechOptions,
    output: OutputOptions,
    machinery: Machinery,
    listener: Listener,
) -> Outcome:
    """The outcome of one file, whatever happens to it."""

    def job() -> Job:
        if request.problem:
            raise request.problem
        return Job(take(request.path), speech, placed(output, request))

    return attempted(request.path, job, machinery, listener)


def attempted(
    path: Path, job: Callable[[], Job], machinery: Machinery, listener: Listener
) -> Outcome:
    """The outcome of a job on a file, whatever happens to it."""
    try:
        return run(job(), machinery.store, machinery.engines, machinery.tools, listener)
    except TranscribeError as error:
        return failed(path, error)
    except Exception as error:  # noqa: BLE001  - our bug in one file must not stop the others
        listener.note(traceback.format_exc())
        reason = f"{display(path)}: internal error, please report it ({error!r})."
        return failed(path, TranscribeError(reason))


def failed(path: Path, error: TranscribeError) -> Outcome:
    """The outcome of a file that came to nothing."""
    return Outcome(
        path.absolute(),
        "failed",
        reason=str(error),
        error=type(error).__name__,
        exit_code=error.exit_code,
    )


def placed(output: OutputOptions, request: Request) -> OutputOptions:
    """Below an output folder, files found by searching keep their place in the tree."""
    if output.output_dir is None or request.root is None:
        return output
    place = request.path.parent.relative_to(request.root)
    return replace(output, output_dir=output.output_dir / place)


def any_is_there(requests: Iterable[Request]) -> bool:
    """Whether there is anything to work on, so that a typo fetches no weights."""
    return any(os.path.isfile(request.path) for request in requests)  # noqa: PTH113  - never raises


def worst(codes: Iterable[int]) -> int:
    """The exit code that tells the worst of many."""
    met = set(codes)
    return next((code for code in WORST_FIRST if code in met), 0)
