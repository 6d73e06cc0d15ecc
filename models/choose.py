"""Chooses which Whisper runs where.

Goes in: a machine's free memory, and what is wanted. Comes out: choices with their reasons, the
best first. Does not know: how the memory was looked up, files, engines.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal

from models.needs import CANDIDATES, needed
from models.registry import WhisperSpec, find
from pipeline.errors import BadOption, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.memory import Gpu, Machine
    from pipeline.types import Quantisation, Task, Wish

GIB = 2**30

# What is wanted, the best first. Sources: openai-whisper's README (turbo is nearly as good as
# large-v2; the .en models are better at tiny and base, hardly at small). `None` is a language that
# is still to be detected, which small does well.
_LARGEST = ("large-v3", "large-v3-turbo", "medium", "small", "base", "tiny")
_LADDERS: dict[tuple[Wish, str | None], tuple[str, ...]] = {
    ("fast", "en"): ("base.en", "tiny.en"),
    ("fast", "other"): ("small", "base", "tiny"),
    ("fast", None): ("base", "tiny"),
    ("balanced", "en"): ("small", "base.en", "tiny.en"),
    ("balanced", "other"): _LARGEST,
    ("balanced", None): ("small", "base", "tiny"),
    ("best", "en"): _LARGEST,
    ("best", "other"): _LARGEST,
    ("best", None): ("small", "base", "tiny"),
}
# What runs well, the best first; after it what is worth having only where no size fits in that.
# Sources: CTranslate2's docs/quantization.md (below compute capability 7.0 a GPU is slow in
# float16); on a CPU without kernels int8 is calculated in float, and 4-bit weights are unpacked
# again and again: base takes three times as long as in int8 (tests/benchmarks/README.md).
_PRECISIONS: dict[str, tuple[tuple[Quantisation, ...], ...]] = {
    "cuda": (("float16", "int8", "int4"),),
    "old cuda": (("float32", "int8", "int4"),),
    "mps": (("float16", "int8", "int4"),),
    "int8 cpu": (("int8", "float32"), ("int4",)),
    "cpu": (("float32", "int8"), ("int4",)),
}
_FLOAT16_CAPABILITY = (7, 0)
# Windows at once. A step's launches, some 10 ms on CUDA, are shared by all; the keys and values of
# 128 windows of large-v3, 31 GB, take an H100 as long to read. Both are estimated, not measured.
_FEW = (8, 4, 2, 1)
_BATCHES = {"cuda": (128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 2, 1), "mps": _FEW, "cpu": _FEW}
_COMFORT = 4  # windows at once; below it, a stronger quantisation is the better way to save
_FLOOR = {"fast": "base", "balanced": "small", "best": "small"}  # less is no reason to use a GPU


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a model, and what the user has settled already."""

    language: str | None = None  # None: to be detected
    task: Task = "transcribe"
    wish: Wish = "balanced"
    model: WhisperSpec | None = None  # None: any that serves
    quantisation: Quantisation = "auto"
    device: str = "auto"  # "cpu", "cuda" (any), "cuda:1", "mps"
    batch_size: int | None = None
    among: tuple[str, ...] | None = None  # names to choose from; None: every published one
    candidates: int = CANDIDATES  # beams or samples of one window


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, where it runs, and why."""

    spec: WhisperSpec
    quantisation: Quantisation
    device: str
    batch_size: int
    need_bytes: int
    free_bytes: int  # on the device, when it was chosen
    reason: str

    def is_same_model(self, other: Choice) -> bool:
        """Whether only the batch differs."""
        mine = (self.spec.name, self.quantisation, self.device)
        return mine == (other.spec.name, other.quantisation, other.device)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model can run."""

    device: str
    kind: Literal["cpu", "cuda", "mps"]
    ability: str  # of _PRECISIONS
    free_bytes: int
    label: str  # for a person

    def need_bytes(
        self, spec: WhisperSpec, precision: Quantisation, batch: int, candidates: int = CANDIDATES
    ) -> int:
        """What a model needs here."""
        fast_float16, int8_kernels = self.ability != "old cuda", self.ability == "int8 cpu"
        return needed(
            *(spec.dimensions, precision, self.kind, batch, candidates),
            fast_float16=fast_float16,
            int8_kernels=int8_kernels,
        ).total_bytes


