"""The next token of each row, straight from its logits, in loops that numba compiles.

Goes in: logits on a CPU, and which tokens may follow. Comes out: tokens and log probabilities. Does
not know: why a token may follow, beams, torch.

It gives what `rules.log_probabilities` and `choosing.choose` do; they go over all logits once for
each of a dozen operations, which takes a small model as long as the logits themselves.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

# numpy for numba: nothing imports this file but what compiles
import numpy as np  # noqa: TID253  - see above

from models.kernels.arithmetic import Array, f32, i32, jit, kept, power_of_two

NEVER = f32(-1e30)  # the logit of a token that may not follow
_BLOCK = 256  # tokens whose shares are summed, so that few are looked at one by one
_LIKELY = f32(1e-30)  # of the likeliest token's share; less is nothing
_MAGNITUDE = i32(0x7FFFFFFF)  # all bits but the sign
_LOG2_E = f32(1 / math.log(2))


class Allowed(NamedTuple):
    """Which tokens may follow in each row, (s,) int64."""

    first_text: Array  # text from here to `end_text` …
    end_text: Array
    first_stamp: Array  # … and timestamps from here to `end_stamp`
    end_stamp: Array


@kept
def vote(
    logits: Array,
    never: Array,
    allowed: Allowed,
    temperatures: Array,
    chances: Array,
    tokens: Array,
    values: Array,
) -> None:
    """Write the tokens, int64 (s,), and their log probabilities, float32 (s,).

    `logits` float32 (s, V) are overwritten; `never`: tokens that do not follow in any row. For
    `temperatures` and `chances`, float32 (s,), see `choosing.choose`.
    """
    blocks = np.empty(logits.shape[1] // _BLOCK + 2, np.float32)
    for r in range(logits.shape[0]):
        for i in range(never.size):
            logits[r, never[i]] = NEVER
        first_text, first_stamp = allowed.first_text[r], allowed.first_stamp[r]
        text = logits[r, first_text : allowed.end_text[r]]
        stamps = logits[r, first_stamp : allowed.end_stamp[r]]
        top_text, top_stamp = _largest(text), _largest(stamps)
        top = max(top_text, top_stamp)
        any_text, any_stamp = _sum(text, top, _LOG2_E), _sum(stamps, top, _LOG2_E)
        # If a timestamp is likelier than any one token of text, it is a timestamp.
        if any_stamp > power_of_two((top_text - top) * _LOG2_E):
            text, any_text, top_text = text[:0], f32(0), NEVER
        if temperatures[r] > 0:
            scale = _LOG2_E / temperatures[r]
            i = _drawn(text, stamps, top, scale, chances[r], blocks)
        elif top_text >= top_stamp:
            i = _index(text, top_text)
        else:
            i = text.size + _index(stamps, top_stamp)
        tokens[r] = first_text + i if i < text.size else first_stamp + i - text.size
        values[r] = logits[r, tokens[r]] - top - np.log(any_text + any_stamp)


@jit
def _largest(x: Array) -> Any:
    """The largest number, by way of integers: LLVM does not vectorise it for floats."""
    top = _ordered(NEVER)
    for i in range(x.size):
        top = max(top, _ordered(x[i]))
    return i32(top ^ ((top >> i32(31)) & _MAGNITUDE)).view(f32)


@jit
def _ordered(x: Any) -> Any:
    """An integer for each float, in the same order."""
    bits = f32(x).view(i32)
    return i32(bits ^ ((bits >> i32(31)) & _MAGNITUDE))


@jit
def _index(x: Array, value: Any) -> Any:
    """Where a number first is."""
    for i in range(x.size):
        if x[i] == value:
            return i
    return x.size - 1


@jit
def _sum(x: Array, top: Any, scale: Any) -> Any:
    """The sum of the shares of all tokens; that of the likeliest is 1."""
    total = f32(0)
    for i in range(x.size):
        total += power_of_two((x[i] - top) * scale)
    return total


@jit
def _drawn(text: Array, stamps: Array, top: Any, scale: Any, chance: Any, blocks: Array) -> Any:
    """The token, counted through text and timestamps, where the shares add up to the chance."""
    total, n = f32(0), 0
    for part in (text, stamps):
        for first in range(0, part.size, _BLOCK):
            blocks[n] = _sum(part[first : first + _BLOCK], top, scale)
            total += blocks[n]
            n += 1
    chance, so_far = chance * total, f32(0)
    n, before, last = 0, 0, 0
    for part in (text, stamps):
        for first in range(0, part.size, _BLOCK):
            left = chance - so_far
            so_far += blocks[n]  # as above, so that the last one is the total
            n += 1
            if chance > so_far:
                continue
            for i in range(first, min(first + _BLOCK, part.size)):
                share = power_of_two((part[i] - top) * scale)
                left -= share
                if share > _LIKELY:
                    last = before + i
                    if left <= f32(0):
                        return last
        before += part.size
    return last
