"""`make bench`: the transcribe stage of every engine, side by side.

Goes in: `--sizes`, `--minutes` (one or several, with commas), `--rounds`, `--threads`, `--engines`,
`--json`. Comes out: a table for each size and length. Does not know: how an engine is called, what
the models say.

    python -m tests.benchmarks.peers --sizes tiny base small --minutes 10 --rounds 3
    python -m tests.benchmarks.peers --engines ours --minutes 1,10,60      (is its cost linear?)

Each engine has a process of its own and is loaded once; they take turns, and only one works at a
time. The first two windows that an engine hears do not count. The machine should have nothing else
to do: on a busy one, threads that wait for each other at every step (torch, OpenMP) lose most.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.demo import EPISODE
from models.registry import WHISPERS
from pipeline.types import SAMPLE_RATE_HZ
from tests.benchmarks.peers import table
from tests.benchmarks.peers.child import engine
from tests.benchmarks.peers.conversion import models
from tests.benchmarks.peers.engines import ENGINES, OURS
from tests.benchmarks.peers.sound import samples_of

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from tests.benchmarks.peers.child import Ready, Run


def main() -> None:
    given = arguments()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)  # before any child starts
    machine = table.machine(given.threads, given.engines)
    print(table.headline(machine))
    rows: list[table.Row] = []
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder, "episode.npy")
        np.save(audio, samples_of(EPISODE))
        for size in given.sizes:
            rows += compare(size, given, audio)
            table.show([row for row in rows if row.size == size])
            if given.json:  # after each size: what was measured is not lost
                table.write(given.json, machine, rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The transcribe stage of every engine.")
    names = [spec.name for spec in WHISPERS if spec.dimensions.n_vocab == 51_865]
    parser.add_argument("--sizes", nargs="+", default=["tiny", "base", "small"], choices=names)
    parser.add_argument("--minutes", type=numbers, default=[10.0], metavar="N[,N…]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--engines", type=known, default=list(ENGINES), help=f"of {','.join(ENGINES)}"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def known(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in ENGINES:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(ENGINES)}")
    return names


def compare(size: str, given: argparse.Namespace, audio: Path) -> list[table.Row]:
    """All engines on one size: A B C, A B C …"""
    is_peers = any(not name.startswith(OURS) for name in given.engines)
    folder = models(size, is_peers=is_peers)
    with ExitStack() as stack:
        pipes = {}
        for name in given.engines:  # one after the other, each ready before the next begins
            pipe = stack.enter_context(engine(name, folder, audio, given.threads))
            pipes[name] = pipe, told(pipe, name)
        rows = []
        for minutes in given.minutes:
            runs = {name: [] for name in pipes}
            for _ in range(given.rounds):
                for name, (pipe, _) in pipes.items():
                    pipe.send(int(minutes * 60 * SAMPLE_RATE_HZ))
                    runs[name].append(told(pipe, name))
            rows += [
                table.Row(size, minutes, name, ready, tuple(runs[name]))
                for name, (_, ready) in pipes.items()
            ]
    return rows


def told(pipe: Connection, name: str) -> Ready | Run:
    """What an engine says; an engine that breaks down ends everything."""
    try:
        return pipe.recv()
    except EOFError:
        sys.exit(f"{ENGINES[name].label} broke down; it says why above.")


if __name__ == "__main__":
    main()
