"""An encoder's int8 weights as the kernels read them.

Goes in: a model whose linear layers have `weight` int8 (n, k), `scale` float32 (n,) and `bias`
float32 (n,) or None. Comes out: copies in panels. Does not know: products, threads, sound.

A panel holds P columns of the transposed weights (P is tiles.PANEL), and of each column one 32-bit
word after the other: four int8 or two bfloat16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from models.kernels.arithmetic import Array, Linear, Norm
from models.kernels.encoder_steps import Convolution, Layer
from models.kernels.tiles import PANEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn
    from whisper.model import ResidualAttentionBlock, Whisper


class Int8Layer(Protocol):
    """y = x Wᵀ · scale + bias."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None


class Weights(NamedTuple):
    """All of the encoder."""

    conv1: Convolution
    conv2: Convolution
    positions: Array  # float32 (1500, d)
    layers: tuple[Layer, ...]
    norm: Norm


def pack(model: Whisper) -> Weights:
    """Copies; nothing of the model is kept."""
    encoder = model.encoder
    return Weights(
        _convolution(encoder.conv1),
        _convolution(encoder.conv2),
        encoder.positional_embedding.float().numpy().copy(),
        tuple(_layer(block) for block in encoder.blocks),
        _norm(encoder.ln_post),
    )


def _layer(block: ResidualAttentionBlock) -> Layer:
    attention, (up, _, down) = block.attn, block.mlp
    return Layer(
        _norm(block.attn_ln),
        _linear([attention.query, attention.key, attention.value]),
        _linear([attention.out]),
        _norm(block.mlp_ln),
        _linear([up]),
        _linear([down]),
    )


def _linear(layers: Sequence[Int8Layer]) -> Linear:
    """Layers of the same inputs, their outputs one after the other."""
    import torch

    panels = torch.cat([_panels(layer.weight) for layer in layers])
    starts = [layer.weight.sum(1, dtype=torch.int32).mul_(-128) for layer in layers]
    biases = [
        torch.zeros_like(layer.scale) if layer.bias is None else layer.bias for layer in layers
    ]
    return Linear(
        panels.view(torch.int8).flatten().numpy(),
        torch.cat(starts).numpy(),
        torch.cat([layer.scale for layer in layers]).numpy(),
        torch.cat(biases).numpy(),
    )


def _convolution(layer: nn.Module) -> Convolution:
    """Weight (n, inputs, 3): the inputs of a frame lie side by side, then those of the next."""
    import torch

    weight, bias = layer.parameters()
    rows = weight.transpose(1, 2).flatten(1).to(torch.bfloat16)
    return Convolution(_panels(rows).numpy().view("uint32"), bias.float().numpy().copy())


def _panels(weight: Tensor) -> Tensor:
    """(n, k) in words, as int32 (n / P, words in a row, P)."""
    import torch

    words = weight.contiguous().view(torch.int32)
    return words.view(-1, PANEL, words.shape[1]).transpose(1, 2).contiguous()


def _norm(layer: nn.Module) -> Norm:
    weight, bias = layer.parameters()
    return Norm(weight.numpy().copy(), bias.numpy().copy())
