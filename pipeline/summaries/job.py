"""The story of a job's summary, after its subtitles are out: it never puts them at risk.

Goes in: a job, and what was published for it. Comes out: the summary's files. Does not know: which
model answers, in which process or queue this happens.

    what was said ─► summarise ─► write
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  - cattrs reads the fields' types
from typing import TYPE_CHECKING

from pipeline import codec, naming
from pipeline.errors import NoSuchFile
from pipeline.files import ensure_writable
from pipeline.source import display
from pipeline.summaries.reading import read_transcript
from pipeline.summaries.records import Line, Spoken
from pipeline.summaries.styles import load_style
from pipeline.summaries.summarise import summarise
from pipeline.summaries.writing import summary_targets, write_summary
from pipeline.types import Audio, LanguageGuess, Window

if TYPE_CHECKING:
    from pipeline.folder import Folder
    from pipeline.protocols import Engines, Listener
    from pipeline.store import Store
    from pipeline.summaries.options import SummaryFormat, SummaryOptions
    from pipeline.types import Job

_READABLE = (".json", ".vtt", ".srt")  # the best first


@dataclass(frozen=True, slots=True)
class Summarised:
    """A summary that is there: what was wanted, and its files."""

    wish: str
    outputs: tuple[Path, ...]


class Told:
    """Passes on how many questions are answered, as seconds of the media."""

    def __init__(self, listener: Listener, duration_s: float) -> None:
        self._listener = listener
        self._duration_s = duration_s
        self._done_s = 0.0

    def calls(self, done: int, total: int, left_s: float | None) -> None:  # noqa: ARG002  - a pace
        """So many of the questions are answered."""
        self._done_s = self._duration_s * done / max(1, total)
        self._listener.progress(self._done_s)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._listener.note(text)

    def heed(self) -> None:
        """Let the listener stop it."""
        self._listener.progress(self._done_s)


def summarise_job(
    job: Job, published: tuple[Path, ...], store: Store, engines: Engines, listener: Listener
) -> tuple[Path, ...]:
    """Write the summary that a job wants; gives its files, also where they were there before.

    Raises TranscribeError; the next run goes on where this one stopped.
    """
    options = job.summary
    if options is None:
        return ()
    with store.open_folder(job) as folder:
        if known := _known(folder, job, options):
            return known
        load_style(options.style)  # before anything is loaded
        spoken = _spoken(job, published, folder)
        targets = _targets(job, published, store)
        ensure_writable(next(iter(targets.values())).parent)
        listener.stage("summarise", spoken.duration_s)
        told = Told(listener, spoken.duration_s)
        with engines.text(options.llm) as engine:
            summary = summarise(spoken, engine, options, told, told.heed, folder.once)
        written = write_summary(summary, targets, replace=_may_replace(job, store, targets))
        store.outputs.note(written, job.source, job.speech.task)
        folder.save("summary", Summarised(_wish(job), tuple(targets.values())))
        folder.forget("notes-*")
        return tuple(targets.values())


def _wish(job: Job) -> str:
    return hashlib.sha256(codec.dumps((job.summary, job.output)).encode()).hexdigest()[:24]


def _known(folder: Folder, job: Job, options: SummaryOptions) -> tuple[Path, ...]:
    """The files, if this very summary is there."""
    known = folder.read("summary", Summarised)
    if known is None or job.output.overwrite or len(known.outputs) != len(options.formats):
        return ()
    # unlike Path.exists, os.path.exists never raises
    is_there = known.wish == _wish(job) and all(map(os.path.exists, known.outputs))
    return known.outputs if is_there else ()


def _spoken(job: Job, published: tuple[Path, ...], folder: Folder) -> Spoken:
    """What was heard, as the job's folder has it, else as the published files have it."""
    windows = folder.read("windows", tuple[Window, ...])
    audio, language = folder.read("audio", Audio), folder.read("language", LanguageGuess)
    if windows is not None and audio and language and folder.known(windows) == len(windows):
        lines = (Line(one.start_s, one.end_s, one.text) for one in folder.said(windows))
        written = naming.written_language(job, language.language)
        name = job.source.path.name
        return Spoken(name, name, audio.duration_s, written, tuple(lines))
    texts = [path for path in published if path.suffix in _READABLE]
    for path in sorted(texts, key=lambda path: _READABLE.index(path.suffix)):
        return read_transcript(path, job.source.path.name)
    raise NoSuchFile(
        f"{display(job.source.path)} has no transcript to summarise: transcribe it again, "
        "as srt, vtt or json."
    )


def _targets(job: Job, published: tuple[Path, ...], store: Store) -> dict[SummaryFormat, Path]:
    assert job.summary, "there is a wish"
    folder = job.output.output_dir or (published or (job.source.path,))[0].parent
    for stem in naming.stems(job.source.path):
        targets = summary_targets(folder, stem, job.summary.formats)
        if store.outputs.claim(targets.values(), job.source.path):
            return targets
    raise AssertionError("a hash of the full path is unique")


def _may_replace(job: Job, store: Store, targets: dict[SummaryFormat, Path]) -> bool:
    """What we made of another version, or for another wish, gives way; a stranger's does not."""
    there = filter(os.path.exists, targets.values())
    return job.output.overwrite or all(map(store.outputs.is_ours, there))