def choose(machine: Machine, wanted: Wanted) -> Choice:
    """The best that fits. Raises BadOption, and OutOfMemory where nothing fits."""
    fitting = choices(machine, wanted)
    if not fitting:
        raise OutOfMemory(_nothing_fits(machine, wanted))
    return fitting[0]


def choices(machine: Machine, wanted: Wanted) -> tuple[Choice, ...]:
    """All that fit, the best first: GPU before CPU, size before precision before batch.

    A GPU that has room for less than the floor of the wish comes after a CPU that has more.
    Raises BadOption: a device that is not there, a model that cannot do what is wanted.
    """
    sizes = ladder(wanted)
    if not sizes:
        return ()
    by_place = [tuple(_fitting(place, sizes, wanted)) for place in places(machine, wanted)]
    ranked = sorted(by_place, key=lambda found: _is_poor(found, sizes, wanted))
    return tuple(choice for found in ranked for choice in found)


def step_down(machine: Machine, wanted: Wanted, failed: Choice) -> Choice | None:
    """What to try after `failed` ran out of memory; None: nothing is left.

    A smaller batch comes first, then what else `choices` has. On one device each step needs less
    than the one before, and from the CPU no step leads back.
    """
    fitting = choices(machine, wanted)
    same_model = [choice for choice in fitting if choice.is_same_model(failed)]
    for choice in (*same_model, *fitting):
        lower = choice.device == failed.device and choice.need_bytes < failed.need_bytes
        if lower or (choice.device == "cpu" and failed.device != "cpu"):
            what = f"out of memory with {_short(failed)}"
            return replace(choice, reason=f"{what}; now {choice.reason}")
    return None


def ladder(wanted: Wanted) -> tuple[WhisperSpec, ...]:
    """The models that serve, the best first. Raises BadOption when the settled one does not."""
    if wanted.model is not None:
        refuse_impossible(wanted.model, wanted.language, wanted.task)
        return (wanted.model,)
    for names in (_names(wanted), _LARGEST) if wanted.among is None else (_names(wanted),):
        specs = [find(name) for name in names]
        able = [one for one in specs if not _impossible(one, wanted.language, wanted.task)]
        if able:
            return tuple(able)
    return ()


def refuse_impossible(spec: WhisperSpec, language: str | None, task: Task) -> None:
    """Raise BadOption when a model does not know the language, or cannot translate."""
    if problem := _impossible(spec, language, task):
        raise BadOption(problem)


def _impossible(spec: WhisperSpec, language: str | None, task: Task) -> str | None:
    if language is not None and language not in spec.languages:
        return (
            f"The model {spec.name} does not know the language {language!r}, but only: "
            f"{', '.join(spec.languages)}."
        )
    if task == "translate" and not spec.can_translate:
        return f"The model {spec.name} cannot translate; take one that can, such as --model small."
    return None


def _names(wanted: Wanted) -> tuple[str, ...]:
    english = wanted.language == "en" and wanted.task == "transcribe"
    kind = None if wanted.language is None else "en" if english else "other"
    names = _LADDERS[wanted.wish, kind]
    if wanted.among is None:
        return names
    at_hand = set(wanted.among)
    others = [name for name in reversed(wanted.among) if name not in names]
    others.sort(key=lambda name: name.endswith(".en"))  # they cannot tell another language
    return (*(name for name in names if name in at_hand), *others)


def places(machine: Machine, wanted: Wanted) -> tuple[Place, ...]:
    """Where it may run: the freest GPU, then the CPU. Raises BadOption."""
    cpu = Place(
        "cpu", "cpu", "int8 cpu" if machine.cpu_int8 else "cpu", machine.ram_free_bytes, "the CPU"
    )
    gpus = sorted(machine.gpus, key=lambda gpu: -gpu.free_bytes)
    if wanted.device == "cpu":
        return (cpu,)
    if wanted.device == "auto":
        return (*map(_gpu_place, gpus[:1]), cpu)
    asked = [gpu for gpu in gpus if wanted.device in (gpu.device, gpu.kind)]
    if not asked:
        there = ", ".join(["cpu", *(gpu.device for gpu in machine.gpus)])
        raise BadOption(
            f"There is no device {wanted.device} that torch can use here; give --device auto or "
            f"one of: {there}. {' '.join(machine.notes)}".rstrip()
        )
    return (_gpu_place(asked[0]),)


