"""Sound for the engines, decoded by ffmpeg without any code of ours."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from pipeline.types import SAMPLE_RATE_HZ


@pytest.fixture(scope="session")
def samples_of():
    def decode(path):
        sound = ["-vn", "-ac", "1", "-ar", str(SAMPLE_RATE_HZ), "-f", "f32le", "-"]
        command = ["ffmpeg", "-v", "error", "-i", path, *sound]
        done = subprocess.run(command, capture_output=True, check=True)
        return np.frombuffer(done.stdout, np.float32)

    return decode
