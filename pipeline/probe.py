"""What is in a media file, and which of its audio tracks is wanted.

Goes in: a path and wishes about the track. Comes out: MediaInfo, with the reason for the choice;
or the languages of the subtitles in it. Does not know: how sound is decoded, or what it is for.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from pipeline.errors import BadOption, NoAudio, NotMedia, TranscribeError, Unreadable
from pipeline.ffmpeg import (
    Finished,
    Heed,
    Patience,
    Tools,
    decoders,
    failure,
    global_options,
    heedless,
    input_options,
    locator,
    run,
)
from pipeline.iso639 import short_code
from pipeline.riff import as_meant, meant
from pipeline.source import display
from pipeline.types import AudioStream, MediaInfo

if TYPE_CHECKING:
    from pathlib import Path

# First bytes of what people drop by mistake, and what to do. Without this, ffmpeg takes a zip named
# .mp3 for a broken mp3. Source: https://en.wikipedia.org/wiki/List_of_file_signatures
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive (or an office document)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"%PDF-", "a PDF document"),
)
# Formats whose files name other files to open. Source: `ffmpeg -demuxers`, 5.1 and 9.0. HLS under a
# wrong name is not even recognised by some versions, so its first bytes are looked at as well.
_PLAYLIST_START = b"#EXTM3U"
_PLAYLISTS = ("hls", "concat", "dash", "imf", "sdp", "rtsp", "webm_dash_manifest", "avisynth")
# ffmpeg's score for "nothing but the name speaks for it"; real media score 24 and more.
_GUESSED_SCORE = 1
# Their headers claim no length: ffmpeg takes it from the last timestamp, which says nothing after a
# cut and is wrong after a jump (two recordings in one file).
_MEASURED = ("dhav", "mpeg", "mpegts", "ogg", "ty")
_MAX_DURATION_S = 1000 * 3600.0  # a header that claims more is broken
# Subtitles that are text; the others are pictures. Source: AV_CODEC_PROP_TEXT_SUB in
# libavcodec/codec_desc.c, 5.1 and 9.0.
_TEXT_SUBTITLES = (
    *("ass", "eia_608", "hdmv_text_subtitle", "jacosub", "microdvd", "mov_text", "mpl2", "pjs"),
    *("realtext", "sami", "srt", "ssa", "stl", "subrip", "subviewer", "subviewer1", "text", "ttml"),
    *("vplayer", "webvtt"),
)


def probe(
    path: Path, language: str | None, audio_stream: int | None, tools: Tools, heed: Heed = heedless
) -> MediaInfo:
    """Read the headers and pick a track.

    That is the one at the position asked for, else one in `language` (ISO 639-1), else the one
    marked as default, else the first. `heed` is called at least once a second; it may raise.

    Raises NotMedia, NoAudio, Unreadable, BadOption, ToolMissing, ToolFailed.
    """
    start = _read_start(path)
    _refuse_known_others(path, start)
    report, complaints = _report(path, start, tools.ffprobe, Patience(tools.probe_s, heed))
    header = report["format"]
    streams = _audio_streams(report, claims=_claims_length(header, complaints))
    if header.get("probe_score", 100) <= _GUESSED_SCORE:
        raise _not_media(path, start)
    _require_sound(path, streams)
    chosen, reason = _pick(path, streams, language, audio_stream)
    lengths_s = [stream.duration_s for stream in streams if stream.duration_s is not None]
    length_s = _duration_s(header.get("duration")) or max(lengths_s, default=None)
    times = meant(path, start)
    return MediaInfo(
        container=header["format_name"],
        duration_s=length_s and length_s * times,
        streams=tuple(as_meant(stream, length_s, times) for stream in streams),
        chosen=as_meant(chosen, length_s, times),
        reason=reason,
    )


def embedded_subtitles(path: Path, tools: Tools) -> tuple[str | None, ...]:
    """The languages (ISO 639-1) of the full text subtitles in a media file, None where untagged.

    Raises NotMedia, Unreadable, ToolMissing, ToolFailed.
    """
    start = _read_start(path)
    _refuse_known_others(path, start)
    report, _ = _report(path, start, tools.ffprobe, Patience(tools.probe_s))
    return tuple(
        short_code(entry.get("tags", {}).get("language", ""))
        for entry in report.get("streams", [])
        if entry.get("codec_type") == "subtitle"
        and entry.get("codec_name") in _TEXT_SUBTITLES
        and not entry.get("disposition", {}).get("forced")
    )


def _read_start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise Unreadable(f"{display(path)} cannot be read: {error.strerror}.") from error


def _refuse_known_others(path: Path, start: bytes) -> None:
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            raise NotMedia(f"{display(path)} is {kind}, not media: give the media file itself.")


def _report(
    path: Path, start: bytes, ffprobe: str, patience: Patience
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give what ffprobe says, in its own words.

    Run by ourselves, since ffmpeg.probe of ffmpeg-python cannot stop an ffprobe that hangs.
    """
    command, lines = _command(path, ffprobe, patience), list[str]()
    finished = run(command, path, patience, lines.append)
    try:  # the return code says less: it is 1 also where only a picture could not be opened
        report = json.loads("".join(lines))
    except ValueError:
        report = {}
    if not report.get("format", {}).get("format_name"):
        raise _refusal(command, path, start, finished)
    return report, finished.complaints


