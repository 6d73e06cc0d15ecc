"""Which precision a model runs in, and the arithmetic of int8.

Goes in: a wish and a device, or a model. Comes out: a precision with its reason, or the model with
its linear layers in int8. Does not know: files, languages, decoding.

The int8 is CTranslate2's, which the field trusts: weights with one scale for each output row,
activations quantised as they come with one scale for each token, both symmetric; sums in int32.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from whisper.model import Whisper

    from pipeline.types import Quantisation

_SMALLEST_SCALE = 1e-12  # a row of zeros is divided by it and stays zero
_FLOAT16_CAPABILITY = (7, 0)  # CUDA; below Volta, float16 is slower than float32


def resolve(quantisation: Quantisation, device: str, name: str) -> tuple[Quantisation, str]:
    """The precision for model `name` on `device` ("cpu", "cuda:0"), and the reason."""
    if quantisation != "auto":
        return quantisation, f"{quantisation} was asked for"
    if name == "demo":
        return "float32", "the demo model is too small for less"
    if device == "cpu":
        if multiplies_int8(device):
            return "int8", "int8 is fastest on this processor"
        return "float32", "this processor has no exact int8 products"
    import torch

    if torch.cuda.get_device_capability(device) >= _FLOAT16_CAPABILITY:
        return "float16", "float16 is fastest on this GPU"
    return "float32", "this GPU is slow in float16"


def quantise_linears(model: Whisper) -> None:
    """Replace every linear layer of the encoder's and decoder's blocks, freeing its weights."""
    from torch import nn

    layer_type = _int8_linear()
    for blocks in (model.encoder.blocks, model.decoder.blocks):
        for parent in list(blocks.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(parent, name, layer_type(child.weight, child.bias))


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """(…, k) as int8 (…, k) of -127 … 127 and float32 scales (…, 1); x ≈ int8 * scale."""
    import torch

    x = x.float()
    scale = x.abs().amax(-1, keepdim=True).div_(127).clamp_min_(_SMALLEST_SCALE)
    return x.div(scale).round_().to(torch.int8), scale


def int8_products(left: Tensor, right: Tensor) -> Tensor:
    """Left (m, k) times right (n, k) transposed, both int8: sums (m, n), int32 or float32."""
    import torch

    if multiplies_int8(left.device.type):
        return torch._int_mm(left, right.t())  # noqa: SLF001  - fast, and stable since torch 2.2
    return left.float() @ right.float().t()


@cache
def multiplies_int8(device: str) -> bool:
    """Whether torch multiplies int8 matrices of any shape here, and exactly.

    Without VNNI oneDNN's products saturate in int16 and are wrong; CUDA wants 17 rows or more.
    """
    import torch

    if device != "cpu":
        return False
    extreme = torch.full((2, 64), 127, dtype=torch.int8)
    sums = torch._int_mm(extreme, -extreme.t())  # noqa: SLF001  - the one that is tested
    return bool((sums == -64 * 127 * 127).all())


@cache
def _int8_linear() -> type[torch.nn.Module]:
    """The layer's class, made on first use, since its base is torch's."""
    from torch import nn

    class Int8Linear(nn.Module):
        """y = x Wᵀ + b. `weight` int8 (n, k), `scale` float32 (n,), `bias` float32 (n,) or None."""

        weight: Tensor
        scale: Tensor
        bias: Tensor | None

        def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
            super().__init__()
            rows, scale = quantise_rows(weight.detach())
            self.register_buffer("weight", rows)
            self.register_buffer("scale", scale[:, 0])
            self.register_buffer("bias", None if bias is None else bias.detach().float())

        def forward(self, x: Tensor) -> Tensor:
            rows, scale = quantise_rows(x.reshape(-1, x.shape[-1]))
            y = int8_products(rows, self.weight) * scale
            y.mul_(self.scale)
            if self.bias is not None:
                y.add_(self.bias)
            return y.to(x.dtype).view(*x.shape[:-1], -1)

    return Int8Linear
