"""The file formats.

Goes in: a transcript and its cues. Comes out: the text of a file, to be written as UTF-8.
Does not know: how cues were laid out, where files go.

srt and vtt hold the cues, and nothing of the transcript but where it comes from; txt and json hold
the transcript, as it was before the layout.
"""

from __future__ import annotations

import html
import unicodedata
from dataclasses import fields
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipeline.codec import dumps
from pipeline.types import Format, SpeechOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.types import Cue, Transcript

_DROPPED = frozenset({"Cc", "Cs"})  # control characters, and halves of characters


HOLD_SEGMENTS = frozenset[Format](("txt", "json"))  # the formats that a transcript's are read for


def render(kind: Format, transcript: Transcript, cues: tuple[Cue, ...]) -> str:
    """The text of one output file. Without cues, an SRT is empty, which players take for valid."""
    return FORMATS[kind](transcript, cues)


def _srt(_: Transcript, cues: tuple[Cue, ...]) -> str:
    import srt

    subtitles = (
        srt.Subtitle(index, _whole_ms(cue.start_s), _whole_ms(cue.end_s), "\n".join(lines))
        for index, (cue, lines) in enumerate(_legible(cues), start=1)
    )
    return str(srt.compose(subtitles, reindex=False))


def _vtt(transcript: Transcript, cues: tuple[Cue, ...]) -> str:
    blocks = ["WEBVTT", "\n".join(["NOTE", *map(_clean, _origin(transcript))])]
    for cue, lines in _legible(cues):
        times = f"{_clock(cue.start_s)} --> {_clock(cue.end_s)}"
        blocks.append("\n".join([times, *(html.escape(line, quote=False) for line in lines)]))
    return "\n\n".join(blocks) + "\n"


def _txt(transcript: Transcript, _: tuple[Cue, ...]) -> str:
    """One segment a line, as whisper writes it."""
    lines = (" ".join(segment.text.split()) for segment in transcript.segments)
    return "".join(line + "\n" for line in lines if line)


def _json(transcript: Transcript, _: tuple[Cue, ...]) -> str:
    return dumps(transcript, indent=1) + "\n"


FORMATS: MappingProxyType[Format, Callable[[Transcript, tuple[Cue, ...]], str]]
FORMATS = MappingProxyType({"srt": _srt, "vtt": _vtt, "txt": _txt, "json": _json})


def _legible(cues: tuple[Cue, ...]) -> Iterator[tuple[Cue, list[str]]]:
    """Cues with lines that are safe in srt and vtt; those without any text are left out."""
    for cue in cues:
        lines = [line for line in map(_clean, cue.lines) if line]
        if lines:
            yield cue, lines


def _clean(line: str) -> str:
    """One line without control characters and without the arrow that ends a cue's times."""
    kept = (c for c in " ".join(line.split()) if unicodedata.category(c) not in _DROPPED)
    text = "".join(kept)
    while "-->" in text:  # "--->" leaves another
        text = text.replace("-->", "->")
    return " ".join(text.split())


def _origin(transcript: Transcript) -> Iterator[str]:
    """How the file came about."""
    made = transcript.provenance
    chosen, usual = made.options, SpeechOptions()
    yield f"{made.program}, from {transcript.source}"
    for engine in made.engines:
        yield f"model: {engine.model}, {engine.quantisation}, on {engine.device} ({engine.reason})"
    sure = transcript.language_probability
    yield f"language: {transcript.language}" + ("" if sure is None else f" (detected, {sure:.0%})")
    for option in fields(chosen):
        value = getattr(chosen, option.name)
        named = option.name in {"model", "quantisation", "language"}
        if value != getattr(usual, option.name) and not named:
            yield f"{option.name}: {value}"
    yield from transcript.notes


def _whole_ms(time_s: float) -> timedelta:
    return timedelta(milliseconds=round(time_s * 1000))  # srt itself would cut, not round


def _clock(time_s: float) -> str:
    minutes, ms = divmod(round(time_s * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}.{ms % 1000:03}"
