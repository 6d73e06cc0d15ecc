"""Transcripts that exist.

Goes in: the path of an SRT, VTT or JSON file. Comes out: what was said, in order of time. Does not
know: summaries.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline import codec
from pipeline.errors import BadOption, NoSuchFile, NotAFile, Unreadable
from pipeline.iso639 import SHORT_CODES
from pipeline.source import display
from pipeline.summaries.languages import code_of
from pipeline.summaries.records import Line, Spoken, spoken_of
from pipeline.types import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_FILE_BYTES = 64 * 2**20  # a day of speech with a time for each word has some 20 MB
MAX_TIME_S = 1_000_000.0
# <i>, </b>, <c.red>, <font color="red">, <lang de>, <00:01.000>, {\an8}; other brackets were said.
# Sources: WebVTT, "Cue text"; SubRip's HTML; override codes of Advanced SubStation Alpha.
_VALUE = r"""(?:"[^"<>\n]{0,80}"|'[^'<>\n]{0,80}'|[^\s"'<>]{1,80})"""
_TAG = re.compile(
    r"</?(?:i|b|u|s|em|strong|font|c|v|ruby|rt|lang(?:[ \t]+[\w-]{1,40})?)"
    rf"(?:\.[^\s<>]{{0,100}})?(?:[ \t]+[\w-]{{1,40}}[ \t]*=[ \t]*{_VALUE}){{0,8}}>"
    r"|<(?:\d{1,4}:)?\d{2}:\d{2}\.\d{3}>"
    r"|\{\\[^{}\n]{0,100}\}",
    re.IGNORECASE,
)
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>\n]{1,200})>")  # WebVTT: who speaks
_VTT_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})\.(\d{3})"
_VTT_TIMES = re.compile(rf"{_VTT_TIME}[ \t]+-->[ \t]+{_VTT_TIME}(?:[ \t].*)?")


def read_transcript(path: Path, media: str | None = None) -> Spoken:
    """What a transcript says; `media` is the name of its media file, where that is known.

    Raises NoSuchFile, NotAFile, Unreadable, and BadOption for other kinds of files.
    """
    readers: dict[str, Callable[[Path, str], Spoken]]
    readers = {".srt": _srt, ".vtt": _vtt, ".json": _json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BadOption(f"{display(path)} is no transcript: give an .srt, .vtt or .json file.")
    spoken = reader(path, _text(path))
    lines = tuple(sorted(_checked(path, spoken.lines), key=lambda line: line.start_s))
    end_s = max((line.end_s for line in lines), default=0.0)
    return Spoken(
        source=spoken.source,
        media=media or spoken.media,
        duration_s=max(end_s, spoken.duration_s),
        language=spoken.language,
        lines=lines,
    )


def _text(path: Path) -> str:
    try:
        if not path.exists():
            raise NoSuchFile(f"{display(path)} does not exist.")
        if not path.is_file():
            raise NotAFile(f"{display(path)} is no file: give a transcript.")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{display(path)} cannot be read ({error.strerror}).") from error
    if len(content) > MAX_FILE_BYTES:
        raise Unreadable(
            f"{display(path)} is larger than {MAX_FILE_BYTES // 2**20} MiB: is it a transcript?"
        )
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{display(path)} is not UTF-8: save it as UTF-8.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _checked(path: Path, lines: tuple[Line, ...]) -> Iterator[Line]:
    """Lines with text and possible times; those without text say nothing."""
    for number, line in enumerate(lines, start=1):
        is_possible = 0 <= line.start_s <= MAX_TIME_S and 0 <= line.end_s <= MAX_TIME_S
        if not is_possible:  # NaN is not either
            raise Unreadable(
                f"{display(path)}: text {number} has impossible times "
                f"({line.start_s} to {line.end_s} s): mend the file."
            )
        if line.text.strip():
            yield Line(line.start_s, max(line.start_s, line.end_s), line.text)


def _srt(path: Path, text: str) -> Spoken:
    import srt

    try:
        subtitles = list(srt.parse(text))
    except srt.SRTParseError as error:
        at = text[: error.expected_start].count("\n") + 1
        raise Unreadable(f"{display(path)}, line {at}: not SRT: mend the file.") from error
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"{display(path)}: not SRT ({error}): mend the file.") from error
    if not subtitles and text.strip():
        raise Unreadable(f"{display(path)}, line 1: not SRT: mend the file.")
    lines = (
        Line(one.start.total_seconds(), one.end.total_seconds(), _plain(one.content))
        for one in subtitles
    )
    return Spoken(path.name, None, 0.0, _language(path), tuple(lines))


def _vtt(path: Path, text: str) -> Spoken:
    """Cues of a WebVTT file; its notes, styles and regions have no times and are passed over."""
    if not re.match(r"WEBVTT(?:[ \t\n]|$)", text):
        raise Unreadable(f"{display(path)}, line 1: not WebVTT: the file must begin with WEBVTT.")
    lines: list[Line] = []
    rows = iter(enumerate(text.split("\n"), start=1))
    for number, row in rows:
        if "-->" not in row:
            continue
        times = _VTT_TIMES.fullmatch(row.strip())
        if times is None:
            raise Unreadable(f"{display(path)}, line {number}: no times of a cue: mend the file.")
        body = []
        for _, inner in rows:
            if not inner.strip():
                break
            body.append(inner)
        said = html.unescape(_plain(_VOICE.sub(r"\1: ", "\n".join(body))))
        lines.append(Line(_vtt_s(times.groups()[:4]), _vtt_s(times.groups()[4:]), said))
    return Spoken(path.name, None, 0.0, _language(path), tuple(lines))


def _vtt_s(clock: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, ms = (int(part or 0) for part in clock)
    whole_ms = ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
    return whole_ms / 1000


def _plain(text: str) -> str:
    return " ".join(_TAG.sub("", text).split())


def _language(path: Path) -> str | None:
    """The language in a name such as talk.en.srt."""
    code = path.with_suffix("").suffix.removeprefix(".").lower()
    return SHORT_CODES.get(code, code if code in SHORT_CODES.values() else None)


@dataclass(frozen=True, slots=True)
class _WhisperSegment:
    """A segment as openai-whisper writes it, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class _WhisperFile:
    """The JSON of openai-whisper, faster-whisper and WhisperX."""

    segments: tuple[_WhisperSegment, ...]
    language: str | None = None


def _json(path: Path, text: str) -> Spoken:
    """Our own JSON, or that of openai-whisper."""
    try:
        plain: Any = json.loads(text)
        is_ours = isinstance(plain, dict) and "provenance" in plain
        if is_ours:
            return spoken_of(codec.loads(text, Transcript))
        found = codec.loads(text, _WhisperFile)
    except (ValueError, RecursionError, OverflowError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"{display(path)}{where}: no transcript of ours or of Whisper.") from error
    lines = tuple(Line(one.start, one.end, one.text.strip()) for one in found.segments)
    language = code_of(found.language) if found.language else _language(path)
    return Spoken(path.name, None, 0.0, language, lines)
