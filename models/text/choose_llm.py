"""Chooses which language model runs where, and how much of it on a GPU.

Goes in: a machine's free memory, and what is wanted. Comes out: choices with their reasons, the
best first. Does not know: how the memory was looked up, what is on the disk, llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from models.llms import LLMS, LlmSpec
from pipeline.errors import BadOption, ModelUnavailable, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.llms import GgufFile
    from models.memory import Gpu, Machine
    from models.text.gguf import Gguf

GIB = 2**30
MIB = 2**20
DEFAULT_TOKENS = 8192
LEAST_TOKENS = 4096  # less has hardly room for the prompt, a part of a transcript and an answer
BATCH_TOKENS = 512  # that llama.cpp calculates at once (n_ubatch)
# Besides weights, cache and scores: the process, its libraries, a GPU's context. A model of nothing
# takes 33 MiB on a CPU; on a GPU this is an estimate, of what drivers and CUDA's libraries take.
_PROCESS_BYTES = {"cpu": 192 * MIB, "gpu": 600 * MIB}
_SPARE = 0.92  # of the free memory: other programs grow, too
_LEAST_SHARE = 0.25  # of the layers on a GPU; for fewer it is not worth its memory

# What is taken where nobody names a model: under a licence without conditions of use, and no larger
# than answers quickly: a model as large as the second number writes some ten tokens a second on a
# desktop's CPU (50 GB/s of memory bandwidth, each token reads all weights).
_FREE_LICENCE = "apache-2.0"
_MOST_PARAMETERS = {"gpu": 25e9, "cpu": 4.1e9}


@dataclass(frozen=True, slots=True)
class LlmFile:
    """A file of weights that could be run: a published one, or the user's own."""

    name: str
    quantisation: str
    parameters: int | None  # None: the user's own, whatever it has
    file_bytes: int
    layers: int
    width: int
    cache_width: int  # numbers that one token leaves in one layer: its key and its value
    vocabulary: int
    trained_tokens: int
    licence: str | None
    published: tuple[LlmSpec, GgufFile] | None
    path: Path | None  # None: not on this machine yet


@dataclass(frozen=True, slots=True)
class LlmWanted:
    """What is asked of a language model, and what the user has settled already."""

    files: tuple[LlmFile, ...]  # to choose from, smallest first
    is_named: bool  # the user named the model: its size is no matter of taste
    context_tokens: int = DEFAULT_TOKENS
    device: str = "auto"  # "cpu", "cuda" (any), "cuda:1", "mps"


@dataclass(frozen=True, slots=True)
class LlmChoice:
    """A file, where it runs, and why."""

    file: LlmFile
    context_tokens: int
    gpu_layers: int  # 0: none; layers + 1: all, with the output
    device: str  # "cpu", "cuda:0"; where the layers are that are on a GPU
    need_bytes: int  # on the device
    reason: str

    @property
    def gpu_index(self) -> int:
        """The GPU's ordinal; 0 on a CPU."""
        return int(self.device.partition(":")[2] or 0)


def of_spec(spec: LlmSpec, file: GgufFile, path: Path | None) -> LlmFile:
    """A published file; `path` where it is on this machine."""
    return LlmFile(
        *(spec.name, file.quantisation, spec.parameters, file.file_bytes),
        *(spec.layers, spec.width, 2 * spec.key_width, spec.vocabulary),
        *(spec.context_tokens, spec.licence, (spec, file), path),
    )


def of_own(own: Gguf) -> LlmFile:
    """The user's own file."""
    return LlmFile(
        *(own.path.name, own.quantisation, None, own.tensor_bytes),
        *(own.layers, own.width, own.key_width + own.value_width, own.vocabulary),
        *(own.context_tokens, None, None, own.path),
    )


def choose(machine: Machine, wanted: LlmWanted) -> LlmChoice:
    """The best that fits.

    Raises BadOption (no such device), OutOfMemory, and ModelUnavailable where nothing would fit
    if nobody else used any memory: waiting is of no use then.
    """
    fitting = choices(machine, wanted)
    if not fitting:
        could_fit = choices(_emptied(machine), wanted)
        raise (OutOfMemory if could_fit else ModelUnavailable)(_nothing_fits(machine, wanted))
    return fitting[0]


def _emptied(machine: Machine) -> Machine:
    """The machine, if nobody used it."""
    gpus = tuple(replace(gpu, free_bytes=gpu.total_bytes) for gpu in machine.gpus)
    return replace(machine, ram_free_bytes=machine.ram_total_bytes, gpus=gpus)


def choices(machine: Machine, wanted: LlmWanted) -> tuple[LlmChoice, ...]:
    """All that fit, the best first: context before size, GPU before CPU, whole before in part.

    Raises BadOption: a device that is not there.
    """
    gpus = _gpus(machine, wanted.device)
    tries = (
        choice
        for tokens in _contexts(wanted.context_tokens)
        for choice in chain(
            _whole(machine, gpus, wanted, tokens),
            _in_part(machine, gpus, wanted, tokens),
            _on_cpu(machine, wanted, tokens),
        )
    )
    return tuple(dict.fromkeys(tries))


def step_down(fitting: tuple[LlmChoice, ...], failed: LlmChoice) -> LlmChoice | None:
    """What to try after `failed` ran out of memory: less on its device, or no device."""
    below = fitting[fitting.index(failed) + 1 :]
    for choice in below:
        is_less = choice.need_bytes < failed.need_bytes
        if is_less if choice.device == failed.device else choice.device == "cpu":
            return choice
    return None


