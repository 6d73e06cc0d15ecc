"""Reading the converted track, a stretch at a time.

Goes in: a 16 kHz mono s16 WAV, RIFF or RF64 (past 4 GiB, at 37 hours). Comes out: float32 samples.
Does not know: where the file came from. Memory does not grow with its length.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import StorageFailed
from pipeline.source import display
from pipeline.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

BYTES_PER_SAMPLE = 2
_FORMATS = (1, 0xFFFE)  # WAVE_FORMAT_PCM, WAVE_FORMAT_EXTENSIBLE
_MAX_CHUNKS = 64  # ffmpeg writes three or four


@dataclass(frozen=True, slots=True)
class AudioReader:
    """An open track. Reads by position, so several threads may share it."""

    path: Path
    descriptor: int
    data_start_bytes: int
    n_samples: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / SAMPLE_RATE_HZ

    def read(self, start_samples: int, count_samples: int) -> np.ndarray:
        """Give float32 (n,), -1 … 1; n is less than `count_samples` only at the end of the track.

        `start_samples` is at least 0. Raises StorageFailed.
        """
        import numpy as np

        n_samples = max(0, min(count_samples, self.n_samples - start_samples))
        offset_bytes = self.data_start_bytes + start_samples * BYTES_PER_SAMPLE
        data = _pread(self.path, self.descriptor, n_samples * BYTES_PER_SAMPLE, offset_bytes)
        return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32768)

    def slice_s(self, start_s: float, end_s: float) -> np.ndarray:
        """Give the samples from `start_s` to `end_s`, cut at both ends of the track."""
        start_samples = max(0, round(start_s * SAMPLE_RATE_HZ))
        end_samples = round(end_s * SAMPLE_RATE_HZ)
        return self.read(start_samples, end_samples - start_samples)

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """Give the whole track, block after block; the last one may be shorter."""
        for start_samples in range(0, self.n_samples, block_samples):
            yield self.read(start_samples, block_samples)


@contextmanager
def open_audio(path: Path) -> Iterator[AudioReader]:
    """Open the track and read its header. Raises StorageFailed if it is missing or damaged."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageFailed(f"{display(path)} cannot be opened: {error.strerror}.") from error
    try:
        data_start_bytes, data_bytes = _find_data(path, descriptor)
        yield AudioReader(path, descriptor, data_start_bytes, data_bytes // BYTES_PER_SAMPLE)
    finally:
        os.close(descriptor)


def _find_data(path: Path, descriptor: int) -> tuple[int, int]:
    """Walk the chunks to the samples: where they start, and how many bytes are really there.

    Sources: RIFF (Microsoft/IBM 1991); RF64 (EBU Tech 3306), whose ds64 chunk holds the long sizes.
    """
    magic, wave = struct.unpack("<4s4x4s", _exactly(path, descriptor, 12, 0))
    if magic not in (b"RIFF", b"RF64") or wave != b"WAVE":
        raise _damaged(path)
    position_bytes, long_data_bytes, format_seen = 12, None, False
    for _ in range(_MAX_CHUNKS):
        name, size_bytes = struct.unpack("<4sI", _exactly(path, descriptor, 8, position_bytes))
        position_bytes += 8
        if name == b"ds64":
            body = _exactly(path, descriptor, 16, position_bytes)
            long_data_bytes = struct.unpack("<8xQ", body)[0]
        elif name == b"fmt ":
            _require_our_format(path, _exactly(path, descriptor, 16, position_bytes))
            format_seen = True
        elif name == b"data" and format_seen:
            there_bytes = os.fstat(descriptor).st_size - position_bytes
            claimed_bytes = size_bytes if long_data_bytes is None else long_data_bytes
            return position_bytes, min(claimed_bytes, there_bytes)
        position_bytes += size_bytes + size_bytes % 2  # chunks are padded to even lengths
    raise _damaged(path)


def _require_our_format(path: Path, body: bytes) -> None:
    tag, channels, rate_hz, bits = struct.unpack("<HHI6xH", body)
    if tag not in _FORMATS or (channels, rate_hz, bits) != (1, SAMPLE_RATE_HZ, 16):
        raise _damaged(path)


def _exactly(path: Path, descriptor: int, n_bytes: int, offset_bytes: int) -> bytes:
    data = _pread(path, descriptor, n_bytes, offset_bytes)
    if len(data) != n_bytes:
        raise _damaged(path)
    return data


def _pread(path: Path, descriptor: int, n_bytes: int, offset_bytes: int) -> bytes:
    try:
        return os.pread(descriptor, n_bytes, offset_bytes)
    except OSError as error:
        raise StorageFailed(f"{display(path)} cannot be read: {error.strerror}.") from error


def _damaged(path: Path) -> StorageFailed:
    return StorageFailed(
        f"{display(path)} is no 16 kHz mono 16-bit WAV, or is damaged: remove it and run again."
    )
