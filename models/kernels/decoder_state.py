"""What the threads of a decoder's pass read and write.

Goes in: dimensions. Comes out: memory, allocated once. Does not know: the arithmetic.

Letters in shapes: m rows, d the model's width, h its heads, l layers, P the panel's width. Where
rows go through a linear layer, up to ROWS - 1 more are read and written, so there is room for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from models.kernels.tiles import PANEL, ROWS

if TYPE_CHECKING:
    from whisper.model import ModelDimensions

    from models.kernels.arithmetic import Array, Linear, Norm

FRAMES = 1500  # of an encoded window
PADDED = -(-FRAMES // PANEL) * PANEL
HEAD = 64  # width of a head
ASKED = 12  # heads that ask a window together
assert ASKED % ROWS == 0
LANES = 32  # frames, 0.64 s: how far rounding carries a weight


class Layers(NamedTuple):
    """All blocks; the first dimension of every array is the layer."""

    own_norm: Norm
    qkv: Linear  # queries (scaled for powers of two), keys, values
    own_out: Linear
    cross_norm: Norm
    query: Linear  # scaled for powers of two, and for the rows of `turn`
    turn: Linear  # Kᵀ, head by head: h layers from HEAD to d
    value: Linear
    cross_out: Linear
    mlp_norm: Norm
    up: Linear
    down: Linear


class Model(NamedTuple):
    """A decoder."""

    layers: Layers
    norm: Norm
    embedding: Array  # int8 (V, d)
    embedding_scale: Array  # float32 (V,)
    positions: Array  # float32 (contexts, d)
    logits: Linear  # the embedding again, in panels


class Windows(NamedTuple):
    """What cross-attention reads: x ≈ byte * scale + mean, with a scale and mean for each channel.

    The mean gives all frames the same score, so it counts only in what is heard.
    """

    keys: Array  # int8 (places, PADDED · d), panels of frames
    key_start: Array  # int32 (places, PADDED): -ZERO · the sum of each frame
    values: Array  # int8 (places, FRAMES · d), panels of channels
    value_start: Array  # int32 (places, d): LESS · the sum of each channel
    scale: Array  # float32 (places, d)
    mean: Array  # float32 (places, d)
    ones: Array  # float32 (PADDED,)
    zeros: Array  # float32 (PADDED,)


class Rows(NamedTuple):
    """What is fed, each (m,) int64."""

    tokens: Array
    slots: Array
    positions: Array
    places: Array
    order: Array  # the rows, those of one place side by side
    runs: Array  # (places that are heard, 2): where each begins in `order`, and ends
    wanted: Array  # (any,): rows whose logits are wanted


class State(NamedTuple):
    """What the threads share."""

    keys: Array  # uint16 (l, slots, h, contexts, HEAD), bfloat16
    values: Array  # the same
    x: Array  # float32 (m, d)
    wide: Array  # float32 (m, 4 d)
    queries: Array  # float32 (m, d)
    asked: Array  # uint8 (m · h, d), in order
    asked_scale: Array  # float32 (m · h,)
    heard: Array  # uint8 (h, m, d)
    heard_scale: Array  # float32 (h, m)
    attended: Array  # float32 (m, d)
    logits: Array  # float32 (rows that are wanted, V rounded up to P)
    watched: Array  # int64 (l, h): where a head's scores go in `scores`; -1: nowhere
    scores: Array  # float32 (watched heads, positions, FRAMES), before softmax
    counter: Array  # int64 (1,)


class Thread(NamedTuple):
    """One of those that walk through a pass together."""

    number: int  # 0 … threads - 1
    threads: int


class Scratch(NamedTuple):
    """A thread's own memory."""

    row: Array  # float32 (4 d, or contexts if there are more)
    heads: Array  # uint8 (m, HEAD)
    narrow: Array  # uint8 (m, d)
    wide: Array  # uint8 (m, 4 d)
    scale: Array  # float32 (m,)
    turned: Array  # float32 (m, d)
    scores: Array  # float32 (ASKED, PADDED)
    weights: Array  # uint8 (ASKED, FRAMES)
    weights_scale: Array  # float32 (ASKED,)
    sounds: Array  # float32 (ASKED, d)
    carry: Array  # float32 (LANES,)


def new_windows(dims: ModelDimensions, places: int) -> Windows:
    """No window yet."""
    d = dims.n_text_state
    windows = Windows(
        keys=zeros(places, PADDED * d, kind="int8"),
        key_start=zeros(places, PADDED, kind="int32"),
        values=zeros(places, FRAMES * d, kind="int8"),
        value_start=zeros(places, d, kind="int32"),
        scale=zeros(places, d),
        mean=zeros(places, d),
        ones=zeros(PADDED),
        zeros=zeros(PADDED),
    )
    windows.ones[:] = 1
    return windows


def new_state(dims: ModelDimensions, slots: int, most: int, wanted: int) -> State:
    """For passes of at most `most` rows, and logits of at most `wanted`.

    Of the slots, only what is used takes memory.
    """
    import numpy as np

    d, h, m = dims.n_text_state, dims.n_text_head, most + ROWS
    cache = (dims.n_text_layer, slots, h, dims.n_text_ctx, HEAD)
    return State(
        keys=np.zeros(cache, np.uint16),
        values=np.zeros(cache, np.uint16),
        x=zeros(m, d),
        wide=zeros(m, 4 * d),
        queries=zeros(m, d),
        asked=zeros(m * h + ASKED, d, kind="uint8"),
        asked_scale=zeros(m * h + ASKED),
        heard=zeros(h, m, d, kind="uint8"),
        heard_scale=zeros(h, m),
        attended=zeros(m, d),
        logits=zeros(wanted + ROWS, -(-dims.n_vocab // PANEL) * PANEL),
        watched=np.full((dims.n_text_layer, h), -1),
        scores=zeros(0, 0, 0),
        counter=np.zeros(1, np.int64),
    )


def new_scratch(dims: ModelDimensions, most: int) -> Scratch:
    """A thread's."""
    d, m = dims.n_text_state, most + ROWS
    return Scratch(
        row=zeros(max(4 * d, dims.n_text_ctx)),
        heads=zeros(m, HEAD, kind="uint8"),
        narrow=zeros(m, d, kind="uint8"),
        wide=zeros(m, 4 * d, kind="uint8"),
        scale=zeros(m),
        turned=zeros(m, d),
        scores=zeros(ASKED, PADDED),
        weights=zeros(ASKED, FRAMES, kind="uint8"),
        weights_scale=zeros(ASKED),
        sounds=zeros(ASKED, d),
        carry=zeros(LANES),
    )


def zeros(*shape: int, kind: str = "float32") -> Array:
    """Memory as torch aligns it, to 64 bytes, the width of a register."""
    import torch

    array: Array = torch.zeros(shape, dtype=getattr(torch, kind)).numpy()
    return array
