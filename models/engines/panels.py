"""Matrices in panels, as the products of `kernels.tiles` read them.

Goes in: weights (n, k), int8 or bfloat16. Comes out: copies. Does not know: layers, products.

A panel holds P of the n rows (P is tiles.PANEL), and of each of them one 32-bit word after the
other: four int8 or two bfloat16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.kernels.tiles import PANEL, ZERO

if TYPE_CHECKING:
    from torch import Tensor

    from models.kernels.arithmetic import Array


def words(weight: Tensor) -> Array:
    """(n, k) as uint32 (n / P, words in a row, P)."""
    import torch

    rows = weight.contiguous().view(torch.int32)
    array: Array = rows.view(-1, PANEL, rows.shape[1]).transpose(1, 2).contiguous().numpy()
    return array.view("uint32")


def panels(weight: Tensor) -> Array:
    """Int8 (n, k) as (n · k,): n / P panels of (k / 4, P, 4)."""
    return words(weight).reshape(-1).view("int8")


def start(weight: Tensor) -> Array:
    """Int32 (n,), what sums of products with int8 (n, k) begin at: zero in the inputs is ZERO."""
    import torch

    array: Array = weight.sum(1, dtype=torch.int32).mul_(-ZERO).numpy()
    return array
