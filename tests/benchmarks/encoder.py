"""The encoder against its rivals: `python -m tests.benchmarks.encoder [sizes]`.

Goes in: sizes of Whisper, threads, rounds. Comes out: a table of milliseconds for one window of
30 s, and one of where ours go. Does not know: decoding. The weights are random, of true dimensions;
the engines take turns in one process. OpenVINO takes part where it is installed (pip install
openvino nncf). Processor time, of all threads, is the steadier measure on a busy machine.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from whisper.model import ModelDimensions, Whisper

from models.checkpoint import Checkpoint, build
from models.engines.encoder import FastEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = {  # width, heads, layers
    "tiny": (384, 6, 4),
    "base": (512, 8, 6),
    "small": (768, 12, 12),
    "medium": (1024, 16, 24),
}
OURS = "transcribe int8"


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds of one call."""

    wall_ms: float
    processor_ms: float


def checkpoint(size: str) -> Checkpoint:
    """Seeded random weights, at the size of trained ones."""
    width, heads, layers = SIZES[size]
    torch.manual_seed(0)
    model = Whisper(
        ModelDimensions(80, 1500, width, heads, layers, 51864, 448, width, heads, layers)
    )
    for name, parameter in model.named_parameters():
        if "ln" not in name:
            torch.nn.init.normal_(parameter, 0, 0.04)
    return Checkpoint("random", None, model.dims, model.state_dict())


def timed(call: Callable[[], object]) -> Took:
    wall_s, processor_s = time.perf_counter(), time.process_time()
    call()
    took_s = time.perf_counter() - wall_s, time.process_time() - processor_s
    return Took(*(1e3 * seconds for seconds in took_s))


def engines(size: str, threads: int) -> dict[str, Callable[[torch.Tensor], object]]:
    """A call for each engine that is here; it takes a float32 spectrogram (1, 80, 3000)."""
    random = checkpoint(size)
    precise, half = (build(random, kind, "cpu").encoder for kind in ("float32", "bfloat16"))
    found = {
        OURS: FastEncoder(build(random, "int8", "cpu"), threads),
        "openai-whisper float32": torch.inference_mode()(precise),
        "openai-whisper bfloat16": torch.inference_mode()(lambda mel: half(mel.bfloat16())),
    }
    print(f"{size}: {found[OURS].reason}")
    try:
        found["OpenVINO int8 weights"] = openvino(precise, threads)
    except ImportError as error:
        print(f"OpenVINO does not take part: {error}")
    return found


def openvino(encoder: torch.nn.Module, threads: int) -> Callable[[torch.Tensor], object]:
    """Weights int8 for each output row, activations as OpenVINO likes best."""
    import nncf
    import openvino as ov

    logging.getLogger("nncf").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", torch.jit.TracerWarning)  # about whisper's assertions

    example = torch.zeros(1, 80, 3000)
    model = ov.convert_model(encoder, example_input=example, input=[tuple(example.shape)])
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()
    return lambda mel: request.infer([mel.numpy()])


def compare(size: str, threads: int, rounds: int) -> FastEncoder:
    """Print a line for each engine, and return ours."""
    found = engines(size, threads)
    mel = torch.randn(1, 80, 3000).clamp(-1, 1.5)
    times: dict[str, list[Took]] = {name: [] for name in found}
    for call in found.values():
        call(mel)
    for _ in range(rounds):
        for name, call in found.items():
            times[name].append(timed(lambda call=call: call(mel)))
    ours_ms = min(took.processor_ms for took in times[OURS])
    print(f"{'ms a window':24} {'wall, best':>10} {'median':>8} {'processor':>10} {'ratio':>6}")
    for name, taken in times.items():
        walls = [took.wall_ms for took in taken]
        processor_ms = min(took.processor_ms for took in taken)
        print(
            f"{name:24} {min(walls):10.0f} {statistics.median(walls):8.0f} {processor_ms:10.0f} "
            f"{processor_ms / ours_ms:6.2f}"
        )
    return found[OURS]


