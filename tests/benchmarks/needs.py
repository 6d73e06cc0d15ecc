"""Computed against measured peak memory: `make needs`.

Goes in: sizes, precisions, batches. Comes out: a table, or with --json a list. Does not know: where
the memory goes.

Each row is a process of its own. It has the rest of the program in memory, loads random weights of
a model's true dimensions as the program does, and transcribes noise after the longest prompt. The
weights say one word for ever: all windows are decoded to the last token, all words are timed, and
the last window is sampled again, for it repeats itself. As at a first start, numba compiles all
that it is asked for, unless --compiled.

On a CPU the peak is what the kernel notes (VmHWM, Linux) when the model is loaded; "loading" is the
peak before that. In float precisions it counts pages of OpenAI's file that the kernel may take
back; where int8 is packed for kernels, what is needed is the larger of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.needs import MIB, needed
from models.registry import WHISPERS, Dimensions, WhisperSpec, find
from pipeline.types import SAMPLE_RATE_HZ, WINDOW_S, Clip, Quantisation, Span, SpeechOptions, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SIZES = ("tiny", "base", "small")
QUANTISATIONS: tuple[Quantisation, ...] = ("float32", "bfloat16", "int8", "int4")
BATCHES = (1, 8)
THREADS = 2  # each has buffers of its own
BATCHES_HEARD, FEWEST_WINDOWS = 2, 3  # then memory has stopped growing
LONG_PROMPT = " alpha beta gamma delta" * 100
LOUDNESS = 10.0  # of the one word's logit, against others and against the end


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured."""

    name: str  # of a published model, or any other
    dimensions: Dimensions
    quantisation: Quantisation
    batch_size: int
    windows: int
    device: str = "cpu"
    is_first: bool = True  # numba compiles all that it is asked for, as at a first start


@dataclass(frozen=True, slots=True)
class Row:
    """What was computed for a case, and what its process took."""

    case: Case
    computed_bytes: int
    measured_bytes: int
    loading_bytes: int
    is_packed: bool  # for int8 kernels

    @property
    def ratio(self) -> float:
        most_bytes = max(self.measured_bytes, self.loading_bytes if self.is_packed else 0)
        return self.computed_bytes / most_bytes


