"""The story of a job's summary, after its subtitles are out: it never puts them at risk.

Goes in: a job, and what was published for it. Comes out: the summary's files. Does not know: which
model answers, in which process or queue this happens.

    what was said ─► summarise ─► write
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
from pipeline.summaries.work import made_anew
from pipeline.summaries.writing import summary_targets, write_summary
from pipeline.types import Audio, LanguageGuess, Window

if TYPE_CHECKING:
    from pipeline.folder import Folder
    from pipeline.protocols import Engines, Listener
    from pipeline.store import Store
    from pipeline.summaries.options import SummaryFormat, SummaryOptions
    from pipeline.summaries.records import Summary
    from pipeline.summaries.work import Once
    from pipeline.types import Job

LACKING = "made for lack of a language model"  # a wish that none is equal to
STAYS = "exists and stays as it is"
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
    wish = _wish(job, options)
    with store.open_folder(job) as folder:
        targets = _targets(job, options, published, store)
        outputs = tuple(targets.values())
        if _is_known(job, wish, outputs, folder, store) or _must_stay(
            job, outputs, store, listener
        ):
            return outputs
        ensure_writable(outputs[0].parent)
        spoken = _spoken(job, published, folder, outputs[0].parent)
        summary = summed_up(spoken, options, engines, listener, folder.once)
        _write(job, summary, targets, store, listener)
        is_lacking = options.llm is None and summary.provenance.engine is None
        folder.save("summary", Summarised(LACKING if is_lacking else wish, outputs))
        folder.forget("notes-*")
        return outputs


def summed_up(
    spoken: Spoken,
    options: SummaryOptions,
    engines: Engines,
    listener: Listener,
    once: Once = made_anew,
) -> Summary:
    """The summary, with a model on loan, unless nobody says anything. Raises TranscribeError."""
    listener.stage("summarise", spoken.duration_s)
    told = Told(listener, spoken.duration_s)
    with engines.text(options.llm) if spoken.lines else nullcontext() as engine:
        return summarise(spoken, engine, options, told, told.heed, once)


def _wish(job: Job, options: SummaryOptions) -> str:
    """What can change the files; of prompts, those of the user's own. Raises BadOption."""
    style = load_style(options.style)
    own = style.version if options.style != style.name else None
    wanted = codec.dumps((options, own, job.output.output_dir))
    return hashlib.sha256(wanted.encode()).hexdigest()[:24]


def _targets(
    job: Job, options: SummaryOptions, published: tuple[Path, ...], store: Store
) -> dict[SummaryFormat, Path]:
    folder = job.output.output_dir or (published or (job.source.path,))[0].parent
    for stem in naming.stems(job.source.path):
        targets = summary_targets(folder, stem, options.formats)
        if store.outputs.claim(targets.values(), job.source.path):
            return targets
    raise AssertionError("a hash of the full path is unique")


def _is_known(job: Job, wish: str, outputs: tuple[Path, ...], folder: Folder, store: Store) -> bool:
    """Whether this very summary is there; after a clean, whether one of this very version is."""
    # unlike Path.exists, os.path.exists never raises
    if job.output.overwrite or not all(map(os.path.exists, outputs)):
        return False
    if known := folder.read("summary", Summarised):
        return known == Summarised(wish, outputs)
    made = map(store.outputs.made, outputs)
    return all(one is not None and one.source == job.source for one in made)


def _must_stay(job: Job, outputs: tuple[Path, ...], store: Store, listener: Listener) -> bool:
    """Whether there is nothing that may be written, so that nobody need be asked."""
    if any(_may_write(job, path, store) for path in outputs):
        return False
    for path in outputs:
        listener.note(f"{display(path)} {STAYS}")
    return True


def _may_write(job: Job, path: Path, store: Store) -> bool:
    """What we made of another version, or for another wish, gives way; a stranger's does not."""
    return not os.path.lexists(path) or job.output.overwrite or store.outputs.is_ours(path)


def _spoken(job: Job, published: tuple[Path, ...], folder: Folder, target: Path) -> Spoken:
    """What was heard, as the job's folder has it, else as the published files have it."""
    name, media = job.source.path.name, media_link(job.source.path, target)
    windows = folder.read("windows", tuple[Window, ...])
    audio, language = folder.read("audio", Audio), folder.read("language", LanguageGuess)
    if windows is not None and audio and language and folder.known(windows) == len(windows):
        lines = (Line(one.start_s, one.end_s, one.text) for one in folder.said(windows))
        written = naming.written_language(job, language.language)
        return Spoken(name, media, audio.duration_s, written, tuple(lines))
    texts = [path for path in published if path.suffix in _READABLE]
    for path in sorted(texts, key=lambda path: _READABLE.index(path.suffix)):
        return replace(read_transcript(path, media), source=name)
    raise NoSuchFile(
        f"{display(job.source.path)} has no transcript to summarise: transcribe it again, "
        "as srt, vtt or json."
    )


def media_link(media: Path, folder: Path) -> str:
    """Where a media file is, seen from the folder of its summary; its name if it is gone."""
    is_there = os.path.exists(media)  # noqa: PTH110  - unlike Path.exists, it never raises
    return os.path.relpath(media, folder) if is_there else media.name


def _write(
    job: Job, summary: Summary, targets: dict[SummaryFormat, Path], store: Store, listener: Listener
) -> None:
    for kind, path in targets.items():
        may_replace = _may_write(job, path, store)
        if written := write_summary(summary, {kind: path}, replace=may_replace):
            store.outputs.note(written, job.source, job.speech.task)
        else:
            listener.note(f"{display(path)} {STAYS}")
