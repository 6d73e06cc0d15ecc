"""How likely each token of a text is, in loops that numba compiles.

Goes in: a decoder's last rows, the layer that makes logits of them, tokens. Comes out: what adds up
to the tokens' probabilities. Does not know: what a token means, threads, torch.

All logits of a text are megabytes to write and to read again. Here they are made a few at a time
for all rows, so that the weights are read once, and summed while they are in the cache.
"""

from __future__ import annotations

import math
from typing import Any

# numpy for numba: nothing imports this file but what compiles
import numpy as np  # noqa: TID253  - see above

from models.kernels.arithmetic import (
    Array,
    Linear,
    Norm,
    f32,
    i32,
    jit,
    kept,
    linear,
    normalise,
    power_of_two,
    to_bytes,
)
from models.kernels.tiles import PANEL, ROWS

_BLOCK = 8 * PANEL  # tokens that are looked at together: for all rows they fit into the cache
_MAGNITUDE = i32(0x7FFFFFFF)  # all bits but the sign
_LOG2_E = f32(1 / math.log(2))


def likelihoods(found: Array) -> Array:
    """Float32 (n,), of what `tally` found in all parts of the vocabulary: (parts, 3, n)."""
    tops, totals, chosen = found.transpose(1, 0, 2)
    top = tops.max(0)
    probability: Array = np.exp(chosen.max(0) - top) / (totals * np.exp(tops - top)).sum(0)
    return probability


def parts(below: int, threads: int) -> tuple[tuple[int, int], ...]:
    """Where each thread's tokens begin, and end."""
    panels = -(-below // PANEL)
    edges = [PANEL * (panels * i // threads) for i in range(threads)]
    return tuple(zip(edges, [*edges[1:], below], strict=True))


@kept
def tally(
    x: Array, norms: Norm, layers: Linear, following: Array, first: int, end: int, out: Array
) -> None:
    """Look at the tokens first … end, where `first` is the beginning of a panel.

    x float32 (n, d) goes through the first norm and the first layer; `following` int64 (n,) are the
    tokens. Out float32 (3, n): the largest logit, the sum of all shares where the likeliest's is 1,
    and the logit of the following token, or what is below all logits if it is not among these.
    """
    n, d = x.shape
    rows = np.zeros(((n + ROWS - 1) // ROWS * ROWS, d), np.uint8)
    scale, row = np.zeros(rows.shape[0], np.float32), np.empty(d, np.float32)
    logits = np.empty((rows.shape[0], _BLOCK), np.float32)
    for r in range(n):
        normalise(x[r], Norm(norms.weight[0], norms.bias[0]), row)
        scale[r] = to_bytes(row, rows[r])
        out[0, r], out[1, r], out[2, r] = f32(-1e30), f32(0), f32(-1e30)
    for c in range(first, end, _BLOCK):
        stop = min(c + _BLOCK, (end + PANEL - 1) // PANEL * PANEL)
        some = Linear(
            layers.panels[0, c * d : stop * d],
            layers.start[0, c:stop],
            layers.scale[0, c:stop],
            layers.bias[0, c:stop],
        )
        linear(rows, scale, some, logits[:, :], residual=False)
        count = min(_BLOCK, end - c)
        for r in range(n):
            _add(logits[r, :count], out[:, r])
            if c <= following[r] < c + count:
                out[2, r] = logits[r, following[r] - c]


@jit
def _add(logits: Array, found: Array) -> None:
    """To the largest logit, and the sum of shares relative to it."""
    largest = max(_largest(logits), found[0])
    total = f32(0)
    for i in range(logits.size):
        total += power_of_two((logits[i] - largest) * _LOG2_E)
    found[1] = found[1] * power_of_two((found[0] - largest) * _LOG2_E) + total
    found[0] = largest


@jit
def _largest(x: Array) -> Any:
    """The largest number, by way of integers: LLVM does not vectorise it for floats."""
    top = i32(-0x80000000)
    for i in range(x.size):
        bits = f32(x[i]).view(i32)
        top = max(top, i32(bits ^ ((bits >> i32(31)) & _MAGNITUDE)))
    return i32(top ^ ((top >> i32(31)) & _MAGNITUDE)).view(f32)
