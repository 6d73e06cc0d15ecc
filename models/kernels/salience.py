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

from models.kernels.arithmetic import Array, f32, jit, kept, power_of_two

_LOG2_E = f32(1 / math.log(2))
_EDGE = 3  # frames on either side that the median of seven looks at


@kept
def salience(scores: Array, frames: int, out: Array) -> None:
    """Add to out, float32 (n, frames), the heads' shares; scores float32 (heads, n, T).

    `frames` is above the median filter's seven.
    """
    n = scores.shape[1]
    shares = np.empty((n, frames + 2 * _EDGE), np.float32)
    inside = shares[:, _EDGE : _EDGE + frames]
    weight = f32(1 / scores.shape[0])
    for head in range(scores.shape[0]):
        for r in range(n):
            _softmax(scores[head, r, :frames], inside[r])
        _standardise(inside)
        for r in range(n):
            for i in range(_EDGE):  # as in a mirror
                shares[r, _EDGE - 1 - i] = shares[r, _EDGE + 1 + i]
                shares[r, _EDGE + frames + i] = shares[r, _EDGE + frames - 2 - i]
            _add_medians(shares[r], weight, out[r])


@jit
def _softmax(scores: Array, out: Array) -> None:
    top = f32(-1e30)
    for i in range(out.size):
        top = max(top, scores[i])
    total = f32(0)
    for i in range(out.size):
        out[i] = power_of_two((scores[i] - top) * _LOG2_E)
        total += out[i]
    for i in range(out.size):
        out[i] /= total


@jit
def _standardise(x: Array) -> None:
    """Each frame's shares less their mean over the tokens, over their standard deviation."""
    mean = np.zeros(x.shape[1], np.float32)
    inverse = np.zeros(x.shape[1], np.float32)
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            mean[i] += x[r, i]
    for i in range(x.shape[1]):
        mean[i] /= f32(x.shape[0])
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[r, i] -= mean[i]
            inverse[i] += x[r, i] * x[r, i]
    for i in range(x.shape[1]):
        inverse[i] = f32(1) / np.sqrt(inverse[i] / f32(x.shape[0]))
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            x[r, i] *= inverse[i]


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
