"""What a look at a watched folder costs: `python -m tests.benchmarks.watch [--json FILE]`.

Goes in: numbers of media files. Comes out: a table of seconds and peak memory, for files in folders
of a hundred and for as many in one folder, each with its subtitle beside it: of a bare scan, and of
a whole watcher's look, when all is decided. `watch_latency` has the time from a copy to its job.
Does not know: slow disks and networks; the trees were just written and are in the system's memory.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.types import OutputOptions, SpeechOptions
from tests.workers.watch.watching import Yard
from workers.watch.deciding import Policy
from workers.watch.ignoring import IgnoreOptions
from workers.watch.scan import scan

FILES = (1_000, 10_000, 100_000)
IN_A_FOLDER = 100
ROUNDS = 5
PATTERNS = "*-trailer.*\n/private/\n!keep-trailer.*\n"
ENGLISH = Policy(SpeechOptions(language="en"), OutputOptions())
COLUMNS = (
    *("files", "folders", "seconds", "peak_mb", "with_patterns_s"),
    *("first_s", "look_s", "watch_peak_mb"),
)


def make(root: Path, files: int, in_a_folder: int) -> None:
    """Media and subtitles, nearly empty: no look reads further than the first byte."""
    for number in range(files):
        folder = root / f"show {number // in_a_folder:04}"
        if number % in_a_folder == 0:
            folder.mkdir(parents=True)
        (folder / f"episode {number:06}.mp3").write_bytes(b"-")
        (folder / f"episode {number:06}.en.srt").touch()


def look(root: Path) -> dict[str, float]:
    """The best of some looks, and what memory they took, in this process."""
    idle_mb = peak_mb()
    seconds = []
    for _ in range(ROUNDS):
        began_s = time.monotonic()
        media = folders = 0
        for listing in scan(root, IgnoreOptions()):
            media += len(listing.media)
            folders += 1
        seconds.append(time.monotonic() - began_s)
    return {
        "files": media,
        "folders": folders,
        "seconds": round(min(seconds), 4),
        "peak_mb": round(peak_mb() - idle_mb, 1),
    }


def watch(root: Path) -> dict[str, float]:
    """Until all is decided, the look after that, and the memory, of a watcher in this process."""
    with tempfile.TemporaryDirectory() as home:
        yard = Yard(Path(home), root, policy=ENGLISH)
        yard.screen._tell = None
        files, idle_mb = files_in(root), peak_mb()
        began_s = time.monotonic()
        yard.now()
        while yard.watcher.picture().waiting or yard.screen.left < files:
            yard.clock.now_s += 1.0
            yard.now()
        first_s = time.monotonic() - began_s
        seconds = []
        for _ in range(ROUNDS):
            yard.clock.now_s += 60.0
            began_s = time.monotonic()
            yard.watcher.tick()
            seconds.append(time.monotonic() - began_s)
        return {
            "first_s": round(first_s, 3),
            "look_s": round(min(seconds), 4),
            "watch_peak_mb": round(peak_mb() - idle_mb, 1),
        }


def files_in(root: Path) -> int:
    """How many media files there are."""
    return sum(len(listing.media) for listing in scan(root, IgnoreOptions()))


def peak_mb() -> float:
    """Of this process so far, without what its parent once had."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e6


def in_a_process(what: str, root: Path) -> dict[str, float]:
    """`look` or `watch` in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.watch", f"--{what}", str(root)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def row(files: int, in_a_folder: int) -> dict[str, float]:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make(root, files, in_a_folder)
        found = {**in_a_process("look", root), **in_a_process("watch", root)}
        (root / ".transcribeignore").write_text(PATTERNS)
        return {**found, "with_patterns_s": in_a_process("look", root)["seconds"]}


def main() -> None:
    """Print a line a tree; with --json, leave the numbers in a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=int, default=FILES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--watch", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.look or asked.watch:
        print(json.dumps(look(asked.look) if asked.look else watch(asked.watch)))
        return
    print(" ".join(f"{name:>16}" for name in COLUMNS))
    rows = []
    for in_a_folder in (IN_A_FOLDER, max(asked.files)):
        for files in asked.files:
            rows.append(row(files, in_a_folder))
            print(" ".join(f"{rows[-1][name]:16g}" for name in COLUMNS), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"scan": rows}, indent=1))


if __name__ == "__main__":
    main()
