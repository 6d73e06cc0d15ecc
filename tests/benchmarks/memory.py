"""Peak memory on short and long files: `make memory`.

Goes in: lengths in minutes (10, 60 and 720 unless given). Comes out: a table. Does not know: where
the memory goes. The sound is the bundled episode, repeated; the model is the demo model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from models.demo import EPISODE

MINUTES = (10, 60, 720)


def make(path: Path, minutes: float) -> None:
    """Repeat the episode to a length, as Opus."""
    loop = ["-stream_loop", "-1", "-i", str(EPISODE), "-t", str(minutes * 60)]
    codec = ["-c:a", "libopus", "-b:a", "24k"]
    subprocess.run(["ffmpeg", "-v", "error", *loop, *codec, str(path)], check=True)


def run(path: Path, home: Path) -> tuple[float, float]:
    """Seconds, and the peak of the program's own process in MB."""
    command = [sys.executable, "-m", "workers.cli", "run", "-q", "--model", "demo", str(path)]
    environment = {**os.environ, "TRANSCRIBE_HOME": str(home)}
    began_s = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{path.name}: exit status {status}")
    return time.monotonic() - began_s, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Print a line a file and the difference."""
    lengths = [float(text) for text in sys.argv[1:]] or MINUTES
    peaks_mb = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in lengths:
            path = Path(folder, f"{minutes:g}-minutes.ogg")
            make(path, minutes)
            took_s, peak_mb = run(path, Path(folder, "home"))
            peaks_mb.append(peak_mb)
            print(f"{minutes:6g} min: {peak_mb:6.0f} MB peak, {took_s:6.0f} s", flush=True)
    print(f"difference: {peaks_mb[-1] - peaks_mb[0]:+.0f} MB")


if __name__ == "__main__":
    main()
