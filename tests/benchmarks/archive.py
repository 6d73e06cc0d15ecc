"""An archive of short clips beside the same clips in one file: `make bench-archive`.

Goes in: sizes, the number of clips, rounds. Comes out: a table of what the whole program takes, its
loading included. Does not know: where the time goes.

The one file has silences between the clips, so that both hold the same windows; checkpoints are
random and say 80 tokens a window. Long and short take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import wave
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from models.demo import EPISODE
from pipeline.types import SAMPLE_RATE_HZ
from tests.benchmarks.peers.conversion import OPENAI, models
from tests.benchmarks.peers.sound import samples_of

CLIP_S = 25.0
SILENCE_S = 4.0  # more than the longest pause inside a window
SHIFT_S = 7.3  # between the beginnings of two clips in the episode: no two hold the same sound


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took; the programs that it calls count as its own processor time."""

    wall_s: float
    processor_s: float
    peak_mb: float
    windows: int


def main() -> None:
    """Print two rows for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small"])
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds = recordings(Path(folder), given.clips)
        print(f"{'':8} {'':14} {'windows':>7} {'s':>7} {'spread':>7} {'processor s':>12} {'MB':>6}")
        for size in given.sizes:
            model = made(size)
            run(model, kinds["one file"])  # compiles, and brings the weights into memory
            taken = {kind: [] for kind in kinds}
            for _ in range(given.rounds):
                for kind, files in kinds.items():
                    taken[kind].append(run(model, files))
            for kind, runs in taken.items():
                show(size, kind, runs)


def made(size: str) -> Path:
    """By a process of its own: a child's peak counts from what its parent held."""
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        return other.submit(models, size, is_peers=False).result() / OPENAI


def recordings(folder: Path, count: int) -> dict[str, list[Path]]:
    """The clips in one file, and each in its own."""
    episode = samples_of(EPISODE)
    length, shift = round(CLIP_S * SAMPLE_RATE_HZ), round(SHIFT_S * SAMPLE_RATE_HZ)
    room = len(episode) - length
    sounds = [episode[start : start + length] for start in (i * shift % room for i in range(count))]
    silence = np.zeros(round(SILENCE_S * SAMPLE_RATE_HZ), np.float32)
    clips = [write(folder / f"{i:03}.wav", sound) for i, sound in enumerate(sounds)]
    long = np.concatenate([part for sound in sounds for part in (sound, silence)])
    return {"one file": [write(folder / "all.wav", long)], f"{count} files": clips}


def write(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def run(model: Path, files: list[Path]) -> Taken:
    """The program as a user calls it, with a home and outputs of its own."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "workers.cli", "run", "-q", "--language", "en"]
        command += ["--model", str(model), "-o", f"{home}/out", *map(str, files)]
        began_s = time.monotonic()
        process = subprocess.Popen(command, env={**os.environ, "TRANSCRIBE_HOME": home})
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began_s
        if status or len(list(Path(home, "out").iterdir())) != len(files):
            sys.exit(f"exit status {status}")
        heard = [log.read_bytes().count(b"\n") for log in Path(home).glob("jobs/*/heard.jsonl")]
        processor_s = usage.ru_utime + usage.ru_stime
        return Taken(wall_s, processor_s, usage.ru_maxrss * 1024 / 1e6, sum(heard))


def show(size: str, kind: str, runs: list[Taken]) -> None:
    walls_s = [one.wall_s for one in runs]
    spread = (max(walls_s) - min(walls_s)) / median(walls_s)
    processor_s = median(one.processor_s for one in runs)
    peak_mb = median(one.peak_mb for one in runs)
    print(
        f"{size:8} {kind:14} {runs[0].windows:7} {median(walls_s):7.1f} {spread:7.0%} "
        f"{processor_s:12.1f} {peak_mb:6.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