def explain(encoder: FastEncoder, size: str, rounds: int) -> None:
    """Print where a window's time goes on one thread, and the speed of its products."""
    width, _, layers = SIZES[size]
    linear, attention = 2e-9 * 1500 * width**2, 4e-9 * 1500**2 * width
    operations = {"project": 3 * linear, "attend": attention, "mix": 9 * linear}
    operations |= {"convolve": 2 * linear * 240 / width, "embed": 3 * linear, "finish": 0}
    taken: dict[str, float] = {}
    for _ in range(rounds):
        for name, call in parts(encoder._encode).items():
            taken[name] = min(taken.get(name, 1e9), timed(call).processor_ms)
    print(f"{'of which':24} {'ms':>10} {'10⁹/s':>8}")
    for name, took_ms in taken.items():
        repeated = layers if name in ("project", "attend", "mix") else 1
        print(f"{name:24} {took_ms * repeated:10.1f} {1e3 * operations[name] / took_ms:8.0f}")
    int8, bfloat16 = ceilings()
    print(f"one thread's peak, in its first-level cache: int8 {int8:.0f}, bfloat16 {bfloat16:.0f}")


def parts(kernels) -> dict[str, Callable[[], None]]:
    """A call for each step, over a whole window."""
    from models.kernels import encoder_steps as steps

    weights, x, rows = kernels._weights, kernels._x, (0, 1500)
    scratch, layer, heads = kernels._shares[0].scratch, weights.layers[0], kernels._heads[0]
    mel, features = torch.zeros(80, 3000).numpy(), np.zeros_like(x)
    frames, attended, first, second = (
        kernels._frames,
        kernels._attended,
        weights.conv1,
        weights.conv2,
    )
    return {
        "convolve": lambda: steps.convolve(0, 3000, mel, first, frames, scratch),
        "embed": lambda: steps.embed(*rows, frames, second, weights.positions, x, scratch),
        "project": lambda: steps.project(*rows, x, layer, heads, scratch),
        "attend": lambda: steps.attend(*rows, heads, attended, scratch),
        "mix": lambda: steps.mix(*rows, x, attended, layer, scratch),
        "finish": lambda: steps.finish(*rows, x, weights.norm, features),
    }


def ceilings() -> tuple[float, float]:
    """10⁹ operations a second of one thread's products of int8 and bfloat16, without memory."""
    from models.kernels.arithmetic import Linear, jit, linear, product
    from models.kernels.tiles import PANEL

    words, count, often = 128, 12, 2000
    columns = (np.zeros(PANEL, kind) for kind in (np.int32, np.float32, np.float32))
    layer = Linear(np.zeros(PANEL * words * 4, np.int8), *columns)
    panels = np.zeros((1, words, PANEL), np.uint32)
    rows, scale = np.zeros((count, 4 * words), np.uint8), np.zeros(count, np.float32)
    out = np.zeros((count, PANEL), np.float32)

    @jit
    def int8(rows, scale, layer, out):
        for _ in range(often):
            linear(rows, scale, layer, out, residual=False)

    @jit
    def bfloat16(rows, panels, out):
        for _ in range(often):
            product(rows.ctypes.data, 2 * words, panels, out)

    speeds = []
    calls = {4: partial(int8, rows, scale, layer, out), 2: partial(bfloat16, rows, panels, out)}
    for numbers, call in calls.items():
        call()
        took_ms = min(timed(call).processor_ms for _ in range(9))
        speeds.append(2e-6 * often * count * PANEL * words * numbers / took_ms)
    return speeds[0], speeds[1]


def main() -> None:
    """Read the options and compare the sizes."""
    parser = argparse.ArgumentParser(description="The encoder against its rivals.")
    parser.add_argument("sizes", nargs="*", default=["tiny", "base", "small"], choices=SIZES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for size in options.sizes:
        ours = compare(size, options.threads, options.rounds)
        explain(ours, size, options.rounds)


if __name__ == "__main__":
    main()
