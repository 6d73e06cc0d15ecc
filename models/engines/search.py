"""Searching the tokens of one window: greedily, by samples, or by beams.

Goes in: log probabilities of the next token, for the rows of one window. Comes out: the tokens that
follow, and in the end whisper's result. Does not know: slots, other windows, attention.

The search itself, its ranking and its statistics are those of `whisper.decoding`.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from models.engines.decode import quiet

if TYPE_CHECKING:
    from torch import Tensor
    from whisper.decoding import DecodingResult, DecodingTask

    from pipeline.types import SpeechOptions

_LOOKED_AT = 16  # tokens between two looks at whether a text repeats itself
_ORDINARY_BYTES = 4.0  # of text in a token
_ORDINARY_RATIO = 1.5  # by which zlib compresses some hundred bytes of it
# Words that only repeat what came before, and at least twice: a text does not get out of that by
# itself. A refrain that is sung twice is none.
_LOOP, _LONGEST_PERIOD = 40, 40


class Found(NamedTuple):
    """What a search has come to."""

    tokens: list[int]
    sum_log_probability: float
    is_whole: bool = True  # it came to an end of its own


@dataclass(slots=True)
class _Text:
    """One of the texts that a window may get."""

    tokens: list[int] = field(default_factory=list)  # those sampled, without the last eot
    sum_log_probability: float = 0.0  # with the last eot's
    is_over: bool = False
    is_hopeless: bool = False  # over since it was sure to be a failure
    is_cut: bool = False  # over since another one was likelier
    is_stopped: bool = False  # over since nothing was left to spend on it

    @property
    def mean(self) -> float:
        """Log probability of a token, by which whisper ranks texts."""
        return self.sum_log_probability / max(1, len(self.tokens))

    @property
    def is_complete(self) -> bool:
        """Whether it came to its own end."""
        return self.is_over and not (self.is_hopeless or self.is_cut or self.is_stopped)


class Samples:
    """Texts that grow independently of each other; at temperature 0 there is one."""

    def __init__(self, task: DecodingTask, seed: int) -> None:
        """The same seed draws the same samples."""
        import torch

        self.temperature = task.options.temperature
        self._task = task
        self._texts = [_Text() for _ in range(task.n_group)]
        self._longest = longest(task)
        generator = torch.Generator().manual_seed(seed)
        numbers = torch.rand(task.n_group, self._longest, generator=generator)
        self._chances = (1 - numbers).tolist()

    def is_over(self, number: int) -> bool:
        """Whether a text is complete."""
        return self._texts[number].is_over

    def sampled(self, number: int) -> list[int]:
        """The tokens of a text so far."""
        return self._texts[number].tokens

    def chance(self, number: int) -> float:
        """What the next token of a text is drawn by; it depends on nothing but the seed."""
        chance: float = self._chances[number][len(self._texts[number].tokens)]
        return chance

    def add(self, number: int, token: int, log_probability: float) -> None:
        """What whisper's GreedyDecoder does with one row."""
        text = self._texts[number]
        text.sum_log_probability += log_probability
        if token == self._task.tokenizer.eot:
            text.is_over = True
            return
        text.tokens.append(token)
        text.is_over = len(text.tokens) >= self._longest

    def drop_hopeless(self, options: SpeechOptions) -> None:
        """End the texts that would be failures however they went on; others follow if all are.

        What repeats itself is not given more time than it took so far to be worth hearing again.
        """
        for text in self._growing():
            if self._is_unsure(text, options) or self._repeats(text, options):
                text.is_over = text.is_hopeless = True

    def keep_best(self) -> None:
        """End all texts but the likeliest, and that too if one that is complete is likelier."""
        growing = sorted(self._growing(), key=lambda text: text.sum_log_probability)
        complete = [text.mean for text in self._texts if text.is_complete]
        kept = 0 if growing and max(complete, default=-math.inf) >= growing[-1].mean else 1
        for text in growing[: len(growing) - kept]:
            text.is_over = text.is_cut = True

    def stop(self) -> None:
        """End all texts, none inside a character."""
        for text in self._growing():
            text.is_over = text.is_stopped = True
            while self._task.tokenizer.decode(text.tokens[-_LOOKED_AT:]).endswith("\ufffd"):
                text.tokens.pop()

    def found(self) -> Found:
        """The best text by whisper's ranking, of those that came furthest."""
        furthest = [text for text in self._texts if text.is_complete or text.is_stopped]
        fair = furthest or [text for text in self._texts if not text.is_cut]
        tokens = [[text.tokens for text in fair]]
        sums = [[text.sum_log_probability for text in fair]]
        best = fair[self._task.sequence_ranker.rank(tokens, sums)[0]]
        return Found(best.tokens, best.sum_log_probability, best.is_complete)

    def _growing(self) -> list[_Text]:
        return [text for text in self._texts if not text.is_over]

    def _is_unsure(self, text: _Text, options: SpeechOptions) -> bool:
        """Whether it would be too unsure even if all tokens left were certain."""
        limit = options.log_probability_limit
        return limit is not None and text.sum_log_probability / (self._longest + 1) < limit

    def _repeats(self, text: _Text, options: SpeechOptions) -> bool:
        """Whether it would be too repetitive even if as many tokens of ordinary text followed.

        Or, once it is caught in a loop, if that goes on.
        """
        limit = options.compression_ratio_limit
        if limit is None or len(text.tokens) % _LOOKED_AT:
            return False
        so_far = self._task.tokenizer.decode(text.tokens).strip().encode()
        left, ratio = self._longest - len(text.tokens), math.inf
        if loop_at(text.tokens, self._task.tokenizer.timestamp_begin) is None:
            left, ratio = min(left, len(text.tokens)), _ORDINARY_RATIO
        rest = left * _ORDINARY_BYTES
        return (len(so_far) + rest) / (len(zlib.compress(so_far)) + rest / ratio) > limit


