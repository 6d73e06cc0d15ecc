"""Choosing the next token of rows that need nothing of each other.

Goes in: logits, rules, temperatures. Comes out: tokens and their log probabilities. Does not know:
what becomes of them.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from models.engines.feed import sent
from models.engines.rules import allowed, log_probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.engines.rules import Rules


def next_tokens(
    logits: Tensor,
    rules: Rules,
    sampled: Sequence[Sequence[int]],
    temperatures: Sequence[float],
    chances: Sequence[float],
) -> tuple[list[int], list[float]]:
    """The next token of each row of (s, V), and its log probability; logits are overwritten.

    For `sampled` see `rules.log_probabilities`, for the other two `choose`.
    """
    kernel = _kernel() if logits.device.type == "cpu" else None
    if kernel is None:
        return choose(log_probabilities(logits, rules, sampled), temperatures, chances)
    return _voted(kernel, logits, rules, sampled, temperatures, chances)


def choose(
    log_probabilities: Tensor, temperatures: Sequence[float], chances: Sequence[float]
) -> tuple[list[int], list[float]]:
    """The next token of each row of (s, V), and its log probability.

    At temperature 0 it is the likeliest; above, the one that the row's chance falls on, a number
    above 0 and up to 1.
    """
    import torch

    tokens = _largest(log_probabilities)
    if any(temperatures):
        heat, chance = sent([temperatures, chances], tokens.device)[..., None]
        shares = (log_probabilities / heat.where(heat > 0, 1.0)).softmax(-1).cumsum(-1)
        drawn = torch.searchsorted(shares, chance * shares[:, -1:])[:, 0]
        tokens = torch.where(heat[:, 0] > 0, drawn, tokens)
    chosen = log_probabilities.gather(1, tokens[:, None])[:, 0]
    # both in one transfer; float32 holds every token, and Apple's GPUs have nothing larger
    found, values = torch.stack([tokens.float(), chosen]).tolist()
    return list(map(int, found)), values


def _largest(x: Tensor) -> Tensor:
    """The index of the largest number in each row; the first, where there are several."""
    import torch

    # torch takes ten times as long as numpy for it on a CPU
    return x.argmax(-1) if x.device.type != "cpu" else torch.from_numpy(x.numpy().argmax(-1))


@cache
def _kernel() -> Any:
    """`models.kernels.votes`; None: it does not compile for this processor."""
    try:
        from models.kernels import votes
    except Exception:  # noqa: BLE001  - whatever ails the compiler, torch works
        return None
    return votes


def _voted(
    kernel: Any,
    logits: Tensor,
    rules: Rules,
    sampled: Sequence[Sequence[int]],
    temperatures: Sequence[float],
    chances: Sequence[float],
) -> tuple[list[int], list[float]]:
    import numpy as np

    numbers = logits.numpy()
    for row, tokens in zip(numbers, sampled, strict=True):
        if not tokens:
            row[list(rules.suppressed_first)] = kernel.NEVER
    ranges = np.array([allowed(tokens, rules, logits.shape[1]) for tokens in sampled])
    found, values = np.empty(len(sampled), np.int64), np.empty(len(sampled), np.float32)
    kernel.vote(
        numbers,
        np.array(rules.suppressed, np.int64),
        kernel.Allowed(*np.ascontiguousarray(ranges.T)),
        np.array(temperatures, np.float32),
        np.array(chances, np.float32),
        found,
        values,
    )
    return found.tolist(), values.tolist()
