"""The story of one file: media in, subtitles out.

Goes in: a job. Comes out: its outcome, and the files. Does not know: how any stage works, which
model listens, or who asked. What an earlier run finished is not done again.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline import naming
from pipeline.audio import open_audio
from pipeline.convert import convert
from pipeline.cues import layout
from pipeline.files import ensure_writable, write_whole
from pipeline.language import telling_windows
from pipeline.probe import probe
from pipeline.source import display, ensure_unchanged
from pipeline.speech import find_windows
from pipeline.store import Done, output_id
from pipeline.subtitles import render
from pipeline.types import (
    SAMPLE_RATE_HZ,
    Audio,
    Clip,
    EngineDescription,
    Heard,
    LanguageGuess,
    MediaInfo,
    Outcome,
    Provenance,
    Transcript,
    Window,
)
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pipeline.ffmpeg import Tools
    from pipeline.protocols import Engines, Listener, SpeechEngine
    from pipeline.store import Folder, Store
    from pipeline.types import Format, Job, SpeechOptions

PROGRAM = f"transcribe {__version__}"
READ_SAMPLES = 10 * SAMPLE_RATE_HZ  # sound handed to the detector at once: 640 kB


@dataclass(frozen=True, slots=True)
class Run:
    """What every stage of one file's run may use."""

    job: Job
    folder: Folder
    engines: Engines
    tools: Tools
    listener: Listener


def run(job: Job, store: Store, engines: Engines, tools: Tools, listener: Listener) -> Outcome:
    """Make the subtitles of one file.

    Raises TranscribeError. Then, or after any crash, nothing half-written stays beside the media,
    and the next run of the same job goes on where this one stopped.
    """
    began_s = time.monotonic()
    with store.open_folder(job) as folder:
        now = Run(job, folder, engines, tools, listener)
        if done := _done_before(now, store):
            return done

        ensure_writable(job.output.output_dir or job.source.path.parent)
        media = folder.once("media", MediaInfo, lambda: _probe(now))
        audio = _convert(now, media)
        windows = folder.once("windows", tuple[Window, ...], lambda: _find_speech(now, audio))
        with _engine(now, windows) as engine:
            language = folder.once(
                "language", LanguageGuess, lambda: _language(now, audio, windows, engine)
            )
            targets = naming.targets(job, language.language, store.owner)
            if done := _nothing_to_write(now, targets):
                return done
            heard = _transcribe(now, audio, windows, language, engine)

        transcript = _transcript(now, audio, language, heard)
        ensure_unchanged(job.source)
        outputs = _write(now, transcript, targets)
        return _outcome(now, transcript, outputs, took_s=time.monotonic() - began_s)


def _done_before(now: Run, store: Store) -> Outcome | None:
    """The outcome when all that is wanted is known to be there already."""
    done = now.folder.read("done", Done)
    if done and now.job.output.overwrite:
        now.folder.start_over()
    elif done and done.output_id == output_id(now.job) and all(p.exists() for p in done.outputs):
        return _skipped(now, done.outputs)
    elif now.job.speech.language:
        return _nothing_to_write(now, naming.targets(now.job, now.job.speech.language, store.owner))
    return None


def _nothing_to_write(now: Run, targets: dict[Format, Path]) -> Outcome | None:
    """The outcome when every output is there and must stay as it is."""
    if _wanted(now, targets):
        return None
    return _skipped(now, tuple(targets.values()))


def _wanted(now: Run, targets: dict[Format, Path]) -> dict[Format, Path]:
    """The outputs to write: those that are missing, or all of them with `overwrite`."""
    if now.job.output.overwrite:
        return targets
    return {kind: path for kind, path in targets.items() if not path.exists()}


def _skipped(now: Run, outputs: tuple[Path, ...]) -> Outcome:
    names = ", ".join(display(path) for path in outputs)
    exist = "exists" if len(outputs) == 1 else "exist"
    reason = f"{names} {exist}; --overwrite makes {'it' if len(outputs) == 1 else 'them'} again"
    return Outcome(now.job.source.path, "skipped", outputs, reason=reason)


def _probe(now: Run) -> MediaInfo:
    now.listener.stage("probe", None)
    speech = now.job.speech
    media = probe(now.job.source.path, speech.language, speech.audio_stream, now.tools)
    if len(media.streams) > 1:
        now.listener.note(f"audio stream {media.chosen.position}: {media.reason}")
    return media


