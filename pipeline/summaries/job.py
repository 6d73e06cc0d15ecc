"""The story of a job's summary, after its subtitles are out: it never puts them at risk.

Goes in: a job, and what was published for it. Comes out: the summary's files. Does not know: which
model answers, in which process or queue this happens.

    what was said ─► summarise ─► write
"""

from __future__ import annotations

import hashlib
import os
from contextlib import nullcontext
from dataclasses import replace
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
    from pathlib import Path

    from pipeline.folder import Folder
    from pipeline.protocols import Engines, Listener
    from pipeline.store import Store
    from pipeline.summaries.options import SummaryFormat, SummaryOptions
    from pipeline.summaries.records import Summary
    from pipeline.summaries.styles import Style
    from pipeline.summaries.work import Once
    from pipeline.types import Job

LACKING = "made for lack of a language model"  # a wish that nobody has
STAYS = "exists and stays as it is"
_READABLE = (".json", ".vtt", ".srt")  # the best first


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
    style = load_style(options.style)
    with store.open_folder(job) as folder:
        targets = _targets(job, options, published, store)
        outputs = tuple(targets.values())
        spoken = _spoken(job, published, folder, outputs[0].parent)
        wish = _wish(job, options, style, spoken)
        if _stays(job, wish, outputs, store, listener):
            return outputs
        ensure_writable(outputs[0].parent)
        if spoken is None:
            raise _not_heard(job)
        summary = summed_up(spoken, options, engines, listener, folder.once)
        is_lacking = options.llm is None and summary.provenance.engine is None
        _write(job, summary, LACKING if is_lacking else wish, targets, store, listener)
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


def _wish(job: Job, options: SummaryOptions, style: Style, spoken: Spoken | None) -> str | None:
    """What can change the files: options, the words, prompts of the user's own; None: no words.

    Of words, only letters: whether they come from cues or from what was heard is all the same.
    """
    if spoken is None:
        return None
    own = style.version if options.style != style.name else None
    letters = "".join(filter(str.isalnum, (char for line in spoken.lines for char in line.text)))
    wanted = codec.dumps((options, own, job.output.output_dir, letters))
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


def _stays(
    job: Job, wish: str | None, outputs: tuple[Path, ...], store: Store, listener: Listener
) -> bool:
    """Whether nobody need be asked: what is not this very summary may not be written."""
    others = tuple(path for path in outputs if not _is_known(job, wish, path, store))
    if any(_may_write(job, path, store) for path in others):
        return False
    for path in others:
        listener.note(f"{display(path)} {STAYS}")
    return True


def _is_known(job: Job, wish: str | None, path: Path, store: Store) -> bool:
    """Whether this very summary is there; without words, whether one of this version is."""
    # unlike Path.exists, os.path.exists never raises
    if job.output.overwrite or not os.path.exists(path):  # noqa: PTH110
        return False
    made = store.outputs.made(path)
    return made is not None and made.source == job.source and wish in (None, made.wish)


def _may_write(job: Job, path: Path, store: Store) -> bool:
    """What we made of another version, or for another wish, gives way; a stranger's does not."""
    return not os.path.lexists(path) or job.output.overwrite or store.outputs.is_ours(path)


def _spoken(job: Job, published: tuple[Path, ...], folder: Folder, target: Path) -> Spoken | None:
    """What was heard, as the job's folder has it, else as the published files have it, if any."""
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
    return None


def _not_heard(job: Job) -> NoSuchFile:
    return NoSuchFile(
        f"{display(job.source.path)} has no transcript to summarise: transcribe it again, "
        "as srt, vtt or json."
    )


def media_link(media: Path, folder: Path) -> str:
    """Where a media file is, seen from the folder of its summary; its name if it is gone."""
    is_there = os.path.exists(media)  # noqa: PTH110  - unlike Path.exists, it never raises
    return os.path.relpath(media, folder) if is_there else media.name


def _write(
    job: Job,
    summary: Summary,
    wish: str | None,
    targets: dict[SummaryFormat, Path],
    store: Store,
    listener: Listener,
) -> None:
    for kind, path in targets.items():
        may_replace = _may_write(job, path, store)
        if written := write_summary(summary, {kind: path}, replace=may_replace):
            store.outputs.note(written, job.source, job.speech.task, wish or "")
        else:
            listener.note(f"{display(path)} {STAYS}")
