"""One track of a media file as plain sound.

Goes in: a media file and what the probe found in it. Comes out: 16 kHz mono s16 WAV on the media's
clock, whole or not at all. Does not know: what the sound is for.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, cast

from pipeline.audio import BYTES_PER_SAMPLE, open_audio
from pipeline.errors import NoAudio, StorageFailed
from pipeline.ffmpeg import (
    Heed,
    Patience,
    Tools,
    failure,
    global_options,
    input_options,
    locator,
    run,
)
from pipeline.files import storage_errors, whole
from pipeline.source import display
from pipeline.types import SAMPLE_RATE_HZ, Audio, MediaInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BYTES_PER_S = SAMPLE_RATE_HZ * BYTES_PER_SAMPLE  # 32 000; 115 MB an hour
# Less is missing where a header rounds, or where a track ends a little before the pictures.
_SHORTFALL_S = 2.0
_SHORTFALL_FRACTION = 0.01
_LEAST_BYTES_PER_S = 10.0  # speech takes 87 (codec2 at 700 bit/s), silence in FLAC some hundred
# In these, which may jump in time, ffmpeg takes the earliest of the tracks in use for the start
# (ogg: from version 6 on), so that a late track on its own begins at 0; elsewhere the container's
# start holds. Source: AVFMT_TS_DISCONT in libavformat, correct_input_start_times in fftools.
_REBASED = ("dhav", "mpeg", "mpegts", "ogg", "ty")
_MAX_LAID_OUT_CHANNELS = 8  # ffmpeg has a default loudspeaker layout for 1 … 8


def convert(
    path: Path, media: MediaInfo, target: Path, tools: Tools, on_progress: Callable[[float], None]
) -> Audio:
    """Write `target` from the chosen track.

    `on_progress` is told the media seconds done, at least once a second, and may raise to end it.

    A track that starts 2 s late gets 2 s of silence first; holes are filled with silence; packets
    that cannot be decoded are passed over. Raises NoAudio, StorageFailed, ToolMissing, ToolFailed.
    """
    _require_space(path, media, target)
    with whole(target) as part:
        _decode(path, media, part, tools, on_progress)
        duration_s = _measure(path, part)
        with part.open("rb") as sound:
            digest = hashlib.file_digest(sound, "sha256").hexdigest()
    return Audio(target, duration_s, digest, _shortfall(media, duration_s))


def _require_space(path: Path, media: MediaInfo, target: Path) -> None:
    needed_bytes = int(_believed_s(path, media) * BYTES_PER_S)
    with storage_errors(target):
        free_bytes = shutil.disk_usage(target.parent).free
    if free_bytes < needed_bytes:
        raise StorageFailed(
            f"{display(path)} needs {needed_bytes / 1e6:,.1f} MB as plain sound, and "
            f"{display(target.parent)} has {free_bytes / 1e6:,.1f} MB left: free some space."
        )


def _believed_s(path: Path, media: MediaInfo) -> float:
    """The length that the header claims, as far as a file of this size can hold it."""
    try:
        held_s = path.stat().st_size / _LEAST_BYTES_PER_S
    except OSError:  # it went away, which ffmpeg will tell
        return 0.0
    return min(media.duration_s or 0.0, held_s)


def _decode(
    path: Path,
    media: MediaInfo,
    part: Path,
    tools: Tools,
    on_progress: Callable[[float], None],
) -> None:
    done_s = 0.0

    def heed() -> None:
        on_progress(done_s)

    def on_line(line: str) -> bool:
        nonlocal done_s
        reached_s = _progress_s(line)
        if reached_s is None or reached_s <= done_s:
            return False
        done_s = reached_s
        return True

    command = _command(path, media, part, tools, heed)
    finished = run(command, path, Patience(tools.stall_s, heed), on_line)
    heed()
    if finished.return_code != 0:
        raise failure(command, path, finished)


def _command(path: Path, media: MediaInfo, part: Path, tools: Tools, heed: Heed) -> list[str]:
    import ffmpeg

    options = input_options(tools.ffmpeg, Patience(tools.probe_s, heed))
    source = ffmpeg.input("SOURCE", **options)
    sound = source[f"a:{media.chosen.position}"].output(
        "TARGET",
        af=_filters(media),
        acodec="pcm_s16le",
        format="wav",
        rf64="auto",  # RF64 past 4 GiB, at 37 hours
        map_metadata=-1,
        map_chapters=-1,
        fflags="+bitexact",  # no encoder tag
        max_error_rate=1,  # a file with many broken packets still has the others
    )
    extra = ("-nostdin", "-v", "error", "-progress", "pipe:1", "-nostats", *global_options())
    command = sound.overwrite_output().global_args(*extra).compile(cmd=tools.ffmpeg)
    # The names come in last: ffmpeg-python hashes its words as UTF-8, and names need not be that.
    names = {"SOURCE": locator(path), "TARGET": locator(part)}
    return [names.get(word, word) for word in cast("list[str]", command)]


def _filters(media: MediaInfo) -> str:
    """Down to 16 kHz mono first, on the media's clock second.

    In this order the silence for a hole of an hour takes 0.2 GB of memory; at 48 kHz stereo float,
    in one filter, 3.2 GB. async=1 fills and trims but never stretches; first_pts=0 pads the start.
    """
    stream = media.chosen
    rebased = media.container in _REBASED and stream.start_s > 0
    late = f"asetpts=PTS-STARTPTS+{stream.start_s:.6f}/TB," if rebased else ""
    plain = "aresample=16000,aformat=sample_fmts=s16:channel_layouts=mono"
    clock = "aresample=async=1:first_pts=0"
    if stream.channels <= _MAX_LAID_OUT_CHANNELS:
        return f"{late}{plain},{clock}"
    channels = "+".join(f"c{index}" for index in range(stream.channels))
    return f"{late}pan=mono|c0<{channels},{plain},{clock}"  # "<": an average, so nothing clips


def _progress_s(line: str) -> float | None:
    """Seconds in a line that -progress wrote; the value is N/A until there is one."""
    name, _, value = line.partition("=")
    if name != "out_time_us" or not value.isdecimal():
        return None
    return int(value) / 1e6


def _measure(path: Path, part: Path) -> float:
    if part.stat().st_size == 0:
        raise _no_audio(path)
    with open_audio(part) as audio:
        if audio.n_samples == 0:
            raise _no_audio(path)
        return audio.duration_s


def _no_audio(path: Path) -> NoAudio:
    return NoAudio(
        f"{display(path)} has an audio track, but no sound could be read from it: "
        "check that the file plays and is not encrypted."
    )


def _shortfall(media: MediaInfo, duration_s: float) -> tuple[str, ...]:
    """Half a file (mp3, ogg, mkv …) is no error to ffmpeg; only the header tells."""
    if media.chosen.duration_s is None:
        return ()
    # Matroska gives a track's length or its end, as its writer pleased: the container's end bounds.
    promised_s = media.chosen.start_s + media.chosen.duration_s
    promised_s = min(promised_s, media.duration_s or promised_s)
    if promised_s - duration_s <= max(_SHORTFALL_S, _SHORTFALL_FRACTION * promised_s):
        return ()
    missing = f"the header promises {promised_s:.1f} s, {duration_s:.1f} s could be read"
    return (f"{missing}: the file may be cut short or damaged",)
