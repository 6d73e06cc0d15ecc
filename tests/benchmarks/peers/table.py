"""What was measured, for people and for programs.

Goes in: runs. Comes out: a table, JSON. Does not know: how they were made.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.types import WINDOW_S
from tests.benchmarks.peers.engines import ENGINES, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.peers.child import Ready, Run

TIMESTAMPS = 2  # tokens around the words of a window
FLAGS = ("avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")

LEGEND = (
    "tokens: a window; to ours: how many times as long; peak: resident, while it worked; own: of "
    "that,\nabove the imported libraries; others: cores that other processes kept busy meanwhile"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One engine on one size and length."""

    size: str
    minutes: float
    engine: str
    ready: Ready
    runs: tuple[Run, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(run.wall_s for run in self.runs)

    @property
    def spread_s(self) -> tuple[float, float]:
        walls_s = [run.wall_s for run in self.runs]
        return min(walls_s), max(walls_s)

    @property
    def processor_s(self) -> float:
        return statistics.median(run.processor_s for run in self.runs)

    @property
    def times_real_time(self) -> float:
        return self.minutes * 60 / self.median_s

    @property
    def tokens_a_window(self) -> float:
        """Each word of the random models is a token, and each window has two timestamps."""
        return self.runs[-1].words / (self.minutes * 60 / WINDOW_S) + TIMESTAMPS

    @property
    def peak_mb(self) -> float:
        return max(run.peak_mb for run in self.runs)

    @property
    def others_cores(self) -> float:
        return max(run.others_cores for run in self.runs)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what."""

    at: str
    processor: str
    instructions: tuple[str, ...]
    cores: int
    threads: int
    memory_gb: float
    load_average: tuple[float, float, float]
    python: str
    versions: dict[str, str]


def machine(threads: int, engines: Sequence[str]) -> Machine:
    told = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in told if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = facts.get("flags", facts.get("Features", "")).split()
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = {name for engine in engines for name in ENGINES[engine].packages}
    return Machine(
        at=datetime.now(UTC).isoformat(timespec="minutes"),
        processor=facts.get("model name", platform.machine()),
        instructions=tuple(flag for flag in FLAGS if flag in flags),
        cores=len(os.sched_getaffinity(0)),
        threads=threads,
        memory_gb=round(memory_bytes / 2**30, 1),
        load_average=os.getloadavg(),
        python=platform.python_version(),
        versions={name: installed(name) for name in sorted(packages)},
    )


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not here"


def headline(machine: Machine) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine.versions.items())
    return (
        f"{machine.at}, {machine.processor} ({', '.join(machine.instructions)}), "
        f"{machine.cores} cores, {machine.threads} threads, load {machine.load_average[0]:.1f}\n"
        f"Python {machine.python}, {versions}"
    )


def show(rows: list[Row]) -> None:
    """A table for each length."""
    for minutes in dict.fromkeys(row.minutes for row in rows):
        some = [row for row in rows if row.minutes == minutes]
        print(f"\n{some[0].size}, {minutes:g} minutes, {len(some[0].runs)} rounds")
        print(
            f"{'':32}{'tokens':>8}{'median s':>10}{'min – max s':>17}{'real time':>11}"
            f"{'to ours':>9}{'CPU s':>8}{'peak MB':>9}{'own MB':>8}{'others':>8}"
        )
        base = next((row for row in some if row.engine == OURS), None)
        for row in some:
            print(line(row, base))
    print(LEGEND, flush=True)


def line(row: Row, base: Row | None) -> str:
    least, most = row.spread_s
    ratio = f"{row.median_s / base.median_s:8.2f}x" if base else f"{'':9}"
    return (
        f"{ENGINES[row.engine].label:32}{row.tokens_a_window:8.1f}{row.median_s:10.2f}"
        f"{f'{least:.2f} – {most:.2f}':>17}{row.times_real_time:10.1f}x{ratio}"
        f"{row.processor_s:8.1f}{row.peak_mb:9.0f}{row.peak_mb - row.ready.imported_mb:8.0f}"
        f"{row.others_cores:8.2f}"
    )


def write(path: Path, machine: Machine, rows: list[Row]) -> None:
    """Every run, and what the table says of them."""
    told = [
        {
            **asdict(row),
            "label": ENGINES[row.engine].label,
            "median_s": row.median_s,
            "times_real_time": row.times_real_time,
            "tokens_a_window": row.tokens_a_window,
            "peak_mb": row.peak_mb,
        }
        for row in rows
    ]
    path.write_text(json.dumps({"machine": asdict(machine), "rows": told}, indent=1) + "\n")
