"""NVIDIA's GPUs, and which of them CUDA shows to this process.

Goes in: NVML, the text of CUDA_VISIBLE_DEVICES. Comes out: cards in CUDA's order, with notes for a
person. Does not know: torch, other makers' GPUs.

NVML needs a driver, but no CUDA context, which would take memory on the GPU.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU, or a MIG device of one."""

    name: str
    uuid: str = ""
    total_bytes: int = 0
    free_bytes: int = 0
    capability: tuple[int, int] | None = None
    parts: tuple[Card, ...] | None = None  # its MIG devices; None: MIG is off
    problem: str | None = None  # why no more is known of it


class NvmlError(Exception):
    """NVML does not answer, or not to this."""


class Nvml(Protocol):
    """What is used of NVML. Every call may raise NvmlError."""

    def open(self) -> None:
        """Load the library and reach the driver."""

    def close(self) -> None:
        """The opposite, after an open that succeeded."""

    def count(self) -> int:
        """How many GPUs there are."""

    def gpu(self, index: int) -> Any:
        """The handle of a GPU, in PCI order."""

    def mig_slots(self, gpu: Any) -> int | None:
        """How many MIG devices it may have; None: MIG is off."""

    def mig(self, gpu: Any, slot: int) -> Any:
        """The handle of a MIG device; an empty slot raises NvmlError."""

    def uuid(self, device: Any) -> str:
        """As nvidia-smi -L prints it, "GPU-…" or "MIG-…"."""

    def name(self, device: Any) -> str:
        """As the maker calls it."""

    def memory(self, device: Any) -> tuple[int, int]:
        """Total and free bytes; other processes' use counts."""

    def capability(self, gpu: Any) -> tuple[int, int]:
        """CUDA compute capability."""


def cards_of(nvml: Nvml | None = None) -> tuple[Card, ...]:
    """Every GPU, in PCI order, also those with a problem. Raises NvmlError without a driver."""
    nvml = nvml or _Pynvml()
    nvml.open()
    try:
        return tuple(_card(nvml, index) for index in range(nvml.count()))
    finally:
        with suppress(NvmlError):
            nvml.close()


def visible(cards: tuple[Card, ...], text: str | None) -> tuple[tuple[Card, ...], tuple[str, ...]]:
    """What CUDA shows, in its order, and notes. `text` is CUDA_VISIBLE_DEVICES; None: not set.

    Sources: CUDA Programming Guide, "CUDA Environment Variables"; MIG User Guide, "CUDA Device
    Enumeration"; torch/cuda/__init__.py, `_parse_visible_devices`, for what they leave open.
    """
    chosen, notes = (list(cards), []) if text is None else _named(cards, text)
    shown: list[Card] = []
    for card in chosen:
        if card.parts == ():
            notes.append(f"{card.name} has MIG on and no MIG device, so it offers no memory.")
        else:
            shown.append(card if card.parts is None else card.parts[0])
    # So it is before driver R570; newer ones can show more, which is left unused.
    parts = [card for card in shown if card.uuid.startswith("MIG-")][:1]
    notes += [
        f"CUDA uses one MIG device and nothing beside it, here {part.name}; "
        "CUDA_VISIBLE_DEVICES=MIG-… picks another (nvidia-smi -L lists them)."
        for part in parts
    ]
    return tuple(parts or shown), tuple(notes)


def _named(cards: tuple[Card, ...], text: str) -> tuple[list[Card], list[str]]:
    """The cards in the order of CUDA_VISIBLE_DEVICES, up to its first entry that is none."""
    chosen: list[Card] = []
    notes: list[str] = []
    for entry in (part.strip() for part in text.split(",")):
        card = _find(cards, entry)
        if card is None:
            if entry not in ("", "-1"):  # the usual ways to end the list on purpose
                notes.append(f'CUDA_VISIBLE_DEVICES={text}: "{entry}" is no GPU; CUDA stops there.')
            break
        if card in chosen:
            chosen.clear()
            notes.append(f"CUDA_VISIBLE_DEVICES={text} names a GPU twice; CUDA then shows none.")
            break
        chosen.append(card)
    hidden = [
        f"GPU {index} ({card.name})"
        for index, card in enumerate(cards)
        if not any(one in chosen for one in _with_parts(card))
    ]
    if hidden:
        notes.append(f"CUDA_VISIBLE_DEVICES={text} hides {', '.join(hidden)}.")
    return chosen, notes


