"""The first half of a file's story: media in, windows that are to be heard out.

Goes in: a job in its folder. Comes out: its sound, and where in it somebody speaks. Does not know:
which model listens, what becomes of it. What an earlier run finished is not done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.audio import open_audio
from pipeline.convert import convert
from pipeline.errors import StorageFailed
from pipeline.probe import probe
from pipeline.source import ensure_unchanged
from pipeline.speech import find_windows
from pipeline.types import SAMPLE_RATE_HZ, Audio, LanguageGuess, MediaInfo, Window

if TYPE_CHECKING:
    from pipeline.ffmpeg import Tools
    from pipeline.folder import Folder
    from pipeline.outputs import Outputs
    from pipeline.protocols import Engines, Listener
    from pipeline.types import Job

READ_SAMPLES = 10 * SAMPLE_RATE_HZ  # sound handed to the detector at once: 640 kB


@dataclass(frozen=True, slots=True)
class Work:
    """One job, its folder, and what every stage may use."""

    job: Job
    folder: Folder
    outputs: Outputs
    engines: Engines
    tools: Tools
    listener: Listener


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job's sound."""

    audio: Audio
    windows: tuple[Window, ...]
    is_known: bool  # it was converted by an earlier run


def prepared(work: Work) -> Prepared:
    """Probe, convert, find speech. What changed since it was taken is refused at once."""
    ensure_unchanged(work.job.source)
    media = work.folder.once("media", MediaInfo, lambda: _probe(work))
    known = work.folder.read("audio", Audio)
    audio = known if known and _is_enough(work, known) else _convert(work, media)
    windows = work.folder.once("windows", tuple[Window, ...], lambda: _find_speech(work, audio))
    return Prepared(audio, windows, known is not None)


def _probe(work: Work) -> MediaInfo:
    work.listener.stage("probe", None)
    speech = work.job.speech
    media = probe(
        *(work.job.source.path, speech.language, speech.audio_stream, work.tools),
        heed=lambda: work.listener.progress(0.0),
    )
    if len(media.streams) > 1:
        work.listener.note(f"audio track {media.chosen.position}: {media.reason}")
    return media


def _is_enough(work: Work, audio: Audio) -> bool:
    """Whether the converted sound is there, or all that is in it has been heard already."""
    windows = work.folder.read("windows", tuple[Window, ...])
    language = work.folder.read("language", LanguageGuess)
    if windows is not None and language and work.folder.known(windows) == len(windows):
        return True
    try:
        with open_audio(work.folder.audio) as reader:
            return reader.duration_s == audio.duration_s
    except StorageFailed:
        return False


def _convert(work: Work, media: MediaInfo) -> Audio:
    work.listener.stage("convert", media.duration_s)
    source = work.job.source
    audio = convert(source.path, media, work.folder.audio, work.tools, work.listener.progress)
    ensure_unchanged(source)
    for note in audio.notes:
        work.listener.note(note)
    work.folder.save("audio", audio)
    return audio


def _find_speech(work: Work, audio: Audio) -> tuple[Window, ...]:
    work.listener.stage("speech", audio.duration_s)
    with open_audio(work.folder.audio) as reader, work.engines.detector() as detector:
        blocks = reader.blocks(READ_SAMPLES)
        return find_windows(blocks, audio.duration_s, detector, work.listener.progress)
