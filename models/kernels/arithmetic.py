"""Rows of numbers and products of matrices, in loops that numba compiles.

Goes in: rows, float32, and packed weights. Comes out: rows. Does not know: which step of a model it
is, threads, torch.

Letters in shapes: n a layer's outputs, k its inputs, P the panel's width (tiles.PANEL).
"""

from __future__ import annotations

import sys
import zlib
from functools import cache
from inspect import getsource
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

# numba, and numpy for it: nothing imports this file but what compiles
import numba  # noqa: TID253  - see above
import numpy as np  # noqa: TID253  - see above

from models.kernels import processors, tiles
from models.kernels.tiles import PANEL, ROWS, ZERO, Columns, Tile, bfloat16_tile, int8_tile

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")
Array = np.ndarray[Any, Any]
f32, i32 = np.float32, np.int32

# A float32 plus this has its nearest integer in the low bits.
_ROUND, _ROUND_BITS = f32(1.5 * 2**23), i32(0x4B400000)
_MAGNITUDE = i32(0x7FFFFFFF)  # all bits but the sign
_LEAST = f32(-60)  # counts for nothing, yet products with it are no denormals, which are slow
_SMALLEST_SCALE = f32(1e-12)  # a row of zeros is divided by it and stays zero


class Linear(NamedTuple):
    """A layer whose weights are int8."""

    panels: Array  # int8 (n · k,): n / P panels of (k / 4, P, 4)
    start: Array  # int32 (n,), added to the sums: for inputs made by `to_bytes`, see panels.start
    scale: Array  # float32 (n,)
    bias: Array  # float32 (n,)


class Norm(NamedTuple):
    """A layer norm."""

    weight: Array  # float32 (d,)
    bias: Array  # float32 (d,)


def jit(function: F) -> F:
    """Compile on first use. NaN and infinity are not expected; sums may be taken in any order."""
    return _compile(function, keep=False)


def kept(function: F) -> F:
    """The same, kept on disk for the next process.

    numba looks for changes in the function's own file only, so the name that it keeps the code
    under tells of these files too. Where no folder may be written to, it is compiled every time.
    """
    function.__qualname__ += f"_{_sources():08x}"
    try:
        return _compile(function, keep=True)
    except RuntimeError:
        return _compile(function, keep=False)


def _compile(function: F, *, keep: bool) -> F:
    compiler: Any = numba.njit(nogil=True, fastmath=True, error_model="numpy", cache=keep)
    compiled: F = compiler(function)
    return compiled


@cache
def _sources() -> int:
    return zlib.crc32("".join(map(getsource, (processors, tiles, sys.modules[__name__]))).encode())


# ── rows of numbers ──────────────────────────────────────────────────────────────────────────


@jit
def to_bytes(row: Array, out: Array) -> Any:
    """Symmetric int8 plus ZERO, to the nearest; returns the scale."""
    top = i32(0)
    for i in range(row.size):
        top = max(top, f32(row[i]).view(i32) & _MAGNITUDE)  # as integers, floats compare alike
    largest = max(i32(top).view(f32), _SMALLEST_SCALE)
    inverse = f32(127) / largest
    for i in range(row.size):
        out[i] = np.uint8(f32(row[i] * inverse + (_ROUND + f32(ZERO))).view(i32))
    return largest / f32(127)


@jit
def normalise(row: Array, norm: Norm, out: Array) -> None:
    """Layer norm."""
    total = f32(0)
    for i in range(row.size):
        total += row[i]
    mean = total / f32(row.size)
    total = f32(0)
    for i in range(row.size):
        total += (row[i] - mean) * (row[i] - mean)
    inverse = f32(1) / np.sqrt(total / f32(row.size) + f32(1e-5))
    for i in range(row.size):
        out[i] = (row[i] - mean) * inverse * norm.weight[i] + norm.bias[i]