def _find(cards: tuple[Card, ...], entry: str) -> Card | None:
    """By number, of which CUDA reads as much as is one, or by the unique beginning of a UUID."""
    number = re.match(r"\+?([0-9]{1,9})", entry)
    if number is not None:
        index = int(number[1])
        return cards[index] if index < len(cards) else None
    if not entry.startswith(("GPU-", "MIG-")):
        return None
    found = [one for card in cards for one in _with_parts(card) if one.uuid.startswith(entry)]
    return found[0] if len(found) == 1 else None


def _with_parts(card: Card) -> tuple[Card, ...]:
    return (card, *(card.parts or ()))


def _card(nvml: Nvml, index: int) -> Card:
    """One GPU. A problem leaves it its place in the order."""
    try:
        gpu = nvml.gpu(index)
        name, uuid, capability = nvml.name(gpu), nvml.uuid(gpu), nvml.capability(gpu)
        parts = _parts(nvml, gpu, capability)
        total, free = nvml.memory(gpu) if parts is None else (0, 0)
    except NvmlError as error:
        return Card("unknown", problem=f"GPU {index} cannot be used, NVML says: {error}.")
    return Card(name, uuid, total, free, capability, parts)


def _parts(nvml: Nvml, gpu: Any, capability: tuple[int, int]) -> tuple[Card, ...] | None:
    try:
        slots = nvml.mig_slots(gpu)
    except NvmlError:  # a GPU or a driver that does not know of MIG
        return None
    return None if slots is None else tuple(_filled(nvml, gpu, slots, capability))


def _filled(nvml: Nvml, gpu: Any, slots: int, capability: tuple[int, int]) -> Iterator[Card]:
    for slot in range(slots):
        with suppress(NvmlError):  # empty
            part = nvml.mig(gpu, slot)
            yield Card(nvml.name(part), nvml.uuid(part), *nvml.memory(part), capability)


class _Pynvml:
    """NVML by nvidia-ml-py."""

    def open(self) -> None:
        self._call("nvmlInit")

    def close(self) -> None:
        self._call("nvmlShutdown")

    def count(self) -> int:
        return int(self._call("nvmlDeviceGetCount"))

    def gpu(self, index: int) -> Any:
        return self._call("nvmlDeviceGetHandleByIndex", index)

    def mig_slots(self, gpu: Any) -> int | None:
        now, _after_reset = self._call("nvmlDeviceGetMigMode", gpu)
        return int(self._call("nvmlDeviceGetMaxMigDeviceCount", gpu)) if now else None

    def mig(self, gpu: Any, slot: int) -> Any:
        return self._call("nvmlDeviceGetMigDeviceHandleByIndex", gpu, slot)

    def uuid(self, device: Any) -> str:
        return str(self._call("nvmlDeviceGetUUID", device))

    def name(self, device: Any) -> str:
        return str(self._call("nvmlDeviceGetName", device))

    def memory(self, device: Any) -> tuple[int, int]:
        memory = self._call("nvmlDeviceGetMemoryInfo", device)
        return int(memory.total), int(memory.free)

    def capability(self, gpu: Any) -> tuple[int, int]:
        major, minor = self._call("nvmlDeviceGetCudaComputeCapability", gpu)
        return int(major), int(minor)

    def _call(self, name: str, *arguments: Any) -> Any:
        import pynvml

        try:
            return getattr(pynvml, name)(*arguments)
        except pynvml.NVMLError as error:
            raise NvmlError(str(error)) from error
