"""What memory this machine has free.

Goes in: NVML's and torch's answers, the files that Linux shows of itself. Comes out: RAM and GPUs,
with notes for a person. Does not know: models and what they need.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from models.nvml import NvmlError, cards_of, visible
from models.ram import ask_system, look_at_ram

if TYPE_CHECKING:
    from models.nvml import Card, Nvml
    from models.ram import Ram, System

Build = Literal["cuda", "rocm", "cpu"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that torch can use, or a part of one."""

    index: int  # torch's ordinal, counted after CUDA_VISIBLE_DEVICES
    name: str
    total_bytes: int
    free_bytes: int  # 0 … total; other processes' use counts
    capability: tuple[int, int] | None  # CUDA compute capability; None on Apple
    kind: Literal["cuda", "mps"] = "cuda"

    @property
    def device(self) -> str:
        """By torch's name."""
        return "mps" if self.kind == "mps" else f"cuda:{self.index}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a model may be given."""

    ram_total_bytes: int  # the container's limit where that is lower
    ram_free_bytes: int  # 0 … total; page cache is free; never above what a cgroup leaves
    ram_reason: str  # what sets the free bytes, such as "MemAvailable of this machine"
    gpus: tuple[Gpu, ...]
    cpu_int8: bool  # there are int8 kernels for this processor
    notes: tuple[str, ...] = ()  # what a person should know, in sentences


_Found = tuple[tuple[Gpu, ...], tuple[str, ...]]  # with notes


class Torch(Protocol):
    """What is asked of torch."""

    def build(self) -> Build:
        """Which GPUs it was built for."""

    def works(self) -> bool:
        """Whether it can use any GPU that CUDA_VISIBLE_DEVICES leaves. Makes no context."""

    def gpus(self) -> tuple[Gpu, ...]:
        """Its own account of them. Makes a context on each. Raises RuntimeError."""

    def mps_bytes(self) -> int | None:
        """How much Metal recommends to use at most; None: there is no Metal."""

    def cpu_int8(self) -> bool:
        """Whether it multiplies int8 exactly on this processor."""


def look(
    visible_gpus: str | None = None,
    root: Path = Path("/"),
    nvml: Nvml | None = None,
    torch_devices: Torch | None = None,
    system: System | None = None,
) -> Machine:
    """The memory of this machine, now.

    `visible_gpus` is the text of CUDA_VISIBLE_DEVICES, None when it is not set. Ordinals are right
    if torch counts as NVML does (CUDA_DEVICE_ORDER=PCI_BUS_ID). All else replaces the machine.
    """
    torch = torch_devices or _Torch()
    ram = look_at_ram(root, system or ask_system())
    gpus, notes = _metal(torch, ram) or _cuda(visible_gpus, nvml, torch)
    return Machine(
        ram.total_bytes,
        ram.free_bytes,
        ram.reason,
        gpus,
        torch.cpu_int8(),
        (*ram.notes, *notes),
    )


def _metal(torch: Torch, ram: Ram) -> _Found | None:
    """Apple's GPU, which shares the RAM."""
    most = torch.mps_bytes()
    if most is None:
        return None
    total, free = min(most, ram.total_bytes), min(most, ram.free_bytes)
    return (Gpu(0, "Apple GPU", total, free, None, "mps"),), ()


def _cuda(text: str | None, nvml: Nvml | None, torch: Torch) -> _Found:
    """What NVML sees, as far as torch can use it; what torch sees where NVML is silent."""
    build = torch.build()
    if build == "rocm":
        return _as_torch_says(torch, ())
    cards, notes = _cards(nvml)
    if not any(card.problem is None for card in cards):
        return ((), notes) if build == "cpu" else _as_torch_says(torch, notes)
    names = ", ".join(card.name for card in cards)
    if build == "cpu":
        remedy = "install one that has it: https://pytorch.org/get-started/locally"
        return (), (*notes, f"There is a GPU ({names}), but this torch has no CUDA; {remedy}.")
    shown, more = visible(cards, text)
    notes += more
    if shown and not torch.works():
        remedy = "update its driver, or install an older torch"
        return (), (*notes, f"Torch cannot use the GPU ({names}); {remedy}.")
    gpus = (
        _gpu(index, card.name, card.total_bytes, card.free_bytes, card.capability)
        for index, card in enumerate(shown)
        if card.problem is None
    )
    return tuple(gpus), notes


def _cards(nvml: Nvml | None) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    try:
        cards = cards_of(nvml)
    except NvmlError as error:
        return (), (f"No NVIDIA driver answers ({error}).",)
    return cards, tuple(card.problem for card in cards if card.problem is not None)


def _as_torch_says(torch: Torch, notes: tuple[str, ...]) -> _Found:
    if not torch.works():
        return (), notes
    try:
        gpus = torch.gpus()
    except RuntimeError as error:  # such as a GPU without room for a context
        cause = str(error).partition("\n")[0]
        return (), (*notes, f"Torch sees a GPU, but not its memory: {cause}")
    return gpus, (*notes, "The GPU's free memory is as torch tells it, since NVML does not.")


def _gpu(index: int, name: str, total: int, free: int, capability: tuple[int, int] | None) -> Gpu:
    """A GPU whose numbers hold together, whatever was read."""
    total = max(total, 0)
    return Gpu(index, name, total, min(max(free, 0), total), capability)


class _Torch:
    """torch itself."""

    def build(self) -> Build:
        import torch

        if torch.version.hip is not None:
            return "rocm"
        return "cpu" if torch.version.cuda is None else "cuda"

    def works(self) -> bool:
        import torch

        with warnings.catch_warnings():  # its way to say that a driver is too old
            warnings.simplefilter("ignore")
            return torch.cuda.is_available()

    def gpus(self) -> tuple[Gpu, ...]:
        import torch

        found = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            capability = torch.cuda.get_device_capability(index)
            name = torch.cuda.get_device_name(index)
            found.append(_gpu(index, name, total, free, capability))
        return tuple(found)

    def mps_bytes(self) -> int | None:
        import torch

        if not torch.backends.mps.is_available():
            return None
        return torch.mps.recommended_max_memory()

    def cpu_int8(self) -> bool:
        try:
            from models.kernels import tiles  # noqa: F401  - there is none without instructions
        except Exception:  # noqa: BLE001  - whatever ails the compiler, there are no kernels
            return False
        return True
