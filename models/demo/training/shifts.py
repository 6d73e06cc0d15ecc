"""Encoder attention as fixed relative shifts, and the same written as query and key weights.

In: a Whisper model made by ``network``. Out: the same model, with attention that looks where its
shifts looked. Does not know: losses or schedules.

For most of the training each head looks at one relative frame ("5 frames back"), which makes the
encoder a dilated convolution: it learns several times faster than attention from random weights.
Some encoder dimensions are reserved for position, so that ordinary attention can do the same in the
end.
"""

import math
from typing import Any

import torch
from torch import Tensor
from whisper.model import Whisper

# The frames to which the three heads of each layer look.
SHIFTS = ((-2, 0, 2), (-4, 0, 4), (-7, 0, 7), (-11, 0, 11), (-16, 0, 16))
PAIRS = 32  # sine and cosine pairs by which a head finds a frame; the last one holds 0 and ONE
# The constant is compared with 31 pairs at once: large, so that rounding it to int8 does no harm.
ONE = 6.0
_ONE_NORMED = 3.0  # its size after layer norm: about the largest there, so it costs int8 no range
# Logits per squared distance. The next frame gets about 1 / 1000 of the weight; more would only
# make the weights larger.
_SHARPNESS = 60.0
_HEAD = 64  # dimensions


def place_constants(position: Tensor) -> None:
    """Replace one pair of the sinusoids in place: its sine by 0, its cosine by ``ONE``."""
    half = position.shape[1] // 2
    position[:, PAIRS - 1], position[:, half + PAIRS - 1] = 0.0, ONE


@torch.no_grad()
def hold_reserved(model: Whisper, gains: tuple[float, ...]) -> None:
    """Undo whatever an update wrote into the reserved dimensions."""
    dims = _reserved(model.dims.n_audio_state)
    encoder = model.encoder
    writers = [x for block in encoder.blocks for x in (block.attn.out, block.mlp[2])]
    for layer in (encoder.conv2, *writers):
        layer.weight[dims] = 0
        layer.bias[dims] = 0
    for block, gain in zip(encoder.blocks, gains, strict=True):
        block.attn_ln.weight[dims] = gain
        block.attn_ln.bias[dims] = 0


def shifted(attention: Any, x: Tensor, shifts: tuple[int, ...]) -> Tensor:
    """Self-attention whose heads each look at one relative frame: no softmax, no n x n."""
    frames = x.shape[1]
    value = attention.value(x).unflatten(-1, (len(shifts), -1))
    time = torch.arange(frames)
    heads = [value[:, (time + s).clamp(0, frames - 1), i] for i, s in enumerate(shifts)]
    out: Tensor = attention.out(torch.cat(heads, -1))
    return out


@torch.no_grad()
def write_out(model: Whisper, inputs: list[Tensor]) -> tuple[float, ...]:
    """Write the shifts into query and key weights; returns the gains to be held from now on.

    With p(i) the sinusoids of frame i, the logit is made proportional to -|p(i + shift) - p(j)|^2:
    zero for the wanted frame j and negative for all others, whatever scale layer norm gives to
    either frame. That takes one constant among the positions, and one zero: subtracting the zero
    from every other dimension removes layer norm's mean. ``inputs`` are those of each block, for
    their spread.
    """
    state = model.dims.n_audio_state
    dims, zero = _reserved(state), PAIRS - 1
    gains = []
    for block, shifts, x in zip(model.encoder.blocks, SHIFTS, inputs, strict=True):
        spread = x.float().var(-1).median().item() ** 0.5
        gain = max(1.0, _ONE_NORMED * spread / ONE)
        gains.append(gain)
        block.attn.value.weight[:, dims] *= block.attn_ln.weight[zero].item() / gain
        block.attn_ln.weight[dims] = gain
        scale = _SHARPNESS**0.5 * spread / gain
        for head, shift in enumerate(shifts):
            rows = slice(_HEAD * head, _HEAD * (head + 1))
            query, key = _head_weights(shift, state)
            block.attn.query.weight[rows] = query * scale
            block.attn.key.weight[rows] = key * scale
            block.attn.query.bias[rows] = 0
    return tuple(gains)


def _head_weights(shift: int, state: int) -> tuple[Tensor, Tensor]:
    """Query and key weights of one head, before scaling."""
    half, index = state // 2, torch.arange(PAIRS - 1)
    zero, one = PAIRS - 1, half + PAIRS - 1
    frequency = torch.exp(-math.log(10000) / (half - 1) * index)  # as in Whisper's sinusoids
    cos, sin = torch.cos(frequency * shift), torch.sin(frequency * shift)
    key, query = torch.zeros(2, _HEAD, state)
    key[index, index] = key[index + PAIRS, index + half] = 1.0
    query[index, index], query[index, index + half] = cos, sin
    query[index + PAIRS, index + half], query[index + PAIRS, index] = cos, -sin
    key[-1, one], query[-1, one] = 1.0 / ONE, (1.0 - PAIRS) / ONE
    for rows in (key, query):
        rows[:, zero] -= rows.sum(1)
    return query, key


def _reserved(state: int) -> Tensor:
    """Encoder dimensions that carry nothing but position (and one near zero)."""
    half = state // 2
    pairs = (torch.arange(PAIRS), torch.arange(half, half + PAIRS))
    return torch.cat([*pairs, torch.tensor([half - 1])])
