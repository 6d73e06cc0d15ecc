"""Dynamic time warping, in loops that numba compiles.

Goes in: a matrix. Comes out: the path through it that costs least. Does not know: tokens, sound.

It gives what `whisper.timing.dtw_cpu` does. That one goes cell by cell, each waiting for the one
before; here the cells of a diagonal, which need nothing of each other, are done together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

# numba, and numpy for it: nothing imports this file but what compiles
import numba  # noqa: TID253  - see above
import numpy as np  # noqa: TID253  - see above

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.kernels.arithmetic import Array

F = TypeVar("F", bound="Callable[..., Any]")
_FAR = 1e300  # more than any path costs
_BOTH, _DOWN, _RIGHT = 0, 1, 2  # how a cell is reached: from above and the left, above, the left


def _kept(function: F) -> F:
    """Compile on first use, for the next process too, where there is a folder to write to.

    Unlike `arithmetic.kept`, for any processor, and without a change to the order of sums.
    """
    compiler: Any = numba.njit(nogil=True, cache=True)
    try:
        compiled: F = compiler(function)
    except RuntimeError:
        compiler = numba.njit(nogil=True)
        compiled = compiler(function)
    return compiled


@_kept
def path(costs: Array) -> tuple[Array, Array]:
    """The rows and the columns of the cells on the way from the first to the last, int64 each.

    `costs` float32 (n, m), neither of them 0. Cells are counted from 1, so that there is one before
    the first; a diagonal holds those where row plus column is the same, by their row.
    """
    n, m = costs.shape
    slanted = np.empty((n + m - 1, n))  # costs add up in float64, as whisper's do in numba
    for i in range(n):
        for j in range(m):
            slanted[i + j, i] = costs[i, j]
    steps = np.empty((n + m + 1, n + 1), np.int8)
    farther, before = np.full(n + 1, _FAR), np.full(n + 1, _FAR)
    now = np.full(n + 1, _FAR)
    farther[0] = 0
    for k in range(2, n + m + 1):
        first, end = max(1, k - m), min(n, k - 1) + 1
        inner = slice(first, end)
        _extend(
            farther[first - 1 : end - 1],
            before[first - 1 : end - 1],
            before[inner],
            slanted[k - 2, first - 1 : end - 1],
            now[inner],
            steps[k, inner],
        )
        now[0] = _FAR
        if k <= n:
            now[k] = _FAR
        farther, before, now = before, now, farther
    return _traced(steps, n, m)


@numba.njit(nogil=True)
def _extend(both: Array, down: Array, right: Array, costs: Array, out: Array, step: Array) -> None:
    """The cells of a diagonal, from those that each can be reached from."""
    for i in range(out.size):
        a, b, c = both[i], down[i], right[i]
        is_both, is_down = (a < b) & (a < c), (b < a) & (b < c)
        out[i] = costs[i] + (a if is_both else b if is_down else c)
        step[i] = _BOTH if is_both else _DOWN if is_down else _RIGHT


@numba.njit(nogil=True)
def _traced(steps: Array, n: int, m: int) -> tuple[Array, Array]:
    """The way back from the last cell."""
    rows, columns = np.empty(n + m, np.int64), np.empty(n + m, np.int64)
    i, j, count = n, m, 0
    while i > 0 or j > 0:
        rows[count], columns[count] = i - 1, j - 1
        count += 1
        step = _RIGHT if i == 0 else _DOWN if j == 0 else steps[i + j, i]
        i -= step != _RIGHT
        j -= step != _DOWN
    return rows[:count][::-1], columns[:count][::-1]
