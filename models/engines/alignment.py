"""When each token was said, by whisper's alignment, from one pass over a window that is held.

Goes in: a decoder that holds a window, and the text. Comes out: what `whisper.timing` calls an
alignment. Does not know: segments, media time, how a word is spelt.

whisper's own needs a pass with all attention in memory, a sort for its median filter, and time
warping cell by cell.
"""

from __future__ import annotations

from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from whisper.timing import WordTiming
    from whisper.tokenizer import Tokenizer

    from models.engines.decoder import Decoder

_FILTER = 7  # frames of the median filter
_HEADS_AT_ONCE = 4  # on a GPU, where each takes memory nine times
# The pairs to be ordered so that the median of seven comes to the middle.
# Source: N. Devillard, Fast median search: an ANSI C implementation, 1998.
_MEDIAN_OF_7 = (
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3),
    (3, 4),
)  # fmt: skip


def add_word_timestamps(decoder: Decoder, slot: int, place: int) -> Callable[..., None]:
    """`whisper.timing.add_word_timestamps` over the window in `place`; any slot that is free.

    It takes the same arguments, and makes no use of `model` and `mel`.
    """
    from whisper import timing

    def ours(
        _model: object, tokenizer: Tokenizer, text: Sequence[int], _mel: object, num_frames: int
    ) -> list[WordTiming]:
        return find_alignment(decoder, slot, place, tokenizer, text, num_frames)

    # whisper's function looks its helper up among its globals: this is a copy with another helper
    theirs = timing.add_word_timestamps
    copied = FunctionType(theirs.__code__, {**vars(timing), "find_alignment": ours})
    copied.__kwdefaults__ = theirs.__kwdefaults__
    return copied


def find_alignment(
    decoder: Decoder,
    slot: int,
    place: int,
    tokenizer: Tokenizer,
    text: Sequence[int],
    num_frames: int,
) -> list[WordTiming]:
    """What `whisper.timing.find_alignment` gives for text tokens and the window in `place`."""
    import numpy as np
    from whisper.audio import TOKENS_PER_SECOND
    from whisper.timing import WordTiming

    from models.kernels.warping import path

    words, word_tokens = tokenizer.split_to_word_tokens([*text, tokenizer.eot])
    if not text or len(word_tokens) <= 1:
        return []
    before = len(tokenizer.sot_sequence)
    given = [*tokenizer.sot_sequence, tokenizer.no_timestamps, *text, tokenizer.eot]
    aligned = decoder.align(slot, place, given, tokenizer.eot)
    probabilities = aligned.probabilities[before : before + len(text)].tolist()
    matrix = salience(aligned.scores, num_frames // 2)[before:-1]
    text_indices, time_indices = path(-matrix.cpu().numpy())
    edges = np.pad(np.cumsum([len(tokens) for tokens in word_tokens[:-1]]), (1, 0))
    jumps = np.pad(np.diff(text_indices), (1, 0), constant_values=1).astype(bool)
    times = time_indices[jumps] / TOKENS_PER_SECOND
    return [
        WordTiming(word, tokens, times[first], times[end], np.mean(probabilities[first:end]))
        for word, tokens, first, end in zip(words, word_tokens, edges, edges[1:], strict=False)
    ]


def salience(scores: Tensor, frames: int) -> Tensor:
    """Scores (heads, n, T) as the mean (n, frames) of what is special to each token.

    On a CPU one head after the other, since one fits into the processor's cache.
    """
    import torch

    total = torch.zeros(scores.shape[1], frames, device=scores.device)
    is_cpu = scores.device.type == "cpu"
    kernel = _kernel() if is_cpu and frames > _FILTER else None
    if kernel is not None:
        kernel.salience(scores.numpy(), frames, total.numpy())
        return total
    for heads in torch.split(scores[:, :, :frames], 1 if is_cpu else _HEADS_AT_ONCE):
        total += _together(heads).sum(0)
    return total.div_(len(scores))


def _together(scores: Tensor) -> Tensor:
    """Of each head by itself, (heads, n, frames) to the same; all in a few dozen operations."""
    weights = scores.softmax(-1)
    weights -= weights.mean(1, keepdim=True)
    weights /= weights.square().mean(1, keepdim=True).sqrt()
    return _median(weights)


@cache
def _kernel() -> Any:
    """`models.kernels.salience`; None: it does not compile for this processor."""
    try:
        from models.kernels import salience
    except Exception:  # noqa: BLE001  - whatever ails the compiler, torch works
        return None
    return salience


def _median(x: Tensor) -> Tensor:
    """`whisper.timing.median_filter` over the last dimension of (heads, n, frames)."""
    import torch
    from torch.nn.functional import pad

    half = _FILTER // 2
    frames = x.shape[-1]
    if frames <= half:
        return x
    around = pad(x, (half, half), mode="reflect")
    near = [around[..., i : i + frames] for i in range(_FILTER)]
    for a, b in _MEDIAN_OF_7:
        near[a], near[b] = torch.minimum(near[a], near[b]), torch.maximum(near[a], near[b])
    return near[half]
