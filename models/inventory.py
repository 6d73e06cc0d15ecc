"""What every published Whisper would need here, and which are at hand.

Goes in: a machine, and the folder of weights. Comes out: one row a model. Does not know: how rows
are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from models import cache, weights
from models.choose import Place, Wanted, places
from models.registry import WHISPERS
from models.weights import DEMO, at_hand
from pipeline.errors import ModelUnavailable
from pipeline.types import Quantisation

if TYPE_CHECKING:
    from pathlib import Path

    from models.memory import Machine
    from models.registry import WhisperSpec

QUANTISATIONS: tuple[Quantisation, ...] = tuple(
    name for name in get_args(Quantisation) if name != "auto"
)


@dataclass(frozen=True, slots=True)
class NeedRow:
    """What a precision needs to hear one window at a time."""

    quantisation: Quantisation
    need_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One published model on this machine."""

    name: str
    parameters: int
    languages: int  # how many it hears
    can_translate: bool
    relative_speed: int  # against large, as OpenAI says
    download_bytes: int
    on_disk: bool  # OpenAI's file
    quantised: tuple[Quantisation, ...]  # what is kept ready to be mapped
    needs: tuple[NeedRow, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """All published models, smallest first, and the device that their needs are counted on."""

    device: str
    free_bytes: int
    rows: tuple[ModelRow, ...]


def take_stock(machine: Machine, weights_dir: Path) -> Inventory:
    """Look at the folder, and count."""
    place = places(machine, Wanted())[0]
    names = at_hand(weights_dir)
    rows = []
    for spec in WHISPERS:
        if spec.name == DEMO:
            continue
        needs = tuple(_need(spec, quantisation, place) for quantisation in QUANTISATIONS)
        rows.append(_row(spec, needs, weights_dir, on_disk=spec.name in names))
    return Inventory(place.label, place.free_bytes, tuple(rows))


def remove(model: str, weights_dir: Path) -> int:
    """Remove OpenAI's file and all that was made of it; the bytes that were freed.

    Raises BadOption: no such model; ModelUnavailable: it is not here; StorageFailed.
    """
    kept_bytes = cache.remove(weights.published_row(model).name, weights_dir)
    try:
        return kept_bytes + weights.remove(model, weights_dir)
    except ModelUnavailable:
        if kept_bytes:
            return kept_bytes
        raise


def is_here(spec: WhisperSpec, quantisation: Quantisation, weights_dir: Path) -> bool:
    """Whether the model can be loaded without a download."""
    return spec.name in at_hand(weights_dir) or cache.holds(spec, quantisation, weights_dir)


def _need(spec: WhisperSpec, quantisation: Quantisation, place: Place) -> NeedRow:
    need_bytes = place.need_bytes(spec, quantisation, 1)
    return NeedRow(quantisation, need_bytes, need_bytes <= place.free_bytes)


def _row(
    spec: WhisperSpec, needs: tuple[NeedRow, ...], weights_dir: Path, *, on_disk: bool
) -> ModelRow:
    kept = (one for one in QUANTISATIONS if cache.holds(spec, one, weights_dir))
    return ModelRow(
        name=spec.name,
        parameters=spec.parameters,
        languages=len(spec.languages),
        can_translate=spec.can_translate,
        relative_speed=spec.relative_speed,
        download_bytes=spec.file_bytes,
        on_disk=on_disk,
        quantised=tuple(kept),
        needs=needs,
    )
