"""Whisper's rules for the next token, for many rows of different lengths at once.

Goes in: logits, and what each row has sampled so far. Comes out: log probabilities. Does not know:
which token is chosen, audio, attention.

The rules are those of whisper's own logit filters, whose settings they are read from. whisper takes
rows of one length and looks at each by itself, which takes longer than a step of a small model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor
    from whisper.decoding import DecodingTask


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a task's filters; rows with equal ones can go together."""

    suppressed: tuple[int, ...]  # tokens that never come
    suppressed_first: tuple[int, ...]  # those that do not come first
    timestamp_begin: int | None  # None: text without timestamps
    last_first: int | None  # the latest timestamp that may come first
    eot: int


def rules_of(task: DecodingTask) -> Rules:
    """What the task's filters do."""
    from whisper.decoding import ApplyTimestampRules, SuppressBlank, SuppressTokens

    tokenizer = task.tokenizer
    suppressed: set[int] = set()
    suppressed_first: set[int] = set()
    begin = last_first = None
    for one in task.logit_filters:
        if isinstance(one, SuppressTokens):
            suppressed |= set(one.suppress_tokens)
        elif isinstance(one, SuppressBlank):
            suppressed_first |= {*tokenizer.encode(" "), tokenizer.eot}
        elif isinstance(one, ApplyTimestampRules):
            begin = tokenizer.timestamp_begin
            suppressed.add(tokenizer.no_timestamps)
            if one.max_initial_timestamp_index is not None:
                last_first = begin + one.max_initial_timestamp_index
        else:
            raise TypeError(f"{type(one).__name__} is no filter of whisper's")
    return Rules(
        tuple(sorted(suppressed)), tuple(sorted(suppressed_first)), begin, last_first, tokenizer.eot
    )


def log_probabilities(logits: Tensor, rules: Rules, sampled: Sequence[Sequence[int]]) -> Tensor:
    """Of the next token, float32 (s, V); logits (s, V) are overwritten.

    `sampled`: for each row the tokens after those it was given.
    """
    import torch

    logits.index_fill_(1, _index(rules.suppressed, logits.device), -math.inf)
    for row, tokens in zip(logits, sampled, strict=True):
        if not tokens:
            row[list(rules.suppressed_first)] = -math.inf
    if rules.timestamp_begin is None:
        return torch.log_softmax(logits.float(), -1)
    begin = rules.timestamp_begin
    _keep_order(logits, rules, begin, sampled)
    found = torch.log_softmax(logits.float(), -1)
    # If a timestamp is likelier than any one token of text, it is a timestamp.
    stamp = found[:, begin:].logsumexp(-1)
    must = (stamp > found[:, :begin].amax(-1)).nonzero()[:, 0]
    found[must, :begin] = -math.inf
    found[must, begin:] -= stamp[must, None]
    return found


def _keep_order(logits: Tensor, rules: Rules, begin: int, sampled: Sequence[Sequence[int]]) -> None:
    """Leave the tokens that may follow."""
    import torch

    ranges = [allowed(tokens, rules, logits.shape[1]) for tokens in sampled]
    for row, (first_text, *_) in enumerate(ranges):
        if first_text:
            logits[row, :first_text] = -math.inf
    first, end = torch.tensor(ranges, device=logits.device)[:, 2:, None].unbind(1)
    stamps = torch.arange(begin, logits.shape[1], device=logits.device)
    logits[:, begin:].masked_fill_((stamps < first) | (stamps >= end), -math.inf)


@cache
def _index(tokens: tuple[int, ...], device: torch.device) -> Tensor:
    """Made once, since it takes as long as the rest."""
    import torch

    return torch.tensor(tokens, device=device)


def allowed(sampled: Sequence[int], rules: Rules, vocabulary: int) -> tuple[int, int, int, int]:
    """What may follow: text from the first number to the second, timestamps likewise.

    Timestamps come in pairs and do not run backwards.
    """
    begin = rules.timestamp_begin
    if begin is None:
        return 0, vocabulary, vocabulary, vocabulary
    if not sampled:
        return begin, begin, begin, vocabulary if rules.last_first is None else rules.last_first + 1
    stamped = sampled[-1] >= begin
    paired = len(sampled) < 2 or sampled[-2] >= begin  # noqa: PLR2004  - the one before the last
    if stamped and paired:
        return 0, begin, vocabulary, vocabulary
    last = next((token for token in reversed(sampled) if token >= begin), begin - 1)
    if stamped:
        return rules.eot, begin, last, vocabulary
    return 0, begin, last + 1, vocabulary
