"""Media to be heard by scripted engines.

Goes in: a path and a length. Comes out: a file. Does not know: what is made of it.
"""

from __future__ import annotations

import shutil
import subprocess
import wave

import numpy as np

FFMPEG = shutil.which("ffmpeg")
RATE_HZ = 8000


def write_sound(path, length_s):
    """A quiet hum of its own for each length: no two files are the same sound."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(_hum(length_s))


def write_flac_without_length(path, length_s):
    """The same hum; written to a pipe, its header does not tell how long it is."""
    command = [FFMPEG, "-v", "error", "-f", "s16le", "-ar", str(RATE_HZ), "-i", "-", "-f", "flac"]
    with path.open("wb") as file:
        subprocess.run([*command, "-"], input=_hum(length_s), stdout=file, check=True)


def _hum(length_s):
    times = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
    return (1000 * np.sin(times * 200 * np.pi + length_s)).astype("<i2").tobytes()
