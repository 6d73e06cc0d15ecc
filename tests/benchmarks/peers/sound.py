"""Sound for the engines.

Goes in: a recording. Comes out: samples. Does not know: our own way of reading it.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np

from pipeline.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from pathlib import Path


def samples_of(path: Path) -> np.ndarray:
    """float32 (n,), 16 kHz."""
    wanted = ["-vn", "-ac", "1", "-ar", str(SAMPLE_RATE_HZ), "-f", "f32le", "-"]
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, *wanted], capture_output=True, check=True
    )
    return np.frombuffer(done.stdout, np.float32)