def _gpu_place(gpu: Gpu) -> Place:
    old = gpu.kind == "cuda" and (gpu.capability or (0, 0)) < _FLOAT16_CAPABILITY
    ability = "old cuda" if old else gpu.kind
    label = f"GPU {gpu.index}" if gpu.kind == "cuda" else "the Apple GPU"
    return Place(gpu.device, gpu.kind, ability, gpu.free_bytes, label)


def _fitting(place: Place, sizes: tuple[WhisperSpec, ...], wanted: Wanted) -> Iterator[Choice]:
    for ways in _ways(place, wanted):
        why_not_larger = ""
        for spec in sizes:
            needs = [(place.need_bytes(spec, *way, wanted.candidates), *way) for way in ways]
            fitting = [need for need in needs if need[0] <= place.free_bytes]
            for need_bytes, quantisation, batch_size in fitting:
                choice = Choice(
                    spec, quantisation, place.device, batch_size, need_bytes, place.free_bytes, ""
                )
                yield replace(choice, reason=_reason(choice, place, why_not_larger, wanted))
            if not fitting:
                why_not_larger = f"; {spec.name} would need {_gib(min(needs)[0])}"


def _ways(place: Place, wanted: Wanted) -> list[list[tuple[Quantisation, int]]]:
    """Precisions and batches, in the order of preference; what is a last resort by itself."""
    precisions = _PRECISIONS[place.ability]
    if wanted.quantisation != "auto":
        precisions = ((wanted.quantisation,),)
    batches = _BATCHES[place.kind]
    if wanted.batch_size is not None:
        batches = (wanted.batch_size,)
    pairs = ([(one, batch) for one in some for batch in batches] for some in precisions)
    return [sorted(some, key=lambda way: way[1] < _COMFORT) for some in pairs]  # stable


def _is_poor(found: tuple[Choice, ...], sizes: tuple[WhisperSpec, ...], wanted: Wanted) -> bool:
    """Whether a place has no room for what the wish wants at least."""
    floor = find(_FLOOR[wanted.wish])
    least = min(floor.parameters, sizes[0].parameters)
    return not found or found[0].spec.parameters < least


def _reason(choice: Choice, place: Place, why_not_larger: str, wanted: Wanted) -> str:
    free = f"needs {_gib(choice.need_bytes)} of {_gib(choice.free_bytes)} GiB free"
    return f"{_short(choice)} on {place.label}: {free}{why_not_larger or _why_this(wanted)}"


def _why_this(wanted: Wanted) -> str:
    if wanted.model is not None:
        return "; it was asked for by name"
    if wanted.language is None:
        return "; it detects the language first"
    if wanted.wish == "balanced" and wanted.language == "en" and wanted.task == "transcribe":
        return "; English is well served by small"
    return ""


def _short(choice: Choice) -> str:
    return f"{choice.spec.name}, {choice.quantisation}, batch {choice.batch_size}"


def _least_bytes(place: Place, spec: WhisperSpec, wanted: Wanted) -> int:
    ways = chain.from_iterable(_ways(place, wanted))
    return min(place.need_bytes(spec, *way, wanted.candidates) for way in ways)


def _nothing_fits(machine: Machine, wanted: Wanted) -> str:
    sizes = ladder(wanted)
    if not sizes:
        names = ", ".join(wanted.among or ())
        return f"None of the models on this machine ({names}) can do what is asked."
    smallest = sizes[-1]
    lines = [
        f"{_gib(_least_bytes(place, smallest, wanted))} GiB on {place.label}, "
        f"where {_gib(place.free_bytes)} GiB are free"
        + (f" ({machine.ram_reason})" if place.kind == "cpu" else "")
        for place in places(machine, wanted)
    ]
    return (
        f"The model {smallest.name} does not fit: it needs {' and '.join(lines)}; "
        "close other programs, or give the machine more memory."
    )


def _gib(value_bytes: int) -> str:
    return f"{value_bytes / GIB:.1f}"
