"""The layers of a quantised Whisper, and the arithmetic of int8.

Goes in: a float Whisper, or the tensors of one. Comes out: the same with its linear layers and its
token embedding quantised. Does not know: files, languages, decoding, who wants which precision.

The int8 is CTranslate2's, which the field trusts: weights with one scale for each output row, and
on a CPU activations quantised as they come with one scale for each token, both symmetric; sums in
int32. A GPU is fast in float16: there activations stay float, and weights become so for a moment.
With int4 the linear layers have 4-bit weights and float activations; the token embedding, which
also gives the logits, is int8 all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from models import int4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import Tensor, nn
    from whisper.model import Whisper

    from pipeline.types import Quantisation

VERSION = 1  # of what is stored; a new one where other numbers or another layout come out
_SMALLEST_SCALE = 1e-12  # a row of zeros is divided by it and stays zero
_FLOAT16_CAPABILITY = (7, 0)  # CUDA; below Volta, float16 is slower than float32
# Of weights or activations that are float for a moment. More would take memory, and on a CPU time
# too: large tensors go back to the system, and every page of the next one faults again.
_ROWS_AT_ONCE = 1024
# That are float for a moment on a GPU, 16 MiB in float16: all of any layer, an eighth of the
# embedding of `large`.
WEIGHTS_AT_ONCE = 2**23


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How weights (n, k) are kept, as two tensors, and multiplied."""

    pack: Callable[[Tensor], tuple[Tensor, Tensor]]
    products: Callable[
        [Tensor, Tensor, Tensor], Tensor
    ]  # of activations (m, k): (m, n), their type


def scheme(quantisation: Quantisation) -> str | None:
    """Names the numbers and their layout; None: a float precision, which has no numbers of ours."""
    if quantisation == "int4":
        return f"int4x{int4.block()}-v{VERSION}"
    return f"int8-v{VERSION}" if quantisation == "int8" else None


def activations(quantisation: Quantisation, device: str) -> torch.dtype:
    """What all that is not quantised is kept and calculated in. Layer norms are float32 always."""
    import torch

    floats = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if quantisation in floats:
        return floats[quantisation]
    if device.startswith("cuda"):
        is_fast = torch.cuda.get_device_capability(device) >= _FLOAT16_CAPABILITY
        return torch.float16 if is_fast else torch.float32
    return torch.float16 if device == "mps" else torch.float32


