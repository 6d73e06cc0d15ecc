"""A summary's files.

Goes in: a summary. Comes out: files, each whole or not at all. Does not know: how it was made,
whose an output path is.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pipeline import codec
from pipeline.files import write_whole
from pipeline.naming import fitted
from pipeline.summaries.cleaning import visible
from pipeline.summaries.markdown import render_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.summaries.options import SummaryFormat
    from pipeline.summaries.records import Summary

_FFMETADATA = re.compile(r"[=;#\\\n]")  # ffmpeg-formats, "Metadata": escaped with a backslash

SUFFIXES: MappingProxyType[SummaryFormat, str] = MappingProxyType(
    {
        "md": ".summary.md",
        "json": ".summary.json",
        "chapters.json": ".chapters.json",
        "chapters.vtt": ".chapters.vtt",
        "ffmetadata": ".ffmetadata",
    }
)


def summary_targets(
    folder: Path, stem: str, formats: tuple[SummaryFormat, ...]
) -> dict[SummaryFormat, Path]:
    """Where each format goes; a stem too long for the file system loses its end."""
    return {kind: folder / fitted("{stem}" + SUFFIXES[kind], stem) for kind in formats}


def write_summary(
    summary: Summary, targets: dict[SummaryFormat, Path], *, replace: bool
) -> tuple[Path, ...]:
    """Write each format to its place; gives what was written, without `replace` only new files.

    Raises StorageFailed, Busy.
    """
    return tuple(
        path
        for kind, path in targets.items()
        if write_whole(path, render(kind, summary), replace=replace)
    )


def render(kind: SummaryFormat, summary: Summary) -> str:
    """The text of one file."""
    return _RENDERERS[kind](summary)


def _json(summary: Summary) -> str:
    return codec.dumps(summary, indent=1) + "\n"


def _chapters_json(summary: Summary) -> str:
    """JSON chapters 1.2 of Podcasting 2.0 (podcast-namespace, chapters/jsonChapters.md)."""
    chapters = [
        {
            "startTime": stretch.start_ms / 1000,
            "endTime": stretch.end_ms / 1000,
            "title": _line(stretch.title),
        }
        for stretch in _from_zero(summary)
    ]
    table = {"version": "1.2.0", "title": _line(summary.title), "chapters": chapters}
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _chapters_vtt(summary: Summary) -> str:
    """A chapters track (WebVTT, "chapter cue text"). Escaped, a title has no arrow."""
    blocks = ["WEBVTT"]
    for stretch in _from_zero(summary):
        times = f"{_clock(stretch.start_ms)} --> {_clock(stretch.end_ms)}"
        blocks.append(f"{times}\n{html.escape(_line(stretch.title), quote=False)}")
    return "\n\n".join(blocks) + "\n"


def _ffmetadata(summary: Summary) -> str:
    """For `ffmpeg -i talk.mp4 -i talk.ffmetadata -map_chapters 1 -c copy …`."""
    blocks = [f";FFMETADATA1\ntitle={_value(summary.title)}"]
    for stretch in _from_zero(summary):
        times = f"START={stretch.start_ms}\nEND={stretch.end_ms}"
        blocks.append(f"[CHAPTER]\nTIMEBASE=1/1000\n{times}\ntitle={_value(stretch.title)}")
    return "\n".join(blocks) + "\n"


_RENDERERS: MappingProxyType[SummaryFormat, Callable[[Summary], str]] = MappingProxyType(
    {
        "md": render_markdown,
        "json": _json,
        "chapters.json": _chapters_json,
        "chapters.vtt": _chapters_vtt,
        "ffmetadata": _ffmetadata,
    }
)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A chapter as players have it; WebVTT and ffmpeg know none without length."""

    start_ms: int
    end_ms: int
    title: str


def _from_zero(summary: Summary) -> Iterator[_Stretch]:
    """What comes before the first word is the first chapter's."""
    for number, chapter in enumerate(summary.chapters):
        start_ms = round(chapter.start_s * 1000) if number else 0
        yield _Stretch(start_ms, max(start_ms + 1, round(chapter.end_s * 1000)), chapter.title)


def _line(text: str) -> str:
    return visible(text) or "–"


def _value(text: str) -> str:
    value = _FFMETADATA.sub(r"\\\g<0>", _line(text))
    return value + " " * value.endswith("\\")  # at a line's end ffmpeg takes it for a continuation


def _clock(time_ms: int) -> str:
    minutes, ms = divmod(time_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}.{ms % 1000:03}"