def _command(path: Path, ffprobe: str, patience: Patience) -> list[str]:
    options = input_options(ffprobe, patience)
    # ffprobe gives up on a track whose decoder it may not open, so here it may. It opens them to
    # no effect: the list for the whole file, which bars all but audio, rules while it decodes.
    for kind, specifier in (("V", "v"), ("S", "s")):
        names = decoders(ffprobe, patience, kind)
        options[f"codec_whitelist:{specifier}"] = ",".join(names)
    entries = (
        "format=format_name,start_time,duration,probe_score"
        ":stream=codec_type,codec_name,start_time,duration,channels,sample_rate"
        ":stream_tags=language,title,DURATION:stream_disposition=default,forced"
    )
    return [
        ffprobe,
        *global_options(),
        *("-v", "warning", "-show_entries", entries, "-of", "json"),
        *(word for name, value in options.items() for word in (f"-{name}", value)),
        *("-i", locator(path)),
    ]


def _refusal(command: list[str], path: Path, start: bytes, finished: Finished) -> TranscribeError:
    """Why ffprobe would not open the file."""
    text = "\n".join(finished.complaints)
    refused = re.search(r"^\[([\w,]+) @ \w+\] Format not on whitelist", text, re.MULTILINE)
    if refused and refused[1] in _PLAYLISTS:
        return _playlist(path)
    if refused:
        return NotMedia(
            f"{display(path)} holds {refused[1]} data, which has no sound: give a media file."
        )
    if "moov atom not found" in text:
        return NotMedia(
            f"{display(path)} is cut short: its index is missing. Copy or download it again."
        )
    if "file:" not in text:  # not a word about the file: the tool itself is broken
        return failure(command, path, finished)
    if "Permission denied" in text or "Input/output error" in text:
        return Unreadable(f"{display(path)} cannot be read: check its permissions and disk.")
    return _not_media(path, start)


def _playlist(path: Path) -> NotMedia:
    return NotMedia(
        f"{display(path)} is a playlist, not media: refused because it can open other files. "
        "Give the media file itself."
    )


def _not_media(path: Path, start: bytes) -> NotMedia:
    if start.startswith(_PLAYLIST_START):
        return _playlist(path)
    return NotMedia(
        f"{display(path)} is not media, or is damaged: ffmpeg finds neither sound nor pictures "
        "in it. Check that it plays."
    )


def _claims_length(header: dict[str, Any], complaints: tuple[str, ...]) -> bool:
    """Whether the file itself says how long it is, so that less sound means that some is lost."""
    guessed = any("Estimating duration from bitrate" in line for line in complaints)
    return not guessed and header["format_name"] not in _MEASURED


def _audio_streams(report: dict[str, Any], *, claims: bool) -> tuple[AudioStream, ...]:
    header = report["format"]
    start_s = _number(header.get("start_time")) or 0.0
    end_s = _duration_s(header.get("duration"))
    entries = [entry for entry in report.get("streams", []) if entry.get("codec_type") == "audio"]
    return tuple(
        _audio_stream(position, entry, start_s, end_s, claims=claims)
        for position, entry in enumerate(entries)
    )


def _audio_stream(
    position: int, entry: dict[str, Any], start_s: float, end_s: float | None, *, claims: bool
) -> AudioStream:
    tags = entry.get("tags", {})
    late_s = max(0.0, (_number(entry.get("start_time")) or start_s) - start_s)
    claim_s = _duration_s(entry.get("duration")) or _clock_s(tags.get("DURATION"))
    rest_s = None if end_s is None else max(0.0, end_s - late_s)
    return AudioStream(
        position=position,
        codec=entry.get("codec_name", "unknown"),
        language=short_code(tags.get("language", "")),
        title=tags.get("title"),
        is_default=bool(entry.get("disposition", {}).get("default")),
        start_s=late_s,
        duration_s=claim_s or rest_s if claims else None,
        channels=int(entry.get("channels", 0)),
        sample_rate_hz=int(_number(entry.get("sample_rate")) or 0),
    )


def _require_sound(path: Path, streams: tuple[AudioStream, ...]) -> None:
    if not streams:
        raise NoAudio(f"{display(path)} has no audio track: there is nothing to transcribe.")
    if not any(stream.sample_rate_hz for stream in streams):
        raise NoAudio(
            f"{display(path)} has no audio track that this ffmpeg can read "
            f"({_listing(streams)}): check that it plays, or install a newer ffmpeg."
        )


def _pick(
    path: Path, streams: tuple[AudioStream, ...], language: str | None, audio_stream: int | None
) -> tuple[AudioStream, str]:
    if audio_stream is not None:
        if not 0 <= audio_stream < len(streams):
            raise BadOption(
                f"{display(path)} has no audio track {audio_stream}: there is {_listing(streams)}."
            )
        return streams[audio_stream], "chosen by its number"
    # A broadcast may announce a track and send nothing: it has no sample rate.
    usable = [stream for stream in streams if stream.sample_rate_hz]
    if len(usable) == 1:
        return usable[0], "the only one"
    usable.sort(key=lambda stream: not stream.is_default)  # stable: else the file's order
    wanted = None if language is None else short_code(language)
    matching = [stream for stream in usable if wanted is not None and stream.language == wanted]
    if matching:
        return matching[0], f'tagged "{wanted}" as asked'
    because = "marked as default" if usable[0].is_default else "the first"
    return usable[0], because if wanted is None else f'none is tagged "{wanted}"; {because}'


def _listing(streams: tuple[AudioStream, ...]) -> str:
    return ", ".join(
        f"{stream.position} ({stream.language or 'no language'}, {stream.codec})"
        for stream in streams
    )


def _duration_s(text: str | None) -> float | None:
    """A length that can be believed, else None: headers say N/A, 0, negative or 300 000 years."""
    value = _number(text)
    return value if value is not None and 0 < value <= _MAX_DURATION_S else None


def _clock_s(text: str | None) -> float | None:
    """Matroska's DURATION tag, "00:00:30.023000000"."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text or "")
    if not found:
        return None
    return _duration_s(str(int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
