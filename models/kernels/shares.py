"""A thread's share of a decoder's linear layers.

Goes in: rows of bytes, and the layers of all blocks. Comes out: this thread's columns. Does not
know: which step of a model it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.kernels.arithmetic import Array, Linear, jit, linear
from models.kernels.tiles import PANEL, ROWS

if TYPE_CHECKING:
    from models.kernels.decoder_state import Thread


@jit
def share(me: Thread, n: int) -> tuple[int, int]:
    """Of n things, the first and the end of those of this thread."""
    return n * me.number // me.threads, n * (me.number + 1) // me.threads


@jit
def padded(m: int) -> int:
    """Rows that a product of m rows reads and writes."""
    return (m + ROWS - 1) // ROWS * ROWS


@jit
def part(stack: Linear, layer: int, k: int, first: int, end: int) -> Linear:
    """The outputs first … end of one of stacked layers with k inputs."""
    return Linear(
        stack.panels[layer, first * k : end * k],
        stack.start[layer, first:end],
        stack.scale[layer, first:end],
        stack.bias[layer, first:end],
    )


@jit
def apply(
    me: Thread,
    layer: int,
    stack: Linear,
    m: int,
    rows: Array,
    scale: Array,
    out: Array,
    residual: Any,
) -> tuple[int, int]:
    """Rows uint8 (m, k) times scale through a layer into out, or added to it.

    Returns the first and the end of the columns of out that are this thread's.
    """
    first, end = share(me, stack.scale.shape[1] // PANEL)
    first, end = first * PANEL, end * PANEL
    mine = part(stack, layer, rows.shape[1], first, end)
    linear(rows[: padded(m)], scale, mine, out[:, first:end], residual)
    return first, end
