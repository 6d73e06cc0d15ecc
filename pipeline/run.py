"""The story of one file: media in, subtitles out.

Goes in: a job. Comes out: its outcome, and the files. Does not know: how any stage works, which
model listens, or who asked. What an earlier run finished is not done again.

    prepare ─► language ─► transcribe ─► lay out, write
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline import naming
from pipeline.audio import open_audio
from pipeline.cues import layout
from pipeline.files import ensure_writable, write_whole
from pipeline.folder import Done, TwinKey, output_id
from pipeline.language import windows_to_ask
from pipeline.prepare import Work, prepared
from pipeline.source import display, ensure_unchanged
from pipeline.subtitles import HOLD_SEGMENTS, render
from pipeline.types import (
    Audio,
    Clip,
    EngineDescription,
    LanguageGuess,
    Outcome,
    Provenance,
    Transcript,
    Window,
)
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.ffmpeg import Tools
    from pipeline.protocols import Engines, Listener
    from pipeline.store import Store
    from pipeline.types import Format, Job, SpeechOptions

NO_SPEECH = "no speech was found"
PROGRAM = f"transcribe {__version__}"


def prepare(job: Job, store: Store, engines: Engines, tools: Tools, listener: Listener) -> float:
    """Do what comes before hearing, for `run` to go on from; gives the sound's length in seconds.

    Raises TranscribeError. Where nothing is left to do, nothing is done.
    """
    with store.open_folder(job) as folder, folder.failures_noted():
        work = Work(job, folder, store.outputs, engines, tools, listener)
        if _done_before(work):
            return 0.0
        ensure_writable(job.output.output_dir or job.source.path.parent)
        return prepared(work).audio.duration_s


def run(job: Job, store: Store, engines: Engines, tools: Tools, listener: Listener) -> Outcome:
    """Make the subtitles of one file.

    Raises TranscribeError. Then, or after any crash, nothing half-written stays beside the media,
    and the next run of the same job goes on where this one stopped.
    """
    began_s = time.monotonic()
    with store.open_folder(job) as folder, folder.failures_noted():
        work = Work(job, folder, store.outputs, engines, tools, listener)
        if outcome := _done_before(work):
            return outcome

        ensure_writable(job.output.output_dir or job.source.path.parent)
        sound = prepared(work)
        audio, windows = sound.audio, sound.windows
        twin = TwinKey(audio.digest, job.speech)
        _take_over(work, twin)
        language = folder.once("language", LanguageGuess, lambda: _ask_language(work, windows))
        targets = naming.targets(job, language.language, work.outputs.claim)
        if outcome := _nothing_to_write(work, targets):
            return outcome

        _transcribe(work, windows, language)
        folder.lend(twin)
        transcript = _transcript(work, audio, language, windows)
        ensure_unchanged(job.source)
        written = _write(work, transcript, windows, targets)
        folder.finish(Done(output_id(job), tuple(targets.values())))
        if not written:
            return _skipped(work, tuple(targets.values()))
        took_s = (
            None if sound.is_known else time.monotonic() - began_s
        )  # of a whole run, not of a rest
        return _outcome(work, transcript, written, took_s)


def _done_before(work: Work) -> Outcome | None:
    """The outcome when all that is wanted is known to be there; with `overwrite`, a fresh start."""
    done = work.folder.read("done", Done)
    if done and work.job.output.overwrite:
        work.folder.start_over()
        return None
    if done and done.output_id == output_id(work.job) and all(map(_exists, done.outputs)):
        return _skipped(work, done.outputs)
    if language := work.job.speech.language:
        return _nothing_to_write(work, naming.targets(work.job, language, work.outputs.claim))
    return None


def _nothing_to_write(work: Work, targets: dict[Format, Path]) -> Outcome | None:
    """The outcome when every output is there and must stay as it is."""
    outputs = tuple(targets.values())
    if not all(_exists(path) and not _may_replace(work, path) for path in outputs):
        return None
    # a run may have died between writing them and saying so
    work.folder.finish(Done(output_id(work.job), outputs))
    return _skipped(work, outputs)


def _may_replace(work: Work, path: Path) -> bool:
    """What we made of an older version of the media gives way, and with `overwrite` anything."""
    return work.job.output.overwrite or work.outputs.is_outdated(path, work.job.source)


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110  - unlike Path.exists, it never raises


def _skipped(work: Work, outputs: tuple[Path, ...]) -> Outcome:
    names = ", ".join(display(path) for path in outputs)
    exist, them = ("exists", "it") if len(outputs) == 1 else ("exist", "them")
    reason = f"{names} {exist}: --overwrite makes {them} again."
    return Outcome(work.job.source.path, "skipped", outputs, reason=reason)


def _take_over(work: Work, twin: TwinKey) -> None:
    """What was heard of the same sound under another name is not heard again."""
    if work.job.output.overwrite:
        return
    if other := work.folder.take_over(twin):
        work.listener.note(f"the same sound as {display(other.source.path)}: its text is taken")


def _ask_language(work: Work, windows: tuple[Window, ...]) -> LanguageGuess:
    if work.job.speech.language or not windows:
        return LanguageGuess(work.job.speech.language or naming.UNDETERMINED, None)
    work.listener.stage("language", None)
    asked = windows_to_ask(windows)
    with work.engines.speech(work.job.speech) as engine:
        guess = engine.detect_language(_clips(work, asked, work.job.speech))
    if guess.probability is not None:
        windows_asked = f"{len(asked)} window" + "s" * (len(asked) > 1)
        work.listener.note(
            f"language: {guess.language} ({guess.probability:.0%} over {windows_asked})"
        )
    return guess


def _transcribe(work: Work, windows: tuple[Window, ...], language: LanguageGuess) -> None:
    """Hear each window, into the folder: a day of speech needs no more memory than an hour.

    What earlier runs heard is not heard again.
    """
    waiting = windows[work.folder.known(windows) :]
    if not waiting:
        return
    options = replace(work.job.speech, language=language.language)
    with work.engines.speech(options) as engine, work.folder.hear() as append:
        _begin_to_hear(work, windows, waiting)
        for result in engine.transcribe(_clips(work, waiting, options)):
            _remember(work, engine.description)
            append(result)
            work.listener.progress(result.window.end_s)


def _begin_to_hear(work: Work, windows: tuple[Window, ...], waiting: tuple[Window, ...]) -> None:
    work.listener.stage("transcribe", windows[-1].end_s)
    if len(waiting) < len(windows):
        known_s = windows[-len(waiting) - 1].end_s
        work.listener.note(f"continued at {known_s:.0f} s")
        work.listener.progress(known_s)


def _remember(work: Work, engine: EngineDescription) -> None:
    """Note who hears; it changes where memory ran out, or where another run went on."""
    known = _engines(work)
    if engine != (known or (None,))[-1]:
        work.folder.save("engines", (*known, engine))


def _engines(work: Work) -> tuple[EngineDescription, ...]:
    return work.folder.read("engines", tuple[EngineDescription, ...]) or ()


def _clips(work: Work, windows: tuple[Window, ...], options: SpeechOptions) -> Iterator[Clip]:
    with open_audio(work.folder.audio) as reader:
        for window in windows:
            yield Clip(window, reader.slice_s(window.start_s, window.end_s), options)


def _transcript(
    work: Work, audio: Audio, language: LanguageGuess, windows: tuple[Window, ...]
) -> Transcript:
    """With its segments only if a wanted format holds them."""
    is_wanted = not HOLD_SEGMENTS.isdisjoint(work.job.output.formats)
    is_silent = next(work.folder.said(windows), None) is None
    if is_silent:
        work.listener.note(NO_SPEECH)
    return Transcript(
        source=work.job.source.path.name,
        duration_s=audio.duration_s,
        language=naming.written_language(work.job, language.language),
        language_probability=language.probability,
        segments=tuple(work.folder.said(windows)) if is_wanted else (),
        provenance=Provenance(PROGRAM, _engines(work), work.job.speech),
        notes=(*audio.notes, NO_SPEECH) if is_silent else audio.notes,
    )


def _write(
    work: Work,
    transcript: Transcript,
    windows: tuple[Window, ...],
    targets: dict[Format, Path],
) -> tuple[Path, ...]:
    """Write what is wanted, whole or not at all; gives what was written."""
    work.listener.stage("write", None)
    options, said = work.job.output, work.folder.said(windows)
    cues = layout(said, transcript.duration_s, options.layout, transcript.language)
    written = []
    for kind, path in targets.items():
        if write_whole(path, render(kind, transcript, cues), replace=_may_replace(work, path)):
            work.outputs.note((path,), work.job.source, work.job.speech.task)
            written.append(path)
        else:
            work.listener.note(f"{display(path)} exists and stays as it is")
    return tuple(written)


def _outcome(
    work: Work, transcript: Transcript, outputs: tuple[Path, ...], took_s: float | None
) -> Outcome:
    return Outcome(
        source=work.job.source.path,
        state="done",
        outputs=outputs,
        language=transcript.language,
        duration_s=transcript.duration_s,
        took_s=took_s,
        notes=transcript.notes,
    )
