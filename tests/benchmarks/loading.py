"""Time and memory of loading a model: `python -m tests.benchmarks.loading`.

Goes in: the name of a published model (small unless given). Comes out: a table. Does not know: what
the model says. The checkpoint is OpenAI's in its dimensions and in float16, with random weights;
each way of loading it has a process of its own, whose libraries are imported before.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread

import torch
import whisper
from whisper.model import ModelDimensions

from models import checkpoint
from models.registry import find
from models.weights import Weights

STATUS = Path("/proc/self/status")
LOOK_EVERY_S = 0.002


@dataclass(frozen=True, slots=True)
class Loading:
    """One way of loading. Memory is what came on top of the imported libraries."""

    took_s: float
    peak_mb: float  # resident, with pages of files
    peak_own_mb: float  # of that, what no other process can share
    own_mb: float  # the same, after loading
    touched_mb: float  # resident, when all weights have been looked at


def main() -> None:
    """Print the table; in a child, one row of it."""
    if "--child" in sys.argv:
        print(json.dumps(asdict(load(*sys.argv[2:]))))
        return
    name = sys.argv[1] if len(sys.argv) > 1 else "small"
    columns = ("", "seconds", "peak MB", "own peak", "own after", "all touched")
    print("{:26}{:>9}{:>10}{:>10}{:>11}{:>13}".format(*columns))
    with tempfile.TemporaryDirectory() as folder:
        save(name, Path(folder, "random.pt"))
        for label, way in (
            ("int8, first time", "int8"),
            ("int8, kept", "int8"),
            ("int4, first time", "int4"),
            ("int4, kept", "int4"),
            ("float16 (on CPU)", "float16"),
            ("float32", "float32"),
            ("whisper.load_model", "whisper"),
        ):
            row = measure(name, way, folder)
            print(
                f"{label:26}{row.took_s:9.2f}{row.peak_mb:10.0f}{row.peak_own_mb:10.0f}"
                f"{row.own_mb:11.0f}{row.touched_mb:13.0f}",
                flush=True,
            )


def save(name: str, path: Path) -> None:
    """A checkpoint of a published model's dimensions."""
    dims = asdict(find(name).dimensions)
    shapes = checkpoint._skeleton(ModelDimensions(**dims)).state_dict()
    torch.manual_seed(0)
    state = {key: torch.randn(like.shape).mul_(0.04).half() for key, like in shapes.items()}
    torch.save({"dims": dims, "model_state_dict": state}, path)


def measure(name: str, way: str, folder: str) -> Loading:
    """Load in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.loading", "--child", name, way, folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Loading(**json.loads(done.stdout))


def load(name: str, way: str, folder: str) -> Loading:
    """Load here."""
    path, spec = Path(folder, "random.pt"), find(name)
    weights = Weights(name, path, spec, spec.sha256)
    way_to_load = (
        partial(whisper.load_model, str(path), "cpu")
        if way == "whisper"
        else partial(checkpoint.load, weights, way, "cpu", Path(folder), lambda _: None)
    )
    checkpoint._skeleton(ModelDimensions(**asdict(spec.dimensions)))  # imports the last libraries
    before, own_before = status_mb("VmHWM"), status_mb("RssAnon")
    with watched() as peaks_mb:
        began_s = time.perf_counter()
        model = way_to_load()
        took_s = time.perf_counter() - began_s
    peak_mb, own_mb = status_mb("VmHWM"), status_mb("RssAnon")
    for tensor in [*model.parameters(), *model.buffers()]:
        if not tensor.is_sparse:
            tensor.view(-1).view(torch.uint8)[::1024].max()
    touched_mb = status_mb("VmRSS")
    return Loading(
        took_s,
        peak_mb - before,
        max(peaks_mb) - own_before,
        own_mb - own_before,
        touched_mb - before,
    )


@contextmanager
def watched():
    """The process's own memory in MB, looked at again and again."""
    seen, done = [status_mb("RssAnon")], Event()

    def look() -> None:
        while not done.wait(LOOK_EVERY_S):
            seen.append(status_mb("RssAnon"))

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def status_mb(key: str) -> float:
    """A line of /proc/self/status."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
