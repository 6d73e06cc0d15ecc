"""Products of the kernels, checked number by number; run as a program, it names the instructions.

No torch: a process of its own, told by its environment to be another processor, starts quickly.
"""

from __future__ import annotations

import numpy as np

from models.kernels.arithmetic import Linear, linear, product
from models.kernels.processors import CHOSEN
from models.kernels.tiles import PANEL, ROWS, ZERO


def panels_of(weight, in_word):
    """(n, k) in the layout of tiles.py, number by number."""
    n, k = weight.shape
    panels = np.zeros((n // PANEL, k // in_word, PANEL, in_word), weight.dtype)
    for row in range(n):
        for i in range(k):
            panels[row // PANEL, i // in_word, row % PANEL, i % in_word] = weight[row, i]
    return panels


def bfloat16_values(bits):
    """What uint16 stand for."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def bfloat16s(rng, shape):
    """Random ones, as uint16."""
    numbers = rng.normal(size=shape).astype(np.float32)
    return (numbers.view(np.uint32) >> 16).astype(np.uint16)


def check_bytes():
    """Sums of the largest products, and random ones, scaled and added to."""
    rng = np.random.default_rng(0)
    m, n, k = 2 * ROWS, 2 * PANEL, 300
    left = rng.integers(-127, 128, (m, k))
    weight = rng.integers(-127, 128, (n, k)).astype(np.int8)
    left[0], weight[0], weight[1] = 127, 127, -127
    rows = (left + ZERO).astype(np.uint8)
    row_scale, scale, bias = (rng.normal(size=size).astype(np.float32) for size in (m, n, n))
    start = (-ZERO * weight.astype(np.int32).sum(1)).astype(np.int32)
    layer = Linear(panels_of(weight, 4).reshape(-1), start, scale, bias)
    sums = left @ weight.T.astype(np.int64)
    exact = sums * row_scale[:, None].astype(np.float64) * scale + bias
    out = np.full((m, n), np.nan, np.float32)
    linear(rows, row_scale, layer, out, residual=False)
    np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-2)
    linear(rows, row_scale, layer, out, residual=True)
    np.testing.assert_allclose(out, 2 * exact, rtol=1e-5, atol=2e-2)


def check_bfloat16():
    """Rows that overlap, as a convolution's do, times two panels."""
    rng = np.random.default_rng(0)
    m, n, k, stride = ROWS, 2 * PANEL, 30, 10
    line = bfloat16s(rng, stride * m + k)
    weight = bfloat16s(rng, (n, k))
    rows = np.stack([line[stride * r : stride * r + k] for r in range(m)])
    out = np.full((m, n + 3), np.nan, np.float32)
    words = panels_of(weight, 2).view(np.uint32)[..., 0]
    product(line.ctypes.data, stride, words, out[:, :n])
    exact = bfloat16_values(rows) @ bfloat16_values(weight).T
    np.testing.assert_allclose(out[:, :n], exact, rtol=1e-5, atol=1e-5)
    assert np.isnan(out[:, n:]).all()


if __name__ == "__main__":
    check_bytes()
    check_bfloat16()
    print(CHOSEN.name)
