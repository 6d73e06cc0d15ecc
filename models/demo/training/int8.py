"""Imitates int8 arithmetic in floating point.

In: a model. Out: the same model, whose linear layers give what int8 ones would: weights rounded
with one step a row, inputs with one step a frame or token, both symmetric. Does not know: any real
int8 engine.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LARGEST = 127
_SMALLEST_RANGE = 1e-8


class Int8Linear(nn.Linear):
    """A linear layer that rounds as int8 would; gradients pass straight through."""

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        return functional.linear(_rounded(x.float()), _rounded(self.weight), self.bias)


def imitate_int8(model: nn.Module) -> None:
    """Make every linear layer an ``Int8Linear``, with the weights it has."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.__class__ = Int8Linear


def _rounded(x: Tensor) -> Tensor:
    largest = x.detach().abs().amax(-1, keepdim=True)
    step = largest.clamp(min=_SMALLEST_RANGE) / _LARGEST
    return x + (torch.round(x / step) * step - x).detach()
