"""The decoder's cross-attention over encoded windows, without keys and values.

Goes in: rows, normalised, and windows as they were taken in. Comes out: what each row attended to.
Does not know: the rest of a block, torch, where weights come from.

Since q · (K x) = (Kᵀ q) · x, a head asks the window x itself, with Kᵀ q; what it hears of x goes
through V afterwards. A window then is 2 · 1500 · d bytes for all layers together, instead of
4 · 1500 · d in bfloat16 for each, and stays in the processor's cache from layer to layer, where it
is read in a fraction of the time.

    ask: Kᵀ q ─► listen: softmax over x, mean of x ─► hear: V
    between two of these, all threads wait for each other
"""

from __future__ import annotations

import math
from typing import Any

# numpy for numba: nothing imports this file but what compiles
import numpy as np  # noqa: TID253  - see above

from models.kernels.arithmetic import Array, Linear, f32, i32, jit, linear, to_bytes
from models.kernels.decoder_state import (
    ASKED,
    FRAMES,
    HEAD,
    LANES,
    Rows,
    Scratch,
    State,
    Thread,
    Windows,
)
from models.kernels.shares import padded, part, share
from models.kernels.tiles import ROWS, ZERO

LESS = 128 - ZERO  # what a weight, 0 … 254, has to lose where bytes on the left are signed
# A float32 plus this has its nearest integer in the low bits.
_ROUND, _ROUND_BITS = f32(1.5 * 2**23), i32(0x4B400000)
_MAGNITUDE = i32(0x7FFFFFFF)  # all bits but the sign
_LN2 = f32(math.log(2))
_TOP = f32(254)  # the byte of the largest weight; what rounding carries may add half


@jit
def ask(
    me: Thread,
    layer: int,
    query: Linear,
    turn: Linear,
    channels: Array,
    rows: Rows,
    state: State,
    s: Scratch,
) -> None:
    """What each head asks of its window, Kᵀ q, in bytes. `channels`: Windows.scale."""
    m, d = rows.tokens.size, state.x.shape[1]
    first, end = share(me, d // HEAD)
    mine = part(query, layer, d, first * HEAD, end * HEAD)
    queries = state.queries[:, first * HEAD : end * HEAD]
    linear(s.narrow[: padded(m)], s.scale, mine, queries, residual=False)
    for head in range(first, end):
        for r in range(m):
            q = state.queries[r, head * HEAD : (head + 1) * HEAD]
            s.scale[r] = to_bytes(q, s.heads[r])
        mine = part(turn, layer, HEAD, head * d, (head + 1) * d)
        linear(s.heads[: padded(m)], s.scale, mine, s.turned[:, :], residual=False)
        for i in range(m):
            r = rows.order[i]
            _multiply(s.turned[r], channels[rows.places[r]])
            unit = i * (d // HEAD) + head
            state.asked_scale[unit] = to_bytes(s.turned[r], state.asked[unit])


@jit
def _multiply(row: Array, factors: Array) -> None:
    """In a loop over one row, which LLVM vectorises."""
    for i in range(row.size):
        row[i] *= factors[i]


@jit
def listen(me: Thread, layer: int, windows: Windows, rows: Rows, state: State, s: Scratch) -> None:
    """Scores, softmax and what is heard: some heads, of one window, at a time."""
    h = state.keys.shape[2]
    together = ASKED if rows.tokens.size * h >= me.threads * ASKED else ROWS
    unit = 0
    runs = rows.runs.shape[0]
    for i in range(runs):
        # To and fro: what the layer before read last may still be in the processor's cache.
        run = i if layer % 2 else runs - 1 - i
        place = rows.places[rows.order[rows.runs[run, 0]]]
        keys = Linear(windows.keys[place], windows.key_start[place], windows.ones, windows.zeros)
        values = Linear(
            windows.values[place],
            windows.value_start[place],
            windows.scale[place],
            windows.mean[place],
        )
        end = rows.runs[run, 1] * h
        for top in range(rows.runs[run, 0] * h, end, together):
            unit += 1
            if unit % me.threads != me.number:
                continue
            count = min(together, end - top)
            asked = state.asked[top : top + padded(count)]
            linear(asked, state.asked_scale[top:], keys, s.scores[:, :], residual=False)
            for j in range(count):
                r, head = rows.order[(top + j) // h], (top + j) % h
                watched, position = state.watched[layer, head], rows.positions[r]
                _keep_scores(s.scores[j], watched, position, state.scores)
                s.weights_scale[j] = _softmax(s.scores[j], s.weights[j], s.carry)
            weights = s.weights[: padded(count)]
            linear(weights, s.weights_scale, values, s.sounds[:, :], residual=False)
            for j in range(count):
                r, head = rows.order[(top + j) // h], (top + j) % h
                state.heard_scale[head, r] = to_bytes(s.sounds[j], state.heard[head, r])


@jit
def _keep_scores(scores: Array, watched: int, position: int, out: Array) -> None:
    """As they are for powers of e."""
    if watched >= 0:
        for t in range(FRAMES):
            out[watched, position, t] = scores[t] * _LN2


@jit
def hear(me: Thread, layer: int, value: Linear, m: int, state: State) -> None:
    """What was heard, through V, each head's part."""
    d = state.x.shape[1]
    first, end = share(me, d // HEAD)
    for head in range(first, end):
        columns = slice(head * HEAD, (head + 1) * HEAD)
        mine = part(value, layer, d, columns.start, columns.stop)
        heard = state.heard[head, : padded(m)]
        linear(heard, state.heard_scale[head], mine, state.attended[:, columns], residual=False)


@jit
def _softmax(scores: Array, out: Array, carry: Array) -> Any:
    """Two to the power of scores, in bytes; returns what they are to be multiplied with.

    What rounding takes from a frame's weight is given to the frame LANES later, so that many small
    weights still count together.
    """
    top = i32(-0x80000000)
    for i in range(out.size):
        bits = f32(scores[i]).view(i32)
        top = max(top, i32(bits ^ ((bits >> i32(31)) & _MAGNITUDE)))  # so that integers order it
    largest = i32(top ^ ((top >> i32(31)) & _MAGNITUDE)).view(f32)
    for i in range(LANES):
        carry[i] = f32(0)
    total = i32(0)
    full = out.size // LANES * LANES
    for base in range(0, full, LANES):
        for i in range(LANES):
            weight = power(scores[base + i] - largest) * _TOP + carry[i]
            whole = i32(f32(weight + _ROUND).view(i32) - _ROUND_BITS)
            carry[i] = weight - f32(whole)
            out[base + i] = np.uint8(whole - LESS)
            total += whole
    for i in range(full, out.size):
        weight = power(scores[i] - largest) * _TOP + carry[i - full]
        whole = i32(f32(weight + _ROUND).view(i32) - _ROUND_BITS)
        out[i] = np.uint8(whole - LESS)
        total += whole
    return f32(1) / f32(total)


@jit
def power(x: Any) -> Any:
    """Two to the power of x, which is not above zero, within 1e-4 of it."""
    x = max(x, f32(-126))
    whole = f32(x + _ROUND).view(i32)
    rest = x - f32(whole - _ROUND_BITS)
    found = f32(0.242611134) + rest * f32(0.0551716681)
    found = f32(0.999928073) + rest * (f32(0.693260987) + rest * found)
    return i32(f32(found).view(i32) + (whole << i32(23))).view(f32)
