"""A decoder's int8 weights as the kernels read them.

Goes in: a model whose linear layers have `weight` int8 (n, k), `scale` float32 (n,) and `bias`
float32 (n,) or None, and whose token embedding has the first two. Comes out: copies in panels.
Does not know: products, threads, windows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from models.engines.panels import panels, start
from models.kernels.arithmetic import Array, Linear, Norm
from models.kernels.decoder_state import HEAD, Layers, Model
from models.kernels.tiles import PANEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import nn
    from whisper.model import Whisper

_SCORE_SCALE = HEAD**-0.5 / math.log(2)  # for powers of two instead of e


def pack(model: Whisper) -> Model:
    """Copies of all weights."""
    decoder = model.decoder
    blocks = decoder.blocks
    return Model(
        layers=Layers(
            own_norm=_norms(block.attn_ln for block in blocks),
            qkv=_stack(_qkv(block.attn) for block in blocks),
            own_out=_stack(_linear(block.attn.out) for block in blocks),
            cross_norm=_norms(block.cross_attn_ln for block in blocks),
            query=_stack(_query(block.cross_attn) for block in blocks),
            turn=_stack(_turn(block.cross_attn.key) for block in blocks),
            value=_stack(_linear(block.cross_attn.value) for block in blocks),
            cross_out=_stack(_linear(block.cross_attn.out) for block in blocks),
            mlp_norm=_norms(block.mlp_ln for block in blocks),
            up=_stack(_linear(block.mlp[0]) for block in blocks),
            down=_stack(_linear(block.mlp[2]) for block in blocks),
        ),
        norm=_norms([decoder.ln]),
        embedding=decoder.token_embedding.weight.numpy().copy(),
        embedding_scale=decoder.token_embedding.scale.numpy().copy(),
        positions=decoder.positional_embedding.detach().float().numpy().copy(),
        logits=_stack([_logits(decoder.token_embedding)]),
    )


def _linear(layer: Any) -> Linear:
    import torch

    bias = torch.zeros_like(layer.scale) if layer.bias is None else layer.bias
    return Linear(
        panels(layer.weight),
        start(layer.weight),
        layer.scale.numpy(),
        bias.numpy(),
    )


def _qkv(attention: Any) -> Linear:
    """Side by side, the queries scaled."""
    query, key, value = map(_linear, (attention.query, attention.key, attention.value))
    return _joined([_scaled(query, _SCORE_SCALE), key, value])


def _query(attention: Any) -> Linear:
    """The scales of the key's outputs go here, since they are the inputs of its turned weights."""
    return _scaled(_linear(attention.query), attention.key.scale.numpy() * _SCORE_SCALE)


def _turn(key: Any) -> Linear:
    """The key's weights turned, head by head, and without their scale: HEAD inputs, d outputs."""
    import torch

    turned = key.weight.unflatten(0, (-1, HEAD)).transpose(1, 2).flatten(0, 1)  # (h · d, HEAD)
    return Linear(
        panels(turned),
        start(turned),
        torch.ones(len(turned)).numpy(),
        torch.zeros(len(turned)).numpy(),
    )


def _logits(embedding: Any) -> Linear:
    """With rows of zeros up to whole panels."""
    import torch
    from torch.nn.functional import pad

    missing = -len(embedding.scale) % PANEL
    weight = pad(embedding.weight, (0, 0, 0, missing))
    return Linear(
        panels(weight),
        start(weight),
        pad(embedding.scale, (0, missing)).numpy(),
        torch.zeros(len(weight)).numpy(),
    )


def _scaled(layer: Linear, factor: Array | float) -> Linear:
    """Its outputs times the factor."""
    return layer._replace(
        scale=(layer.scale * factor).astype("float32"), bias=(layer.bias * factor).astype("float32")
    )


def _joined(layers: Sequence[Linear]) -> Linear:
    """Layers of the same inputs, their outputs one after the other."""
    import numpy as np

    return Linear(*(np.concatenate(parts) for parts in zip(*layers, strict=True)))


def _stack(layers: Iterable[Linear]) -> Linear:
    """The same layer of all blocks."""
    import numpy as np

    return Linear(*(np.stack(parts) for parts in zip(*layers, strict=True)))


def _norms(layers: Iterable[nn.LayerNorm]) -> Norm:
    import torch

    weights, biases = zip(*((layer.weight, layer.bias) for layer in layers), strict=True)
    return Norm(
        *(torch.stack([p.detach().float() for p in part]).numpy() for part in (weights, biases))
    )
