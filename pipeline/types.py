"""The nouns.

Goes in: nothing. Comes out: frozen values. Does not know: files, models, terminals.
Every public time is seconds on the media's own clock (`*_s`); sequences are tuples.
Every value here except `Clip`, which carries sound, survives JSON and back (`pipeline.codec`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.summaries.options import SummaryOptions

if TYPE_CHECKING:
    import numpy as np

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 30.0  # the longest stretch that Whisper hears at once

Task = Literal["transcribe", "translate"]
Quantisation = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"]
Wish = Literal["fast", "balanced", "best"]
Format = Literal["srt", "vtt", "txt", "json"]
Stage = Literal["probe", "convert", "speech", "language", "transcribe", "write", "summarise"]


# ── what is wanted ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """Everything that can change the words or their times. The defaults are openai-whisper's."""

    model: str = "auto"  # a registry name, "demo", a file's path; auto: what fits this machine
    wish: Wish = "balanced"  # what "auto" goes by
    quantisation: Quantisation = "auto"
    language: str | None = None  # ISO 639-1 code; None: detect it
    task: Task = "transcribe"
    initial_prompt: str | None = None  # names and jargon; every window is given it
    audio_stream: int | None = None  # position among the audio streams; None: by language
    word_times: bool = True
    beam_size: int = 1  # 1: greedy; used at temperature 0 only
    best_of: int = 5  # samples drawn at temperatures above 0
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    # None: never
    compression_ratio_limit: float | None = 2.4  # above: too repetitive, try the next temperature
    log_probability_limit: float | None = -1.0  # below: too unsure, try the next temperature
    no_speech_limit: float | None = 0.6  # above, and unsure: nothing was said


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """How cues are laid out. Sources: Netflix timed-text style guide, BBC subtitle guidelines."""

    max_line_chars: int = 42  # Netflix, Latin scripts
    max_lines: int = 2
    min_duration_s: float = 5 / 6  # Netflix: 5/6 of a second
    max_duration_s: float = 7.0  # Netflix
    max_chars_per_s: float = 20.0  # Netflix, adult programmes, English
    min_gap_s: float = 0.08  # two frames at 24 per second: players then show that the text changed


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Everything that changes how a transcript is written down, and where."""

    formats: tuple[Format, ...] = ("srt",)
    output_dir: Path | None = None  # None: beside the media
    name: str = "{stem}.{language}.{format}"  # pipeline.naming lists the fields
    overwrite: bool = False
    layout: LayoutOptions = field(default_factory=LayoutOptions)


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was when the job was taken; changed in size or time, it is another source."""

    path: Path  # absolute
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted for one file. A few hundred bytes of JSON."""

    source: Source
    speech: SpeechOptions
    output: OutputOptions
    summary: SummaryOptions | None = None  # None: none is wanted


# ── what is found on the way ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class AudioStream:
    """One audio track of a media file."""

    position: int  # among the audio streams: ffmpeg's 0:a:<position>
    codec: str
    language: str | None  # ISO 639-1 where the tag is known, else the tag itself
    title: str | None
    is_default: bool
    start_s: float  # on the media's clock, whose zero is the container's own start
    duration_s: float | None
    channels: int
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What ffprobe says of a file, and the stream that was picked."""

    container: str
    duration_s: float | None  # the header's claim; None when it makes none
    streams: tuple[AudioStream, ...]
    chosen: AudioStream
    reason: str  # why this stream: "English as asked", "marked as default", "the only one"


@dataclass(frozen=True, slots=True)
class Audio:
    """A converted track: 16 kHz mono s16 WAV (RF64 when long) that starts at media time 0."""

    path: Path
    duration_s: float
    digest: str  # SHA-256 of the file, hexadecimal
    notes: tuple[str, ...] = ()  # such as a shortfall against the header


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of speech."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """A slice of the audio, at most 30 s, with the speech in it. Windows never overlap."""

    start_s: float
    end_s: float
    spans: tuple[Span, ...]  # inside the window, in order

    @property
    def speech_s(self) -> float:
        """How long somebody speaks in it."""
        return sum(span.end_s - span.start_s for span in self.spans)


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A window and its sound, on the way to an engine. The one noun that is not JSON."""

    window: Window
    samples: np.ndarray  # float32 (n,), 16 kHz, -1 … 1, n <= 480 000
    options: SpeechOptions  # with a language, unless the clip is meant for detect_language


@dataclass(frozen=True, slots=True)
class Word:
    """A word as Whisper wrote it, with its leading space and trailing punctuation."""

    start_s: float
    end_s: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """What Whisper wrote between two timestamps, and how sure it was."""

    start_s: float
    end_s: float
    text: str  # stripped; the words' texts joined and stripped are equal to it
    words: tuple[Word, ...]  # empty when word times were not wanted
    temperature: float
    average_log_probability: float
    compression_ratio: float
    no_speech_probability: float


@dataclass(frozen=True, slots=True)
class Heard:
    """The result for one window; a window without words has no segments."""

    window: Window
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    """The language, and the mean probability over the windows that were asked."""

    language: str
    probability: float | None  # None: nobody was asked, since the user said so or nobody speaks


# ── what comes out ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """Which engine it is, and what it can do."""

    model: str
    quantisation: Quantisation
    device: str  # "cpu", "cuda:0"
    languages: tuple[str, ...]  # codes that it hears
    can_translate: bool
    reason: str  # why this model on this device, printed and recorded


@dataclass(frozen=True, slots=True)
class Provenance:
    """How an output came about: enough to make it again."""

    program: str  # "transcribe 0.1.0"
    engines: tuple[EngineDescription, ...]  # that heard it, in order; none: there was no speech
    options: SpeechOptions


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that was heard in one file."""

    source: str  # the file's name, without its folder
    duration_s: float
    language: str
    language_probability: float | None
    segments: tuple[Segment, ...]
    provenance: Provenance
    notes: tuple[str, ...] = ()  # what a reader should know: no speech, a cut file


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle on the screen."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one file ended."""

    source: Path
    state: Literal["done", "skipped", "failed"]
    outputs: tuple[Path, ...] = ()
    language: str | None = None
    duration_s: float | None = None
    took_s: float | None = None
    reason: str | None = None  # why skipped or failed, in words for a person
    error: str | None = None  # the class in pipeline.errors, for a program
    exit_code: int = 0
    notes: tuple[str, ...] = ()
    summary_failure: str | None = None  # why there is no summary, although one was wanted


# ── what a language model is asked ───────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One question to a language model. It has no memory of earlier ones."""

    system: str  # what it is to do
    user: str  # what it is to do it with; untrusted text is fenced in it
    max_answer_tokens: int
    schema: str | None = None  # the JSON Schema of the answer, as JSON; None: free text


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """What it wrote."""

    text: str
    prompt_tokens: int | None  # as the model counted them; None when it does not say
    answer_tokens: int | None
    is_cut: bool  # it hit max_answer_tokens, or the end of its context


@dataclass(frozen=True, slots=True)
class TextEngineDescription:
    """Which language model it is, and what it can do."""

    model: str  # "qwen3-4b, q4_k_m"; a server's own name for it
    home: str  # "in this process", or the server's address
    context_tokens: int  # question, answer and template together
    follows_schemas: bool  # its answers are constrained to the schema while they are written
    reason: str  # why this one, printed and recorded