def memory_bytes(file: LlmFile, context_tokens: int, gpu_layers: int, kind: str) -> int:
    """What it takes on its device: weights, cache and scores, and what all programs take.

    The cache is in float16; scores are one float32 for each token of the vocabulary and of the
    batch, beside them a few rows as wide as the model; the mask says, in float32 and once more in
    float16, which tokens of the context each of the batch may see. Measured on a CPU with 762 MiB
    of weights and 4096 to 32 768 tokens: this is 16 to 22 % more than llama.cpp takes.
    """
    layers = gpu_layers if kind == "gpu" else file.layers + 1 - gpu_layers
    weights = file.file_bytes * layers // (file.layers + 1)
    cache = 2 * file.cache_width * context_tokens * min(layers, file.layers)
    scores = 4 * BATCH_TOKENS * (file.vocabulary + 8 * file.width)
    mask = 6 * BATCH_TOKENS * context_tokens
    return weights + cache + scores + mask + _PROCESS_BYTES[kind]


def _contexts(wanted_tokens: int) -> Iterator[int]:
    """What was wanted, then half of it, down to the least."""
    tokens = wanted_tokens
    while tokens > LEAST_TOKENS:
        yield tokens
        tokens //= 2
    yield min(LEAST_TOKENS, wanted_tokens)


def _gpus(machine: Machine, device: str) -> list[Gpu]:
    """Those that may be used, the freest first."""
    if device == "cpu":
        return []
    allowed = [gpu for gpu in machine.gpus if device in ("auto", gpu.kind, gpu.device)]
    if device != "auto" and not allowed:
        there = ", ".join(gpu.device for gpu in machine.gpus) or "no GPU that can be used"
        raise BadOption(f"There is no device {device} for a language model here: there is {there}.")
    return sorted(allowed, key=lambda gpu: -gpu.free_bytes)


def _files(wanted: LlmWanted, kind: str) -> list[LlmFile]:
    """What to try, the best first: on this machine already, then the size, then the precision.

    On a CPU the smaller of two precisions comes first, since it answers faster.
    """
    files = wanted.files
    if not wanted.is_named:
        most = _MOST_PARAMETERS[kind]
        files = tuple(
            file
            for file in files
            if file.licence == _FREE_LICENCE and (file.parameters or 0) <= most
        )
    sign = 1 if kind == "cpu" else -1
    return sorted(
        files,
        key=lambda file: (-(file.parameters or 0), file.path is None, sign * file.file_bytes),
    )


def _whole(
    machine: Machine, gpus: list[Gpu], wanted: LlmWanted, tokens: int
) -> Iterator[LlmChoice]:
    for file in _files(wanted, "gpu"):
        for gpu in gpus:
            free = _SPARE * min(gpu.free_bytes, _shared(machine, gpu))
            context = min(tokens, file.trained_tokens)
            need = memory_bytes(file, context, file.layers + 1, "gpu")
            if need <= free:
                yield _choice(file, context, file.layers + 1, gpu.device, (need, gpu.free_bytes))


def _shared(machine: Machine, gpu: Gpu) -> int:
    """Apple's GPU has no memory of its own."""
    return machine.ram_free_bytes if gpu.kind == "mps" else gpu.free_bytes


def _in_part(
    machine: Machine, gpus: list[Gpu], wanted: LlmWanted, tokens: int
) -> Iterator[LlmChoice]:
    """As many layers on the GPU as fit, the rest beside the CPU: only for a model with a name."""
    if not wanted.is_named:
        return
    for file in reversed(_files(wanted, "gpu")):
        context = min(tokens, file.trained_tokens)
        for gpu in (gpu for gpu in gpus if gpu.kind != "mps"):
            layers = file.layers
            while layers and memory_bytes(file, context, layers, "gpu") > _SPARE * gpu.free_bytes:
                layers -= 1
            need = memory_bytes(file, context, layers, "gpu")
            rest = memory_bytes(file, context, layers, "cpu")
            fits = rest <= _SPARE * machine.ram_free_bytes
            if fits and layers >= _LEAST_SHARE * file.layers:
                yield _choice(file, context, layers, gpu.device, (need, gpu.free_bytes))


def _on_cpu(machine: Machine, wanted: LlmWanted, tokens: int) -> Iterator[LlmChoice]:
    if wanted.device not in ("auto", "cpu"):
        return
    for file in _files(wanted, "cpu"):
        context = min(tokens, file.trained_tokens)
        need = memory_bytes(file, context, 0, "cpu")
        if need <= _SPARE * machine.ram_free_bytes:
            yield _choice(file, context, 0, "cpu", (need, machine.ram_free_bytes))


def _choice(
    file: LlmFile, context: int, layers: int, device: str, need_and_free: tuple[int, int]
) -> LlmChoice:
    need, free = need_and_free
    share = f", {layers} of {file.layers} layers" if 0 < layers <= file.layers else ""
    reason = (
        f"{file.name}, {file.quantisation}, on {device}{share}: {need / GIB:.1f} GiB of "
        f"{free / GIB:.1f} GiB free, {context} tokens of context"
    )
    return LlmChoice(file, context, layers, device, need, reason)


def _nothing_fits(machine: Machine, wanted: LlmWanted) -> str:
    files = _files(wanted, "cpu") or list(wanted.files)
    least = min(memory_bytes(file, LEAST_TOKENS, 0, "cpu") for file in files)
    names = " or ".join(dict.fromkeys(file.name for file in files))
    smaller = f"--llm {LLMS[0].name}" if wanted.is_named else "--llm none"
    return (
        f"{names} does not fit into memory: it needs {least / GIB:.1f} GiB at least, and "
        f"{machine.ram_free_bytes / GIB:.1f} GiB are free ({machine.ram_reason}); take {smaller}, "
        "or close other programs."
    )
