"""An encoder's int8 weights as the kernels read them.

Goes in: a model whose linear layers have `weight` int8 (n, k), `scale` float32 (n,) and `bias`
float32 (n,) or None. Comes out: copies in panels. Does not know: products, threads, sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from models.engines.panels import panels, start, words
from models.kernels.arithmetic import Array, Linear, Norm
from models.kernels.encoder_steps import Convolution, Layer

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
    import numpy as np
    import torch

    biases = [
        torch.zeros_like(layer.scale) if layer.bias is None else layer.bias for layer in layers
    ]
    return Linear(
        np.concatenate([panels(layer.weight) for layer in layers]),
        np.concatenate([start(layer.weight) for layer in layers]),
        torch.cat([layer.scale for layer in layers]).numpy(),
        torch.cat(biases).numpy(),
    )


def _convolution(layer: nn.Module) -> Convolution:
    """Weight (n, inputs, 3): the inputs of a frame lie side by side, then those of the next."""
    import torch

    weight, bias = layer.parameters()
    rows = weight.transpose(1, 2).flatten(1).to(torch.bfloat16)
    return Convolution(words(rows), bias.float().numpy().copy())


def _norm(layer: nn.Module) -> Norm:
    weight, bias = layer.parameters()
    return Norm(weight.numpy().copy(), bias.numpy().copy())
