"""The steps of Whisper's encoder over some rows of a window.

Goes in: packed weights, and the first and last row. Comes out: those rows, written where the next
step reads them. Does not know: threads, torch, where weights come from, decoding.

    mel ─► convolve ║ embed ─► project ║ attend ─► mix ─► … ─► finish
                               └────── once a layer ─────┘
    where ║ stands, all threads wait for each other: what follows reads the rows of all

Linear layers are int8: weights with one scale for each output row, activations with one for each
token. Convolutions and attention multiply bfloat16 and add in float32; the rest is float32. A chunk
of rows goes through a step's layers while it lies in the core's own cache. Letters in shapes:
d the model's width, h its heads, P the panel's width (tiles.PANEL).
"""

from __future__ import annotations

from typing import Any, NamedTuple

# numpy for numba: nothing imports this file but what compiles
import numpy as np  # noqa: TID253  - see above

from models.kernels.arithmetic import (
    Array,
    Linear,
    Norm,
    bfloat16,
    f32,
    gelu,
    jit,
    kept,
    linear,
    normalise,
    product,
    softmax,
    to_bytes,
)
from models.kernels.tiles import PANEL, ROWS

TOKENS = 1500  # rows of an encoded window
FRAMES = 3000  # of its spectrogram
HEAD = 64  # width of a head, in every published model
CHUNK = 120  # rows that go through a layer together, so that its weights are read but once for all
QUERIES = 12  # rows whose scores are kept at a time; a thread's rows are a multiple
assert CHUNK % ROWS == QUERIES % ROWS == 0
_SCORE_SCALE = f32(HEAD**-0.5 / np.log(2))  # for powers of two instead of e


class Convolution(NamedTuple):
    """A convolution over three frames, as a matrix."""

    panels: Array  # uint32 (d / P, 3 · inputs / 2, P), two bfloat16 in each word
    bias: Array  # float32 (d,)


class Layer(NamedTuple):
    """A block of the encoder."""

    attention_norm: Norm
    qkv: Linear  # queries, keys and values side by side
    out: Linear
    mlp_norm: Norm
    up: Linear
    down: Linear


class Heads(NamedTuple):
    """What attention reads, of all rows, in bfloat16."""

    queries: Array  # uint16 (TOKENS, d), scaled
    keys: Array  # uint32 (h, ceil(TOKENS / P), HEAD / 2, P): two numbers of a key in each word
    values: Array  # uint32 (h, HEAD / P, TOKENS / 2, P): a number of two keys in each word


class Scratch(NamedTuple):
    """A thread's own memory."""

    mel: Array  # uint16 (CHUNK + 2, n_mels), bfloat16
    wide: Array  # float32 (CHUNK, 4 d)
    narrow_bytes: Array  # uint8 (CHUNK, d)
    wide_bytes: Array  # uint8 (CHUNK, 4 d)
    scale: Array  # float32 (CHUNK,), of the bytes
    scores: Array  # float32 (QUERIES, TOKENS, rounded up to P)
    weights: Array  # uint16 (QUERIES, TOKENS), bfloat16


# torch aligns memory to 64 bytes, the width of a register; numpy need not


def new_frames(width: int) -> Array:
    """What `convolve` writes: uint16 (FRAMES + 2, d), bfloat16, zeros at both ends."""
    return _zeros(FRAMES + 2, width, kind="uint16")


def new_rows(width: int) -> Array:
    """The rows between the layers: float32 (TOKENS, d)."""
    return _zeros(TOKENS, width, kind="float32")


