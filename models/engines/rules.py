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

from models.engines.feed import sent

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

    `sampled`: for each row the tokens after those it was given. Nothing here waits for the device.
    """
    import torch

    device, vocabulary = logits.device, logits.shape[1]
    ranges = [(*allowed(tokens, rules, vocabulary), not tokens) for tokens in sampled]
    first_text, end_text, first_stamp, end_stamp, is_first = (
        sent(ranges, device).unsqueeze(-1).unbind(1)
    )
    tokens = torch.arange(vocabulary, device=device)
    is_text = (tokens >= first_text) & (tokens < end_text)
    is_stamp = (tokens >= first_stamp) & (tokens < end_stamp)
    suppressed = _among(rules.suppressed, vocabulary, device)
    suppressed = suppressed | (_among(rules.suppressed_first, vocabulary, device) & (is_first > 0))
    logits.masked_fill_(suppressed | ~(is_text | is_stamp), -math.inf)
    found = torch.log_softmax(logits.float(), -1)
    if rules.timestamp_begin is None:
        return found
    # If a timestamp is likelier than any one token of text, it is a timestamp.
    text, stamps = found[:, : rules.timestamp_begin], found[:, rules.timestamp_begin :]
    share = stamps.logsumexp(-1, keepdim=True)
    must = share > text.amax(-1, keepdim=True)
    text.masked_fill_(must, -math.inf)
    stamps.sub_(share.masked_fill(~must, 0.0))
    return found


@cache
def _among(tokens: tuple[int, ...], vocabulary: int, device: torch.device) -> Tensor:
    """Which of all tokens are among them, bool (V,); made once, since it takes a while."""
    import torch

    found = torch.zeros(vocabulary, dtype=torch.bool)
    found[list(tokens)] = True
    return found.to(device)


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