def main() -> None:
    """Print a line for each case."""
    wanted, rows = arguments(), []
    cases = product(wanted.sizes, wanted.quantisations, wanted.batches)
    if not wanted.json:
        print(
            f"{'MiB':10}{'':10}{'batch':>6}{'computed':>10}{'measured':>10}{'ratio':>7}{'loading':>9}"
        )
    with tempfile.TemporaryDirectory(dir=wanted.scratch) as folder:
        for size, quantisation, batch in cases:
            windows = max(FEWEST_WINDOWS, BATCHES_HEARD * batch)
            dimensions = find(size).dimensions
            case = Case(
                size,
                dimensions,
                quantisation,
                batch,
                windows,
                wanted.device,
                is_first=not wanted.compiled,
            )
            rows.append(measure(case, Path(folder)))
            if not wanted.json:
                print(line(rows[-1]), flush=True)
    if wanted.json:
        print(json.dumps([{**asdict(row), "ratio": row.ratio} for row in rows], indent=1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.needs")
    parser.add_argument("sizes", nargs="*", default=SIZES)
    parser.add_argument("--quantisations", nargs="+", default=QUANTISATIONS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--compiled", action="store_true", help="keep what numba has compiled")
    parser.add_argument("--scratch", type=Path, help="where weights are kept meanwhile")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def line(row: Row) -> str:
    case = row.case
    computed, measured, loading = (
        f"{value / MIB:.0f}"
        for value in (row.computed_bytes, row.measured_bytes, row.loading_bytes)
    )
    return (
        f"{case.name:10}{case.quantisation:10}{case.batch_size:6}"
        f"{computed:>10}{measured:>10}{row.ratio:7.2f}{loading:>9}"
    )


def measure(case: Case, folder: Path) -> Row:
    """Run a case in a process of its own, with the weights ready in the folder."""
    path = file_of(case, folder)
    if not path.exists():
        save(case.dimensions, path)
    if spec_of(case):
        run("load", case, folder)  # quantised weights are made, so that later they are only mapped
    measured_bytes, loading_bytes, is_packed = json.loads(run("transcribe", case, folder))
    kind = "cpu" if case.device == "cpu" else "cuda"
    need = needed(case.dimensions, case.quantisation, kind, case.batch_size, int8_kernels=is_packed)
    return Row(case, need.total_bytes, measured_bytes, loading_bytes, is_packed)


def spec_of(case: Case) -> WhisperSpec | None:
    return next((spec for spec in WHISPERS if spec.name == case.name), None)


def file_of(case: Case, folder: Path) -> Path:
    return folder / f"{case.name}.pt"


def save(dimensions: Dimensions, path: Path) -> None:
    """A checkpoint as OpenAI writes them. Whatever it hears, it says one word, and never ends."""
    import torch

    state = random_state(dimensions)
    embedding, word = state["decoder.token_embedding.weight"], 1000
    embedding[50_256:] = 0  # the end, what is special, times
    embedding[:, 0] = -LOUDNESS
    embedding[word, 0] = LOUDNESS
    state["decoder.ln.weight"].fill_(0.01)  # what was heard hardly counts
    state["decoder.ln.bias"].zero_()[0] = LOUDNESS
    torch.save({"dims": asdict(dimensions), "model_state_dict": state}, path)


def random_state(dimensions: Dimensions) -> dict[str, Any]:
    """Seeded float16 tensors."""
    import torch
    from whisper.model import ModelDimensions

    from models.checkpoint import _skeleton

    generator = torch.Generator().manual_seed(0)
    shapes = _skeleton(ModelDimensions(**asdict(dimensions))).state_dict()
    return {
        name: torch.randn(tensor.shape, generator=generator).mul_(0.02).half()
        for name, tensor in shapes.items()
    }


# ── in a process of its own ──────────────────────────────────────────────────────────────────


def run(what: str, case: Case, folder: Path) -> str:
    """What a function of this module prints about a case."""
    script = f"from tests.benchmarks.needs import *; {what}({case!r}, Path({str(folder)!r}))"
    settings = {"OMP_NUM_THREADS": str(THREADS), "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory(dir=folder) as nothing_compiled:
        if case.is_first:
            settings["NUMBA_CACHE_DIR"] = nothing_compiled
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return done.stdout


def transcribe(case: Case, folder: Path) -> None:
    """Print the peaks of transcribing and of loading in bytes, and whether kernels hear."""
    from models.engines.loaded import made_ready
    from models.engines.whisper_torch import WhisperTorch
    from pipeline.types import EngineDescription

    before_bytes = used_bytes_of_gpu(case)
    _others = the_rest_of_the_program(case)
    loaded = made_ready(
        load(case, folder),
        EngineDescription(
            case.name, case.quantisation, case.device, ("en",), can_translate=False, reason=""
        ),
        case.batch_size,
    )
    loading_bytes = peak_bytes()
    forget_peak()
    found = list(WhisperTorch(loaded, relieve=never).transcribe(clips(case)))
    assert all(len(heard.segments) == 1 for heard in found[:-1]), found
    assert found[-1].segments, found  # what was said before it repeated itself
    is_cpu = case.device == "cpu"
    measured_bytes = peak_bytes() if is_cpu else peak_bytes_of_gpu(case, before_bytes)
    print(json.dumps([measured_bytes, loading_bytes, loaded.decoder.is_packed]))


def the_rest_of_the_program(case: Case) -> tuple[object, ...]:
    """The command line, and the detector of speech when it has worked."""
    from models.engines.silero import SileroDetector
    from workers import cli

    detector = SileroDetector()
    for _ in detector.probabilities([clip.samples for clip in clips(case)]):
        pass
    return detector, cli


def load(case: Case, folder: Path) -> Any:
    from models.checkpoint import load as load_checkpoint
    from models.weights import Weights

    spec = spec_of(case)
    weights = Weights(case.name, file_of(case, folder), spec, spec.sha256 if spec else None)
    return load_checkpoint(weights, case.quantisation, case.device, folder, note=ignore)


def ignore(_: str) -> None: ...


def never(what: object) -> Any:
    raise AssertionError(what)


def clips(case: Case) -> Iterator[Clip]:
    """Noise; the last is sampled again, when memory is as full as it gets."""
    import numpy as np

    generator = np.random.default_rng(0)
    for i in range(case.windows):
        start_s, end_s = i * WINDOW_S, (i + 1) * WINDOW_S
        samples = generator.standard_normal(round(WINDOW_S * SAMPLE_RATE_HZ), dtype=np.float32)
        temperatures = (0.0,) if i < case.windows - 1 else (0.0, 1.0)
        options = SpeechOptions(
            language="en", initial_prompt=LONG_PROMPT, temperatures=temperatures
        )
        yield Clip(Window(start_s, end_s, (Span(start_s, end_s),)), samples * 0.1, options)


def peak_bytes() -> int:
    """The most that this process had in memory, since the last `forget_peak`."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the high-water mark


def used_bytes_of_gpu(case: Case) -> int:
    """By all processes, as NVML tells it."""
    if case.device == "cpu":
        return 0
    import pynvml

    pynvml.nvmlInit()
    index = int(case.device.partition(":")[2] or 0)
    return pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index)).used


def peak_bytes_of_gpu(case: Case, before_bytes: int) -> int:
    """What torch reserved at most, and what is used beside it: the context and libraries."""
    import torch

    torch.cuda.synchronize(case.device)
    used_bytes = used_bytes_of_gpu(case) - before_bytes
    context_bytes = used_bytes - torch.cuda.memory_reserved(case.device)
    return torch.cuda.max_memory_reserved(case.device) + context_bytes


if __name__ == "__main__":
    main()