def new_heads(width: int) -> Heads:
    """Zeros, some of which are padding and stay."""
    heads = width // HEAD
    return Heads(
        _zeros(TOKENS, width, kind="uint16"),
        _zeros(heads, -(-TOKENS // PANEL), HEAD // 2, PANEL, kind="uint32"),
        _zeros(heads, HEAD // PANEL, TOKENS // 2, PANEL, kind="uint32"),
    )


def new_scratch(width: int, n_mels: int) -> Scratch:
    """A thread's."""
    return Scratch(
        _zeros(CHUNK + 2, n_mels, kind="uint16"),
        _zeros(CHUNK, 4 * width, kind="float32"),
        _zeros(CHUNK, width, kind="uint8"),
        _zeros(CHUNK, 4 * width, kind="uint8"),
        _zeros(CHUNK, kind="float32"),
        _zeros(QUERIES, -(-TOKENS // PANEL) * PANEL, kind="float32"),
        _zeros(QUERIES, TOKENS, kind="uint16"),
    )


def _zeros(*shape: int, kind: str) -> Array:
    import torch

    array: Array = torch.zeros(shape, dtype=getattr(torch, kind)).numpy()
    return array


@kept
def convolve(
    first: int, last: int, mel: Array, layer: Convolution, frames: Array, s: Scratch
) -> None:
    """The first convolution: mel (n_mels, FRAMES) float32 to rows of frames, bfloat16.

    Frames has d columns, and a row of zeros before the first and after the last.
    """
    n_mels, d = mel.shape[0], frames.shape[1]
    for top in range(first, last, CHUNK):
        count = min(CHUNK, last - top)
        for c in range(n_mels):
            for r in range(count + 2):
                t = top + r - 1
                inside = t >= 0 and t < FRAMES
                s.mel[r, c] = bfloat16(mel[c, t]) if inside else np.uint32(0)
        product(s.mel.ctypes.data, n_mels, layer.panels, s.wide[:count])
        for r in range(count):
            for i in range(d):
                frames[top + r + 1, i] = bfloat16(gelu(s.wide[r, i] + layer.bias[i]))


@kept
def embed(
    first: int,
    last: int,
    frames: Array,
    layer: Convolution,
    positions: Array,
    x: Array,
    s: Scratch,
) -> None:
    """The second convolution, of every other frame, and the positions: rows of x (TOKENS, d)."""
    d = x.shape[1]
    for top in range(first, last, CHUNK):
        count = min(CHUNK, last - top)
        product(frames[2 * top].ctypes.data, 2 * d, layer.panels, s.wide[:count])
        for r in range(count):
            for i in range(d):
                x[top + r, i] = gelu(s.wide[r, i] + layer.bias[i]) + positions[top + r, i]


@kept
def project(first: int, last: int, x: Array, layer: Layer, heads: Heads, s: Scratch) -> None:
    """Queries, keys and values of rows of x."""
    d = x.shape[1]
    for top in range(first, last, CHUNK):
        count = min(CHUNK, last - top)
        for r in range(count):
            normalise(x[top + r], layer.attention_norm, s.wide[r])
            s.scale[r] = to_bytes(s.wide[r, :d], s.narrow_bytes[r])
        linear(s.narrow_bytes[:count], s.scale, layer.qkv, s.wide, residual=False)
        for r in range(count):
            for i in range(d):
                heads.queries[top + r, i] = bfloat16(s.wide[r, i] * _SCORE_SCALE)
            _keep_key(top + r, s.wide[r, d : 2 * d], heads.keys)
        for r in range(0, count, 2):
            _keep_values((top + r) // 2, s.wide[r : r + 2, 2 * d : 3 * d], heads.values)


@jit
def _keep_key(t: int, row: Array, keys: Array) -> None:
    for h in range(keys.shape[0]):
        for i in range(HEAD // 2):
            keys[h, t // PANEL, i, t % PANEL] = _pair(
                row[h * HEAD + 2 * i], row[h * HEAD + 2 * i + 1]
            )


@jit
def _keep_values(pair: int, rows: Array, values: Array) -> None:
    for h in range(values.shape[0]):
        for c in range(values.shape[1]):
            for i in range(PANEL):
                column = h * HEAD + c * PANEL + i
                values[h, c, pair, i] = _pair(rows[0, column], rows[1, column])


@jit
def _pair(low: Any, high: Any) -> Any:
    return bfloat16(low) | (bfloat16(high) << np.uint32(16))


@kept
def attend(first: int, last: int, heads: Heads, out: Array, s: Scratch) -> None:
    """Attention of rows, all heads side by side: rows of out (TOKENS, d) float32."""
    d = heads.queries.shape[1]
    for h in range(heads.keys.shape[0]):
        for r in range(first, last, QUERIES):
            queries = heads.queries[r, h * HEAD :].ctypes.data
            product(queries, d, heads.keys[h], s.scores)
            for i in range(QUERIES):
                s.scale[i] = f32(1) / softmax(s.scores[i], s.weights[i])
            block = out[r : r + QUERIES, h * HEAD : (h + 1) * HEAD]
            product(s.weights.ctypes.data, TOKENS, heads.values[h], block)
            for i in range(QUERIES):
                for j in range(h * HEAD, (h + 1) * HEAD):
                    out[r + i, j] *= s.scale[i]


@kept
def mix(first: int, last: int, x: Array, attended: Array, layer: Layer, s: Scratch) -> None:
    """The rest of the block, added to rows of x: what was attended, multilayer perceptron."""
    d = x.shape[1]
    for top in range(first, last, CHUNK):
        count = min(CHUNK, last - top)
        rows = x[top : top + count]
        for r in range(count):
            s.scale[r] = to_bytes(attended[top + r], s.narrow_bytes[r])
        linear(s.narrow_bytes[:count], s.scale, layer.out, rows, residual=True)
        for r in range(count):
            normalise(rows[r], layer.mlp_norm, s.wide[r])
            s.scale[r] = to_bytes(s.wide[r, :d], s.narrow_bytes[r])
        linear(s.narrow_bytes[:count], s.scale, layer.up, s.wide, residual=False)
        for r in range(count):
            for i in range(4 * d):
                s.wide[r, i] = gelu(s.wide[r, i])
            s.scale[r] = to_bytes(s.wide[r], s.wide_bytes[r])
        linear(s.wide_bytes[:count], s.scale, layer.down, rows, residual=True)


@kept
def finish(first: int, last: int, x: Array, norm: Norm, features: Array) -> None:
    """The last layer norm: rows of features (TOKENS, d) float32."""
    for r in range(first, last):
        normalise(x[r], norm, features[r])
