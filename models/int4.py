"""The arithmetic of 4-bit weights.

Goes in: the weights of a linear layer, then activations. Comes out: codes and scales of 4.5 bits a
weight, then products. Does not know: layers, models, files.

Each group of 64 weights of an output, neighbours along the input, shares a scale and a zero point:
weight ≈ (code - 8) * scale + zero, with a code of 0 … 15. The layout is that of torch's own kernel
for x86 (aten/src/ATen/native/cpu/int4mm_kernel.cpp): outputs in blocks of b, input by input, the
first half of a block in the low bits and the second half in the high bits.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

GROUP = 64  # weights
_WIDEST_BLOCK = 64  # outputs
# The kernel by torch's name of the processor: outputs in a block, and how many rows of activations
# it multiplies in less time than it takes to unpack the weights and multiply in float32.
_KERNELS = {"AVX512": (64, math.inf), "AVX2": (32, 200)}
_ROWS_AT_ONCE = 256  # of weights, while they are packed: what a processor's cache holds
_FITS = 4  # rounds of fitting; more gain less than a hundredth
_SMALLEST_SCALE = 1e-12


def is_packable(weight: Tensor) -> bool:
    """Whether (outputs, inputs) are whole blocks and groups, as all of OpenAI's are."""
    return weight.shape[0] % _WIDEST_BLOCK == 0 and weight.shape[1] % GROUP == 0


def block() -> int:
    """Outputs in a block of what is packed on this machine; products take any."""
    return kernel()[0] or _WIDEST_BLOCK


def pack(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Codes uint8 (n / b, k, b / 2), scales and zeros bfloat16 (k / 64, n, 2), of weights (n, k).

    The scales and zeros are those of least squared error that a search finds.
    """
    import torch

    (n, k), size = weight.shape, block()
    codes = weight.new_empty((n // size, k, size // 2), dtype=torch.uint8)
    scales = weight.new_empty((k // GROUP, n, 2), dtype=torch.bfloat16)
    if not weight.is_meta:  # there, only shapes are wanted
        for first in range(0, n, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            blocks = slice(first // size, rows.stop // size)
            codes[blocks], scales[:, rows] = _pack_rows(weight[rows], size)
    return codes, scales


def unpack(codes: Tensor, scales: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The weights, transposed: (k, n) in float32, or in a type that rounds them three times.

    That is little beside the 16 steps of 4 bits.
    """
    import torch

    blocks, k, half = codes.shape
    dtype = dtype or torch.float32
    scale, zero = scales.to(dtype).view(-1, blocks, 1, 2 * half, 2).transpose(0, 1).unbind(-1)
    weight = torch.empty(k // GROUP, GROUP, blocks, 2 * half, dtype=dtype, device=codes.device)
    grouped, by_block = codes.view(blocks, k // GROUP, GROUP, half), weight.permute(2, 0, 1, 3)
    by_block[..., :half] = grouped & 15
    by_block[..., half:] = grouped >> 4
    by_block.sub_(8).mul_(scale).add_(zero)
    return weight.view(k, -1)


def products(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """Activations (m, k) times the weights transposed: (m, n), of the same type."""
    size, most_rows = kernel()
    if x.device.type == "cpu" and len(x) <= most_rows and size == 2 * codes.shape[-1]:
        return _kernel_products(x, codes, scales).to(x.dtype)
    return x @ unpack(codes, scales, x.dtype)


@cache
def kernel() -> tuple[int, float]:
    """Its block, and the most rows that it is good for; (0, 0): there is none, or it is wrong."""
    import torch

    size, most_rows = _KERNELS.get(torch.backends.cpu.get_cpu_capability(), (0, 0))
    if not size:
        return 0, 0
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(256, (2, GROUP, size // 2), dtype=torch.uint8, generator=generator)
    scales = torch.randn(1, 2 * size, 2, generator=generator).bfloat16()
    found = _kernel_products(torch.eye(GROUP), codes, scales).float()
    is_right = torch.allclose(found, unpack(codes, scales), rtol=0.01)  # bfloat16 has 8 bits
    return (size, most_rows) if is_right else (0, 0)


def _kernel_products(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """In bfloat16, with sums in float32; for other types torch's kernel is slow."""
    import torch

    rows = codes.view(scales.shape[1], -1)
    found: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(  # noqa: SLF001  - its only name
        x.bfloat16().contiguous(), rows, GROUP, scales
    )
    return found


def _pack_rows(weight: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Codes (n / size, k, size / 2) and scales (k / 64, n, 2)."""
    import torch

    n, k = weight.shape
    x = weight.float().view(n, k // GROUP, GROUP).permute(2, 1, 0).contiguous()
    scale, zero = _fitted(x)
    codes = _codes(x, scale, zero).add_(8).to(torch.uint8).view(GROUP, k // GROUP, n // size, size)
    low, high = codes.permute(2, 1, 0, 3).reshape(n // size, k, size).chunk(2, dim=-1)
    return low | high << 4, torch.stack((scale, zero), dim=-1)


def _fitted(x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero for each group, (64, …) along the first dimension.

    Two searches, the better of which counts: one begins with the whole range of the group, one with
    a range around a zero that stays exact, which is better where few weights are large.
    """
    import torch

    low, high = x.amin(0), x.amax(0)
    scale = (high - low) / 15
    around_zero = torch.maximum(high, -low) / 7
    starts = ((scale, low + 8 * scale), (around_zero, torch.zeros_like(around_zero)))
    tries = [one for start in starts for one in _refined(x, *start)]
    best_scale, best_zero, best_error = tries[0]
    for scale, zero, error in tries[1:]:
        better = error < best_error
        best_scale = torch.where(better, scale, best_scale)
        best_zero = torch.where(better, zero, best_zero)
        best_error = torch.where(better, error, best_error)
    return best_scale, best_zero


def _refined(x: Tensor, scale: Tensor, zero: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Scales and zeros as they can be stored, each fitted to the codes of the one before it."""
    mean = x.mean(0)
    tries = []
    for _ in range(_FITS):
        scale = scale.clamp_min(_SMALLEST_SCALE).bfloat16().float()
        zero = zero.bfloat16().float()
        codes = _codes(x, scale, zero)
        tries.append((scale, zero, (codes * scale).add_(zero).sub_(x).square_().sum(0)))
        code_mean = codes.mean(0)
        codes -= code_mean
        scale = (codes * x).sum(0) / codes.square().sum(0).clamp_min(_SMALLEST_SCALE)
        zero = mean - scale * code_mean
    return tries


def _codes(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """-8 … 7, in float."""
    return x.sub(zero).div_(scale).round_().clamp_(-8, 7)
