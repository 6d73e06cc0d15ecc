"""One engine in a process of its own.

Goes in: an engine's name, models, threads; then over a pipe how many samples are to be heard. Comes
out: what that took. Does not know: the other engines, what is done with the numbers.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.peers.engines import ENGINES, WINDOW_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MACHINE = Path("/proc/stat")
TICKS_HZ = os.sysconf("SC_CLK_TCK")
WARM_UP_WINDOWS = 2  # our kernels compile, OpenVINO and oneDNN choose theirs
RESET_PEAK = "5"  # Linux: Documentation/filesystems/proc.rst, clear_refs


@dataclass(frozen=True, slots=True)
class Ready:
    """An engine that has heard two windows already."""

    imported_mb: float  # resident after the imports
    load_s: float  # with what is heard first
    load_peak_mb: float


@dataclass(frozen=True, slots=True)
class Run:
    """One stretch of sound, heard once."""

    wall_s: float
    processor_s: float
    others_cores: float  # how many cores were busy with other processes meanwhile
    words: int
    peak_mb: float


@contextmanager
def engine(name: str, models: Path, audio: Path, threads: int) -> Iterator[Connection]:
    """A pipe to a process: it sends `Ready`, then for each number of samples a `Run`."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=serve, args=(there, name, models, audio, threads), daemon=True)
    child.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        child.join()


def serve(pipe: Connection, name: str, models: Path, audio: Path, threads: int) -> None:
    """The life of such a process."""
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the table is the only output
    for module in ENGINES[name].modules:
        import_module(module)
    imported_mb = memory_mb("VmRSS")
    begun_s = time.perf_counter()
    transcribe = ENGINES[name].load(models, threads)
    sound = np.load(audio, mmap_mode="r")
    transcribe(np.array(sound[: WARM_UP_WINDOWS * WINDOW_SAMPLES]))
    pipe.send(Ready(imported_mb, time.perf_counter() - begun_s, memory_mb("VmHWM")))
    while True:
        try:
            count = pipe.recv()
        except EOFError:
            return
        samples = np.array(np.resize(sound, count))
        CLEAR.write_text(RESET_PEAK)
        pipe.send(timed(transcribe, samples))


def timed(transcribe, samples: np.ndarray) -> Run:
    machine_s, processor_s, wall_s = busy_s(), time.process_time(), time.perf_counter()
    text = transcribe(samples)
    wall_s = time.perf_counter() - wall_s
    processor_s, machine_s = time.process_time() - processor_s, busy_s() - machine_s
    others = max(0.0, machine_s - processor_s) / wall_s
    return Run(wall_s, processor_s, others, len(text.split()), memory_mb("VmHWM"))


def memory_mb(name: str) -> float:
    """A line of /proc/self/status; VmHWM is the most that VmRSS ever was."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def busy_s() -> float:
    """Processor time of the whole machine: user, nice, system, not idle, interrupts, stolen."""
    user, nice, system, _, _, *interrupts = MACHINE.read_text().splitlines()[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts))) / TICKS_HZ
