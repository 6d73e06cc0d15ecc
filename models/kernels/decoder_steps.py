"""A pass of Whisper's decoder over some rows of tokens.

Goes in: packed int8 weights, windows taken in, tokens with their slots and positions. Comes out:
logits. Does not know: torch, where weights come from, which token is chosen.

All threads walk through `forward` together, each with its share of every step. Linear layers are
int8: weights with one scale for each output row, activations with one for each token. The slots
keep bfloat16; the rest is float32. For cross-attention see `listening`.
"""

from __future__ import annotations

import zlib
from inspect import getsource
from typing import Any

# numpy for numba: nothing imports this file but what compiles
import numpy as np  # noqa: TID253  - see above

from models.kernels import barrier, decoder_state, listening, shares
from models.kernels.arithmetic import (
    Array,
    Linear,
    Norm,
    bfloat16,
    f32,
    gelu,
    i32,
    jit,
    kept,
    normalise,
    to_bytes,
)
from models.kernels.barrier import meet
from models.kernels.decoder_state import HEAD, Model, Rows, Scratch, State, Thread, Windows
from models.kernels.listening import ask, hear, listen, power
from models.kernels.shares import apply, share


def _forward(
    me: Thread, model: Model, windows: Windows, rows: Rows, state: State, s: Scratch
) -> None:
    """Write the rows' keys and values to their slots, and the logits of those wanted."""
    counter, threads = state.counter.ctypes.data, me.threads
    m, x, layers = rows.tokens.size, state.x, model.layers
    _embed(me, model.embedding, model.embedding_scale, model.positions, rows, x)
    meet(counter, threads)
    for layer in range(layers.qkv.scale.shape[0]):
        _normalise(m, layers.own_norm, layer, x, s)
        _project(me, layer, layers.qkv, rows, state, s)
        meet(counter, threads)
        _attend_own(me, layer, rows, state, s.row)
        meet(counter, threads)
        _mix(me, layer, layers.own_out, m, state.attended, s.narrow, s.scale, x)
        meet(counter, threads)
        _normalise(m, layers.cross_norm, layer, x, s)
        ask(me, layer, layers.query, layers.turn, windows.scale, rows, state, s)
        meet(counter, threads)
        listen(me, layer, windows, rows, state, s)
        meet(counter, threads)
        hear(me, layer, layers.value, m, state)
        meet(counter, threads)
        _mix(me, layer, layers.cross_out, m, state.attended, s.narrow, s.scale, x)
        meet(counter, threads)
        _normalise(m, layers.mlp_norm, layer, x, s)
        _widen(me, layer, layers.up, m, state.wide, s)
        meet(counter, threads)
        _mix(me, layer, layers.down, m, state.wide, s.wide, s.scale, x)
        meet(counter, threads)
    for i in range(rows.wanted.size):
        normalise(x[rows.wanted[i]], Norm(model.norm.weight[0], model.norm.bias[0]), s.row)
        s.scale[i] = to_bytes(s.row[: x.shape[1]], s.narrow[i])
    wanted = rows.wanted.size
    apply(me, 0, model.logits, wanted, s.narrow, s.scale, state.logits, residual=False)


def _kept() -> Any:
    """`kept` looks for changes in kernels and tiles; the code comes from these files too."""
    source = "".join(map(getsource, (barrier, decoder_state, listening, shares)))
    _forward.__qualname__ = f"forward_{zlib.crc32(source.encode()):08x}"
    return kept(_forward)


forward = _kept()


@jit
def _embed(
    me: Thread, embedding: Array, scale: Array, positions: Array, rows: Rows, x: Array
) -> None:
    first, end = share(me, rows.tokens.size)
    for r in range(first, end):
        token, position = rows.tokens[r], rows.positions[r]
        for i in range(x.shape[1]):
            x[r, i] = f32(embedding[token, i]) * scale[token] + positions[position, i]


@jit
def _normalise(m: int, norm: Norm, layer: int, x: Array, s: Scratch) -> None:
    """Layer norms of x in s.narrow and s.scale. Each thread has use for all rows."""
    for r in range(m):
        normalise(x[r], Norm(norm.weight[layer], norm.bias[layer]), s.row)
        s.scale[r] = to_bytes(s.row[: x.shape[1]], s.narrow[r])


@jit
def _project(me: Thread, layer: int, qkv: Linear, rows: Rows, state: State, s: Scratch) -> None:
    """Queries, keys and values of self-attention; the latter two go to the slots."""
    m, d = rows.tokens.size, state.x.shape[1]
    first, end = apply(me, layer, qkv, m, s.narrow, s.scale, state.wide, residual=False)
    for r in range(m):
        slot, position = rows.slots[r], rows.positions[r]
        c = max(first, d)
        while c < end:  # what belongs to one head at a time
            cache = state.keys if c < 2 * d else state.values
            count = min(end - c, HEAD - c % HEAD)
            out = cache[layer, slot, c % d // HEAD, position, c % HEAD : c % HEAD + count]
            _to_bfloat16(state.wide[r, c : c + count], out)
            c += count


@jit
def _to_bfloat16(row: Array, out: Array) -> None:
    for i in range(out.size):
        out[i] = bfloat16(row[i])


@jit
def _attend_own(me: Thread, layer: int, rows: Rows, state: State, scores: Array) -> None:
    """Self-attention, a row and a head at a time."""
    h = state.keys.shape[2]
    first, end = share(me, rows.tokens.size * h)
    for unit in range(first, end):
        r, head = unit // h, unit % h
        columns = slice(head * HEAD, (head + 1) * HEAD)
        keys, values = (
            state.keys[layer, rows.slots[r], head],
            state.values[layer, rows.slots[r], head],
        )
        q, out = state.wide[r, columns], state.attended[r, columns]
        n = rows.positions[r] + 1
        largest = f32(-1e30)
        for t in range(n):
            score = f32(0)
            for i in range(HEAD):
                score += q[i] * _number(keys[t, i])
            scores[t] = score
            largest = max(largest, score)
        total = f32(0)
        for i in range(HEAD):
            out[i] = f32(0)
        for t in range(n):
            weight = power(scores[t] - largest)
            total += weight
            for i in range(HEAD):
                out[i] += weight * _number(values[t, i])
        for i in range(HEAD):
            out[i] /= total


@jit
def _mix(
    me: Thread,
    layer: int,
    stack: Linear,
    m: int,
    inputs: Array,
    rows: Array,
    scale: Array,
    x: Array,
) -> None:
    """A linear layer of the inputs, made bytes in `rows`, added to x."""
    for r in range(m):
        scale[r] = to_bytes(inputs[r], rows[r])
    apply(me, layer, stack, m, rows, scale, x, residual=True)


@jit
def _widen(me: Thread, layer: int, up: Linear, m: int, wide: Array, s: Scratch) -> None:
    """The first half of the multilayer perceptron."""
    first, end = apply(me, layer, up, m, s.narrow, s.scale, wide, residual=False)
    for r in range(m):
        _gelu(wide[r, first:end])


@jit
def _gelu(row: Array) -> None:
    """In a loop over one row, which LLVM vectorises."""
    for i in range(row.size):
        row[i] = gelu(row[i])


@jit
def _number(half: Any) -> Any:
    """A bfloat16 as float32."""
    return i32(np.uint32(half) << np.uint32(16)).view(f32)
