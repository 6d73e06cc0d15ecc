"""Whisper's decoder with static caches: many rows of tokens, many windows of sound.

Goes in: a loaded Whisper; encoded windows, tokens. Comes out: logits. Does not know: what a token
means, which one is chosen, when a row ends.

    window ─► hear ─► place    what cross-attention needs of one window
    row    ─► begin ─► slot    what self-attention keeps of one row of tokens; rows share places
    step: one token more for the slots 0 … s - 1, all in one pass

Shapes: s rows, n tokens, d the model's width, h heads of 64, T = 1500 encoded frames, V tokens in
the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from models.shortage import is_shortage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from whisper.model import Whisper


_FRAMES = 1500  # of an encoded window that the kernels take; all published models have it
_HEAD = 64  # the same for the width of a head
_ROWS = 4  # whose shares are looked at together


class Aligned(NamedTuple):
    """What one row of n tokens attends to."""

    probabilities: Tensor  # float32 (n - 1,), of each token but the first, among those below some
    scores: Tensor  # float32 (alignment heads, n, T), before softmax


class Decoder(Protocol):
    """Static memory for `places` windows and `slots` rows. Results hold until the next call.

    A slot's tokens lie at the positions 0, 1, …; what was written there before is forgotten.
    """

    places: int
    slots: int
    is_packed: bool  # whether the model's own decoder may go

    def hear(self, places: Sequence[int], windows: Sequence[Tensor]) -> None:
        """Take in encoded windows, each (T, d)."""
        ...

    def begin(
        self,
        slot: int,
        places: Sequence[int],
        tokens: Sequence[Sequence[int]],
        wanted: Sequence[int],
    ) -> Tensor:
        """Start s rows, from the slot on, with n tokens each.

        Logits float32 (s, len(wanted), V) after the wanted ones.
        """
        ...

    def step(
        self, tokens: Sequence[int], positions: Sequence[int], places: Sequence[int]
    ) -> Tensor:
        """Logits float32 (s, V) after one token each of the first s slots, at its position."""
        ...

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Make slots hold what others do, the first `length` tokens; all at the same time."""
        ...

    def align(self, slot: int, place: int, tokens: Sequence[int], below: int) -> Aligned:
        """Begin a row, watching the heads that whisper aligns by; only tokens < `below` count."""
        ...

    def resized(self, places: int, slots: int) -> Decoder:
        """The same weights with other memory; of the two, only the new one may be used."""
        ...

    def close(self) -> None:
        """Give all memory back."""
        ...


def fastest(
    model: Whisper, places: int, slots: int, threads: int | None = None
) -> tuple[Decoder, str]:
    """The fastest decoder that is right for the model, and why. `threads`: torch's unless given.

    Raises what a lack of memory raises: other decoders need more.
    """
    import torch

    unfit = _unfit(model)
    if unfit is None:
        try:
            from models.engines.decoder_kernels import KernelDecoder
            from models.kernels.processors import CHOSEN

            decoder = KernelDecoder(model, places, slots, threads or torch.get_num_threads())
        except Exception as error:  # whatever ails the compiler, whisper's own works
            if is_shortage(error):
                raise
            unfit = str(error) or type(error).__name__
        else:
            return decoder, f"int8 kernels for {CHOSEN.name}"
    from models.engines.decoder_modules import ModuleDecoder

    modules = ModuleDecoder(model, places, slots)
    reasons = (f"whisper's own modules, since {unfit}", modules.reason)
    return modules, "; ".join(filter(None, reasons))


def _unfit(model: Whisper) -> str | None:
    """Why the kernels cannot run this model, if they cannot."""
    import torch
    from whisper.model import MultiHeadAttention

    dims = model.dims
    attentions = [part for part in model.decoder.modules() if isinstance(part, MultiHeadAttention)]
    if model.device.type != "cpu":
        return "the model is not on the CPU"
    if any(part.key.weight.dtype != torch.int8 for part in attentions):
        return "the model is not int8"
    if dims.n_text_state != _HEAD * dims.n_text_head or dims.n_audio_ctx != _FRAMES:
        return f"the model is not of {_FRAMES} frames and heads {_HEAD} wide"
    return None


def of_following(logits: Tensor, following: Sequence[int], below: int) -> Tensor:
    """The probability (n,) of each following token among those below `below`; logits (n, V).

    What it says of other tokens means nothing. A few rows after the other: the shares of all would
    be as large as the logits.
    """
    import torch

    chosen = torch.tensor(following, device=logits.device).clamp_max(below - 1)
    shares = logits.new_empty(len(logits))
    for first in range(0, len(logits), _ROWS):
        rows = slice(first, first + _ROWS)
        likely = logits[rows, :below].softmax(-1).gather(1, chosen[rows, None])
        shares[rows] = likely[:, 0]
    return shares