def quantise_layers(model: Whisper, quantisation: Quantisation) -> None:
    """Replace every linear layer of the blocks, and the token embedding, freeing their weights.

    A model on the meta device gets layers whose tensors are still to come; see `converted`.
    """
    from torch import nn

    for blocks in (model.encoder.blocks, model.decoder.blocks):
        for parent in list(blocks.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    arithmetic = _arithmetic(quantisation, child.weight)
                    layer = _linear()(arithmetic, child.weight, child.bias)
                    setattr(parent, name, layer)
    model.decoder.token_embedding = _embedding()(model.decoder.token_embedding.weight)
    model.decoder.__class__ = _decoder()


def converted(state: Mapping[str, Tensor], model: Whisper) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a checkpoint, one by one, as `model` keeps them: quantised, or copied."""
    kept = model.state_dict()
    for name, tensor in state.items():
        path, _, kind = name.rpartition(".")
        arithmetic = getattr(model.get_submodule(path), "arithmetic", None)
        if kind == "weight" and arithmetic is not None:
            weight, scale = arithmetic.pack(tensor)
            yield name, weight
            yield f"{path}.scale", scale
        else:
            yield name, tensor.to(kept[name].dtype, copy=True)


# ── int8 ─────────────────────────────────────────────────────────────────────────────────────


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """(…, k) as int8 (…, k) of -127 … 127 and float32 scales (…, 1); x ≈ int8 * scale."""
    import torch

    x = x.float()
    scale = x.abs().amax(-1, keepdim=True).div_(127).clamp_min_(_SMALLEST_SCALE)
    return x.div(scale).round_().to(torch.int8), scale


def int8_products(left: Tensor, right: Tensor) -> Tensor:
    """Left (m, k) times right (n, k) transposed, both int8: sums (m, n), int32 or float32."""
    import torch

    if multiplies_int8():
        return torch._int_mm(left, right.t())  # noqa: SLF001  - fast, and stable since torch 2.2
    left = left.float()
    return torch.cat([left @ rows.float().t() for rows in torch.split(right, _ROWS_AT_ONCE)], dim=1)


@cache
def multiplies_int8() -> bool:
    """Whether torch multiplies int8 matrices exactly on this processor.

    Without VNNI oneDNN's products saturate in int16 and are wrong.
    """
    import torch

    extreme = torch.full((2, 64), 127, dtype=torch.int8)
    sums = torch._int_mm(extreme, -extreme.t())  # noqa: SLF001  - the one that is tested
    return bool((sums == -64 * 127 * 127).all())


def _pack_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Int8 (n, k) and float32 scales (n,)."""
    import torch

    rows = weight.new_empty(weight.shape, dtype=torch.int8)
    scales = weight.new_empty(len(weight), dtype=torch.float32)
    if not weight.is_meta:  # there, only shapes are wanted
        for first in range(0, len(weight), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            rows[part], scale = quantise_rows(weight[part])
            scales[part] = scale[:, 0]
    return rows, scales


def widened_products(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """Float activations (m, k) times int8 weights (n, k) transposed: (m, n), of the same type.

    Each weight is scaled before the product, since sums of whole numbers would overflow float16,
    and in float32, since the scale of a row of small weights may lie below float16's range.
    """
    import torch

    parts = []
    for first in range(0, len(weight), WEIGHTS_AT_ONCE // weight.shape[1]):
        part = slice(first, first + WEIGHTS_AT_ONCE // weight.shape[1])
        wide = x.new_empty(weight[part].shape)
        torch.mul(weight[part], scale[part, None], out=wide)
        parts.append(x @ wide.t())
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _multiply_int8(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    import torch

    if x.device.type != "cpu":
        return widened_products(x, weight, scale)
    y = x.new_empty(len(x), len(weight))
    for first in range(0, len(x), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        rows, row_scale = quantise_rows(x[part])
        torch.mul(int8_products(rows, weight) * row_scale, scale, out=y[part])
    return y


INT8 = Arithmetic(_pack_int8, _multiply_int8)
INT4 = Arithmetic(int4.pack, int4.products)


def _arithmetic(quantisation: Quantisation, weight: Tensor) -> Arithmetic:
    """A layer of odd width, which OpenAI's models do not have, is int8 where int4 is wanted."""
    return INT4 if quantisation == "int4" and int4.is_packable(weight) else INT8


# ── layers: their classes are made on first use, since their base is torch's ─────────────────


@cache
def _linear() -> type[nn.Module]:
    from torch import nn

    class QuantisedLinear(nn.Module):
        """y = x Wᵀ + b, (…, k) to (…, n) of the same type; `bias` float32 (n,) or None."""

        weight: Tensor
        scale: Tensor
        bias: Tensor | None

        def __init__(self, arithmetic: Arithmetic, weight: Tensor, bias: Tensor | None) -> None:
            super().__init__()
            self.arithmetic = arithmetic
            packed, scale = arithmetic.pack(weight.detach())
            self.register_buffer("weight", packed)
            self.register_buffer("scale", scale)
            self.register_buffer("bias", None if bias is None else bias.detach().float())

        def forward(self, x: Tensor) -> Tensor:
            rows = x.reshape(-1, x.shape[-1])
            y = self.arithmetic.products(rows, self.weight, self.scale)
            if self.bias is not None:
                y.add_(self.bias)
            return y.view(*x.shape[:-1], -1)

    return QuantisedLinear


@cache
def _embedding() -> type[nn.Module]:
    from torch import nn

    class Int8Embedding(nn.Module):
        """A row for each token; its products with decoded features are the logits."""

        weight: Tensor
        scale: Tensor

        def __init__(self, weight: Tensor) -> None:
            super().__init__()
            self.arithmetic = INT8
            rows, scale = INT8.pack(weight.detach())
            self.register_buffer("weight", rows)
            self.register_buffer("scale", scale)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.weight[tokens] * self.scale[tokens].unsqueeze(-1)

        def logits(self, x: Tensor) -> Tensor:
            """(…, k) to float32 (…, tokens)."""
            rows = x.reshape(-1, x.shape[-1])
            if x.device.type == "cpu":  # a GPU would multiply in it, and slowly
                rows = rows.float()
            found = self.arithmetic.products(rows, self.weight, self.scale).float()
            return found.view(*x.shape[:-1], -1)

    return Int8Embedding


@cache
def _decoder() -> type[nn.Module]:
    from whisper.model import TextDecoder

    class QuantisedDecoder(TextDecoder):  # type: ignore[misc]  # whisper has no types
        """whisper's, but for the logits, which it takes from a float embedding."""

        def forward(
            self, x: Tensor, xa: Tensor, kv_cache: dict[Any, Tensor] | None = None
        ) -> Tensor:
            offset = next(iter(kv_cache.values())).shape[1] if kv_cache else 0
            positions = self.positional_embedding[offset : offset + x.shape[-1]]
            x = (self.token_embedding(x) + positions).to(xa.dtype)
            for block in self.blocks:
                x = block(x, xa, mask=self.mask, kv_cache=kv_cache)
            logits: Tensor = self.token_embedding.logits(self.ln(x))
            return logits

    return QuantisedDecoder
