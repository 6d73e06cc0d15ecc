"""From a finished copy to its job: `python -m tests.benchmarks.watch_latency [--json FILE]`.

Goes in: how many files are copied. Comes out: a table of seconds from the end of a copy to its job
in the ledger of a real Redis, with events and with polling only, p50 and p95, and how much of that
is the quiet time. The watcher is the program itself. Does not know: network shares.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.workers.conftest import running
from workers.ledger import Ledger
from workers.watch.settling import SettleOptions

FILES = 40
WAYS = {"events": (), "polling only": ("--no-events",)}
STEP_S = 0.02


def latencies_s(files: int, flags: tuple[str, ...], seed: int) -> list[float]:
    """Of each file, which is written in two steps at a random moment."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="watch-") as name:
        place = Path(name)
        (place / "in").mkdir()
        url = f"unix://{place}/s"
        server = ("--port", "0", "--unixsocket", str(place / "s"), "--dir", name)
        with running(url, *server, "--save", "", "--appendonly", "no") as redis:
            command = (sys.executable, "-m", "workers.cli", "watch", str(place / "in"), "-q")
            ours = {"TRANSCRIBE_HOME": str(place / "home"), "TRANSCRIBE_REDIS_URL": url}
            process = subprocess.Popen([*command, *flags], env={**os.environ, **ours})
            try:
                time.sleep(5.0)  # until it watches
                return measured_s(files, place / "in", Ledger(redis.client), chance)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()


def measured_s(files: int, folder: Path, ledger: Ledger, chance: random.Random) -> list[float]:
    """Copy, and look into the ledger meanwhile."""
    begins_s = sorted(time.monotonic() + chance.uniform(0, files * 1.0) for _ in range(files))
    copied_s: dict[str, float] = {}
    found_s: dict[str, float] = {}
    while len(found_s) < files:
        if begins_s and time.monotonic() >= begins_s[0]:
            begins_s.pop(0)
            name = f"{len(copied_s)}.mp3"
            with (folder / name).open("wb") as file:
                file.write(b"half")
                file.flush()
                file.write(b" and half")
            copied_s[name] = time.monotonic()
        for record in ledger.records(("queued",), files):
            found_s.setdefault(record.job.source.path.name, time.monotonic())
        time.sleep(STEP_S)
    return [found_s[name] - copied_s[name] for name in copied_s]


def main() -> None:
    """Print a line for each way; with --json, leave the numbers in a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    print(f"quiet time {SettleOptions().quiet_s:g} s, {asked.files} files")
    rows = {}
    for way, flags in WAYS.items():
        found = latencies_s(asked.files, flags, asked.seed)
        cuts = statistics.quantiles(found, n=20)
        rows[way] = {"p50_s": cuts[9], "p95_s": cuts[18], "most_s": max(found)}
        print(f"{way:14}", *(f"{key} {value:6.2f}" for key, value in rows[way].items()), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