def loop_at(tokens: list[int], timestamp_begin: int) -> int | None:
    """Where its last words begin to say the same again, whatever times they are given; None: never.

    What they repeat comes before.
    """
    places = [i for i, token in enumerate(tokens) if token < timestamp_begin]
    words = [tokens[i] for i in places]
    for period in range(1, _LONGEST_PERIOD + 1):
        again = max(_LOOP, 2 * period)
        if len(words) >= again + period and words[-again:] == words[-again - period : -period]:
            first = len(words) - again
            while first > period and words[first - 1] == words[first - 1 - period]:
                first -= 1
            return places[first]
    return None


class Beams:
    """Texts that grow together; the best of all their continuations go on."""

    def __init__(self, task: DecodingTask) -> None:
        import torch
        from whisper.decoding import BeamSearchDecoder

        options = task.options
        self._task = task
        self._search = BeamSearchDecoder(
            options.beam_size, task.tokenizer.eot, self, options.patience
        )
        self._tokens = torch.tensor([task.initial_tokens] * task.n_group)
        self._sums = torch.zeros(task.n_group)
        self._sources: list[int] = []
        self._is_over = False

    def is_over(self, _number: int) -> bool:
        """Whether the search has come to its end; all beams do together."""
        return self._is_over

    def sampled(self, number: int) -> list[int]:
        """The tokens of a beam so far."""
        tokens: list[int] = self._tokens[number, self._task.sample_begin :].tolist()
        return tokens

    def add(self, log_probabilities: Tensor) -> list[int]:
        """Take the beams one token on; (beams, V). Returns the beam that each one continues."""
        self._tokens, completed = self._search.update(
            self._tokens, log_probabilities.cpu(), self._sums
        )
        sampled = self._tokens.shape[1] - self._task.sample_begin
        self._is_over = completed or sampled >= longest(self._task)
        return self._sources

    def rearrange_kv_cache(self, source_indices: list[int]) -> None:
        """Whisper's search says which beam each one continues."""
        self._sources = source_indices

    def found(self) -> Found:
        """The best, by whisper's ranking."""
        task = self._task
        with quiet():
            beams, sums = self._search.finalize(self._tokens[None], self._sums[None])
        eot = task.tokenizer.eot
        texts = [row[task.sample_begin :].tolist() for row in beams[0]]
        texts = [row[: row.index(eot)] for row in texts]
        best: int = task.sequence_ranker.rank([texts], sums)[0]
        return Found(texts[best], sums[0][best])


def longest(task: DecodingTask) -> int:
    """How many tokens whisper samples for one text at most."""
    most: int = min(task.sample_len, task.n_ctx - len(task.initial_tokens) + 1)
    return most


def result_of(
    task: DecodingTask, found: Found, features: Tensor, no_speech_probability: float
) -> DecodingResult:
    """What whisper's `decode` returns."""
    from whisper.decoding import DecodingResult
    from whisper.utils import compression_ratio

    text = task.tokenizer.decode(found.tokens).strip()
    return DecodingResult(
        audio_features=features,
        language=task.options.language,
        tokens=found.tokens,
        text=text,
        avg_logprob=found.sum_log_probability / (len(found.tokens) + 1),
        no_speech_prob=no_speech_probability,
        temperature=task.options.temperature,
        compression_ratio=compression_ratio(text),
    )
