"""A Whisper made ready to hear, by the fastest arithmetic that is right for it.

Goes in: a model as `models.checkpoint` loads it. Comes out: its encoder and its decoder, with room
for so many windows at once. Does not know: clips, options, where the model came from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from models.needs import CANDIDATES
from models.shortage import free_unused

if TYPE_CHECKING:
    from torch import nn
    from whisper.model import Whisper

    from models.engines.decoder import Decoder
    from models.engines.encoder import FastEncoder
    from pipeline.types import EngineDescription


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model on its device. `model` may be hollow: its layers live on in the other two."""

    model: Whisper
    encoder: FastEncoder
    decoder: Decoder
    description: EngineDescription
    torch_threads: int  # that torch works with, in the thread that hears

    def set_threads(self) -> None:
        """In this thread. Torch remembers their number for each, and others change it."""
        import torch

        torch.set_num_threads(self.torch_threads)

    @property
    def batch_size(self) -> int:
        """How many windows it hears at once."""
        return self.decoder.places

    @property
    def candidates(self) -> int:
        """Beams or samples of one window that there is room for, whoever else is heard."""
        return self.decoder.slots - self.decoder.places


def made_ready(
    model: Whisper, description: EngineDescription, batch_size: int, candidates: int = CANDIDATES
) -> Loaded:
    """The model is hollow afterwards where its weights were packed for kernels.

    The description's reason then says which kernels, or why there are none; on a GPU, whether its
    steps are recorded. Kernels have threads of
    their own, as many as torch has before; what is left to torch is too little for more than one,
    and its threads would spin in the way of others while they wait.
    """
    import torch

    from models.engines.decoder import fastest
    from models.engines.encoder import FastEncoder

    free_unused()  # what loading left behind
    encoder = FastEncoder(model)
    if encoder.is_packed:
        _empty(model.encoder.blocks)
        free_unused()
    decoder, reason = fastest(model, batch_size, batch_size + candidates)
    if encoder.is_packed and decoder.is_packed:
        _empty(model)
        free_unused()
    if description.quantisation == "int8" or model.device.type == "cuda":
        description = replace(description, reason=f"{description.reason}; {reason}")
    threads = 1 if encoder.is_packed and decoder.is_packed else torch.get_num_threads()
    return Loaded(model, encoder, decoder, description, threads)


def with_batch_size(loaded: Loaded, batch_size: int) -> Loaded:
    """The same with room for fewer windows; `loaded` is of no use any more."""
    return replace(
        loaded, decoder=loaded.decoder.resized(batch_size, batch_size + loaded.candidates)
    )


def release(loaded: Loaded) -> None:
    """Give its memory back, whoever still holds it."""
    loaded.encoder.close()
    loaded.decoder.close()
    _empty(loaded.model)


def _empty(module: nn.Module) -> None:
    """The device and the kind of numbers stay."""
    import torch

    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.layout == torch.strided:
            tensor.data = tensor.new_empty(0)
