"""What attention says of each token in particular, in loops that numba compiles.

Goes in: scores of the heads that whisper aligns by. Comes out: one number for each token and frame.
Does not know: tokens, times, torch.

It gives what `alignment.salience` does, without going over all numbers a few dozen times.
"""

from __future__ import annotations

import math
from typing import Any

# numpy for numba: nothing imports this file but what compiles
import numpy as np  # noqa: TID253  - see above

from models.kernels.arithmetic import Array, f32, i32, jit, kept, power_of_two

_LOG2_E = f32(1 / math.log(2))
_MAGNITUDE = i32(0x7FFFFFFF)  # all bits but the sign
_EDGE = 3  # frames on either side that the median of seven looks at


@kept
def salience(scores: Array, frames: int, out: Array) -> None:
    """Add to out, float32 (n, frames), the heads' shares; scores float32 (heads, n, T).

    `frames` is above the median filter's seven.
    """
    n = scores.shape[1]
    weight = f32(1 / scores.shape[0])
    # arrays of their own, not parts of wider ones: numba must know that numbers lie side by side
    shares = np.empty((n, frames), np.float32)
    mean, inverse = np.empty(frames, np.float32), np.empty(frames, np.float32)
    row = np.empty(frames + 2 * _EDGE, np.float32)
    for head in range(scores.shape[0]):
        mean[:] = f32(0)
        for r in range(n):
            _softmax(scores[head, r, :frames], shares[r], mean)
        _finish(shares, mean, inverse)
        for r in range(n):
            for i in range(frames):
                row[_EDGE + i] = (shares[r, i] - mean[i]) * inverse[i]
            for i in range(_EDGE):  # as in a mirror
                row[_EDGE - 1 - i] = row[_EDGE + 1 + i]
                row[_EDGE + frames + i] = row[_EDGE + frames - 2 - i]
            _add_medians(row, weight, out[r])


@jit
def _softmax(scores: Array, out: Array, added: Array) -> None:
    """The shares, also added to what is there."""
    top = i32(-0x80000000)
    for i in range(out.size):
        bits = f32(scores[i]).view(i32)
        top = max(top, i32(bits ^ ((bits >> i32(31)) & _MAGNITUDE)))  # so that integers order it
    largest = i32(top ^ ((top >> i32(31)) & _MAGNITUDE)).view(f32)
    total = f32(0)
    for i in range(out.size):
        share = power_of_two((scores[i] - largest) * _LOG2_E)
        out[i] = share
        total += share
    inverse = f32(1) / total
    for i in range(out.size):
        share = out[i] * inverse
        out[i] = share
        added[i] += share


@jit
def _finish(shares: Array, mean: Array, inverse: Array) -> None:
    """Sums over the tokens become each frame's mean, and one over its standard deviation."""
    n, frames = shares.shape
    for i in range(frames):
        mean[i] /= f32(n)
        inverse[i] = f32(0)
    for r in range(n):
        for i in range(frames):
            inverse[i] += (shares[r, i] - mean[i]) * (shares[r, i] - mean[i])
    for i in range(frames):
        inverse[i] = f32(1) / np.sqrt(inverse[i] / f32(n))


@jit
def _add_medians(x: Array, weight: Any, out: Array) -> None:
    """Of each seven neighbours in x, times the weight.

    By the network of N. Devillard, Fast median search: an ANSI C implementation, 1998.
    """
    for i in range(out.size):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        e, f, g = x[i + 4], x[i + 5], x[i + 6]
        a, f = min(a, f), max(a, f)
        a, d = min(a, d), max(a, d)
        b, g = min(b, g), max(b, g)
        c, e = min(c, e), max(c, e)
        b = max(a, b)
        d, f = min(d, f), max(d, f)
        c, g = min(c, g), max(c, g)
        c, d = min(c, d), max(c, d)
        d = min(d, g)
        e = min(e, f)
        b, e = min(b, e), max(b, e)
        d = max(b, d)
        out[i] += weight * min(d, e)
