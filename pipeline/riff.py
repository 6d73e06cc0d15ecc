"""What WAV and AVI files say of their own size.

Goes in: a file, and its first eight bytes. Comes out: how many times as long it was meant to be as
ffprobe finds it. Does not know: what is in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.types import AudioStream

_UNKNOWN_SIZE = 0xFFFF_FFFF  # of a file that was written to a pipe, or is larger


def meant(path: Path, start: bytes) -> float:
    """1.0, or more where a WAV or AVI was cut: its first chunk, RIFF, has the size of the rest."""
    claimed = int.from_bytes(start[4:], "little")
    if start[:4] != b"RIFF" or claimed in (0, _UNKNOWN_SIZE):
        return 1.0
    try:
        there = path.stat().st_size - len(start)
    except OSError:
        return 1.0
    return max(1.0, claimed / max(1, there))


def as_meant(stream: AudioStream, left_s: float | None, times: float) -> AudioStream:
    """The stream of a file of which `left_s` are left, as long as it was meant to be."""
    length_s = stream.duration_s or left_s
    return replace(stream, duration_s=length_s * times) if length_s and times > 1 else stream