def _convert(now: Run, media: MediaInfo) -> Audio:
    """The converted sound; of a job that was done once, only what is known of it."""
    known = now.folder.read("audio", Audio)
    if known and (now.folder.audio.exists() or now.folder.read("done", Done)):
        return known
    now.listener.stage("convert", media.duration_s)
    source = now.job.source
    audio = convert(source.path, media, now.folder.audio, now.tools, now.listener.progress)
    ensure_unchanged(source)
    for note in audio.notes:
        now.listener.note(note)
    now.folder.save("audio", audio)
    return audio


def _find_speech(now: Run, audio: Audio) -> tuple[Window, ...]:
    now.listener.stage("speech", audio.duration_s)
    with open_audio(audio.path) as reader, now.engines.detector() as detector:
        blocks = reader.blocks(READ_SAMPLES)
        return find_windows(blocks, audio.duration_s, detector, now.listener.progress)


def _engine(
    now: Run, windows: tuple[Window, ...]
) -> AbstractContextManager[SpeechEngine] | AbstractContextManager[None]:
    """The engine; none is loaded for a file in which nobody speaks."""
    return now.engines.speech(now.job.speech) if windows else nullcontext()


def _language(
    now: Run, audio: Audio, windows: tuple[Window, ...], engine: SpeechEngine | None
) -> LanguageGuess:
    if engine is None or now.job.speech.language:
        return LanguageGuess(now.job.speech.language or naming.UNDETERMINED, None)
    now.listener.stage("language", None)
    asked = telling_windows(windows)
    guess = engine.detect_language(_clips(audio, asked, now.job.speech))
    sure = f"{guess.probability:.0%} over " if guess.probability is not None else ""
    now.listener.note(f"language: {guess.language} ({sure}{len(asked)} windows)")
    return guess


def _transcribe(
    now: Run,
    audio: Audio,
    windows: tuple[Window, ...],
    language: LanguageGuess,
    engine: SpeechEngine | None,
) -> tuple[Heard, ...]:
    """What is said in each window; what earlier runs heard is not heard again."""
    heard = list(now.folder.heard())
    waiting = windows[len(heard) :]
    if engine is None or not waiting:
        return tuple(heard)
    _remember_engine(now, engine.description)
    now.listener.stage("transcribe", audio.duration_s)
    if heard:
        now.listener.note(f"continued at {heard[-1].window.end_s:.0f} s")
    options = replace(now.job.speech, language=language.language)
    with now.folder.hear() as append:
        for result in engine.transcribe(_clips(audio, waiting, options)):
            append(result)
            heard.append(result)
            now.listener.progress(result.window.end_s)
    return tuple(heard)


def _remember_engine(now: Run, description: EngineDescription) -> None:
    now.listener.note(f"{description.model}: {description.reason}")
    now.folder.save("engine", description)


def _clips(audio: Audio, windows: Iterable[Window], options: SpeechOptions) -> Iterator[Clip]:
    with open_audio(audio.path) as reader:
        for window in windows:
            yield Clip(window, reader.slice_s(window.start_s, window.end_s), options)


def _transcript(
    now: Run, audio: Audio, language: LanguageGuess, heard: tuple[Heard, ...]
) -> Transcript:
    segments = tuple(segment for window in heard for segment in window.segments)
    return Transcript(
        source=now.job.source.path.name,
        duration_s=audio.duration_s,
        language=naming.written_language(now.job, language.language),
        language_probability=language.probability,
        segments=segments,
        provenance=Provenance(
            PROGRAM, now.folder.read("engine", EngineDescription), now.job.speech
        ),
        notes=audio.notes if segments else (*audio.notes, "no speech was found"),
    )


def _write(now: Run, transcript: Transcript, targets: dict[Format, Path]) -> tuple[Path, ...]:
    """Write what is wanted, whole or not at all, then note that the job is done."""
    now.listener.stage("write", None)
    options = now.job.output.layout
    cues = layout(transcript.segments, transcript.duration_s, options, transcript.language)
    for kind, path in _wanted(now, targets).items():
        write_whole(path, render(kind, transcript, cues))
    outputs = tuple(targets.values())
    now.folder.finish(Done(output_id(now.job), outputs))
    return outputs


def _outcome(now: Run, transcript: Transcript, outputs: tuple[Path, ...], took_s: float) -> Outcome:
    return Outcome(
        source=now.job.source.path,
        state="done",
        outputs=outputs,
        language=transcript.language,
        duration_s=transcript.duration_s,
        took_s=took_s,
        notes=transcript.notes,
    )