@jit
def gelu(x: Any) -> Any:
    """The exact one, x · Φ(x), within 5e-5: a polynomial in x² fitted to Φ for |x| < 4.5."""
    z = min(max(x, f32(-4.5)), f32(4.5))
    u = z * z
    p = f32(1.69730466e-10) - u * f32(1.40006821e-12)
    p = f32(2.95889947e-07) + u * (u * p - f32(9.19375243e-09))
    p = f32(9.78713724e-05) + u * (u * p - f32(6.36525738e-06))
    p = f32(0.009833185) + u * (u * p - f32(0.00112267851))
    p = f32(0.39888379) + u * (u * p - f32(0.0663370565))
    return x * (f32(0.5) + z * p)


@jit
def softmax(scores: Array, out: Array) -> Any:
    """Two to the power of scores less the largest, in bfloat16; returns their sum."""
    top = i32(-0x80000000)
    for i in range(out.size):
        bits = f32(scores[i]).view(i32)
        top = max(top, i32(bits ^ ((bits >> i32(31)) & _MAGNITUDE)))  # so that integers order it
    largest = i32(top ^ ((top >> i32(31)) & _MAGNITUDE)).view(f32)
    total = f32(0)
    for i in range(out.size):
        x = max(scores[i] - largest, _LEAST)
        whole = f32(x + _ROUND).view(i32)
        part = x - f32(
            i32(whole - _ROUND_BITS)
        )  # within half of one; 2 ** part by a polynomial, 8e-5
        power = f32(0.242611134) + part * f32(0.0551716681)
        power = f32(0.999928073) + part * (f32(0.693260987) + part * power)
        bits = i32(f32(power).view(i32) + (whole << i32(23)))
        total += bits.view(f32)
        out[i] = np.uint16((bits + i32(0x8000)) >> i32(16))
    return total


@jit
def power_of_two(x: Any) -> Any:
    """Two to the power of x, which is not above zero, within 3e-7 of it."""
    x = max(x, f32(-126))
    whole = i32(f32(x + _ROUND).view(i32) - _ROUND_BITS)
    z = (x - f32(whole)) * f32(0.693147181)  # e ** z by its series, |z| < 0.35
    found = f32(1 / 24) + z * (f32(1 / 120) + z * (f32(1 / 720) + z * f32(1 / 5040)))
    found = f32(1) + z * (f32(1) + z * (f32(1 / 2) + z * (f32(1 / 6) + z * found)))
    return i32(f32(found).view(i32) + (whole << i32(23))).view(f32)


@jit
def bfloat16(x: Any) -> Any:
    """The nearest bfloat16, as 16 bits of a uint32."""
    return np.uint32(f32(x).view(i32) + i32(0x8000)) >> np.uint32(16)


# ── products of matrices ─────────────────────────────────────────────────────────────────────


@jit
def linear(rows: Array, scale: Array, layer: Linear, out: Array, residual: Any) -> None:
    """Rows uint8 (m, k) times scale (m,), through the layer, into out (m, n) or added to it."""
    k = rows.shape[1]
    for c in range(0, layer.scale.size, PANEL):
        columns = Columns(
            layer.start.ctypes.data + 4 * c,
            layer.scale.ctypes.data + 4 * c,
            layer.bias.ctypes.data + 4 * c,
        )
        for r in range(0, rows.shape[0], ROWS):
            tile = Tile(
                rows.ctypes.data + r * k,
                k,
                layer.panels.ctypes.data + c * k,
                k // 4,
                out.ctypes.data + r * out.strides[0] + 4 * c,
                out.strides[0],
            )
            int8_tile(tile, columns, scale.ctypes.data + 4 * r, residual)


@jit
def product(left: int, stride: int, panels: Array, out: Array) -> None:
    """Out (m, n) float32 = m rows of bfloat16 times panels uint32 (n / P, k / 2, P).

    Left is the address of the first row; the others follow `stride` numbers apart.
    """
    for c in range(panels.shape[0]):
        for r in range(0, out.shape[0], ROWS):
            tile = Tile(
                left + 2 * r * stride,
                2 * stride,
                panels[c].ctypes.data,
                panels.shape[1],
                out.ctypes.data + r * out.strides[0] + 4 * PANEL * c,
                out.strides[0],
            )
            bfloat16_tile(tile)
