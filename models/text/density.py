"""How many tokens a question takes, judged by samples that a server has read.

Goes in: questions, and what the server counted in a sample. Comes out: estimates, and whether what
was read can be all of a question. Does not know: who reads a sample, or how.

For servers that have no tokenizer to ask and yet say how many tokens they read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.types import TextRequest

# A token spells one byte at least, whatever the tokenizer; templates that are known add up to 40
# tokens for two messages, and some write the date or a sentence of their own.
TEMPLATE_TOKENS = 128
SAMPLE_BYTES = 8192  # some 2000 tokens of English: a second on a GPU, a minute on a slow processor
_SLICES = 16  # of a sample, from the first byte of a text to its last
_MARGIN = 1.2  # a stretch may be denser than the samples of the whole; what is more is refused
_LARGER = 4  # times what was sampled: a text that needs a sample of its own
_THINNEST = 0.1  # tokens a byte of what people say: 0.2 to 1; blanks alone take fewer
_USUAL = 0.2  # fewer tokens a byte are looked into
# Of what the samples tell. A sample of half of a text, or of 4 KB of it, tells 0.99 to 1.09 of the
# truth, whatever languages and numbers are mixed in it (GPT-2's and Whisper's tokenizers).
_BELIEVED = 0.85


@dataclass(frozen=True, slots=True)
class _Sampled:
    """What is known of one kind of text."""

    tokens_per_byte: float  # the densest sample; 1: it could not be counted
    text_bytes: int  # of the largest text that was sampled


class Densities:
    """Estimates for any number of threads, two of which at worst have the same sample read."""

    def __init__(self, context_tokens: int, read: Callable[[str], int | None]) -> None:
        """`read` gives the tokens of a text that surely fits; None: they were not counted."""
        self._context_tokens = context_tokens
        self._read = read
        self._known: dict[tuple[str, int], _Sampled] = {}
        self._cuts: set[int] = set()  # in tokens; who cuts, cuts where it did before

    def tokens(self, request: TextRequest) -> int:
        """How many it takes, about; a bound where that is small or nothing can be measured.

        Raises what `read` does.
        """
        most = most_tokens(request)
        if most <= self._context_tokens // 2:  # it fits: nobody need know better
            return most
        kind, text_bytes = _kind(request), _bytes(request)
        known = self._known.get(kind)
        if known is None or text_bytes > _LARGER * known.text_bytes:
            measured = self._measure(request)
            densest = max(measured, known.tokens_per_byte if known else 0)
            known = self._known[kind] = _Sampled(densest, text_bytes)
        estimate = math.ceil(text_bytes * known.tokens_per_byte * _MARGIN) + TEMPLATE_TOKENS
        return min(most, estimate)

    def can_be_all(self, request: TextRequest, read_tokens: int) -> bool:
        """Whether so many tokens can be all of a request; if they seem few, half of it is read.

        Its own density decides then, so that a text is not taken for cut because it is thinner
        than others of its kind. Raises what `read` does.
        """
        if read_tokens in self._cuts:
            return False
        known = self._known.get(_kind(request))
        usual = known.tokens_per_byte * _BELIEVED if known else _USUAL
        if read_tokens >= _bytes(request) * usual or self._suits(request, read_tokens):
            return True
        self._cuts.add(read_tokens)
        return False

    def _suits(self, request: TextRequest, read_tokens: int) -> bool:
        """Whether it is as many as half of the request tells of all; no count tells nothing."""
        sample = self._sample(request, _bytes(request) // 2)  # so short that it is not cut itself
        counted = self._read(sample) if sample else None
        if not counted:
            return True
        own = max(_THINNEST, (counted - TEMPLATE_TOKENS) / len(_encoded(sample)))
        return read_tokens >= _bytes(request) * own * _BELIEVED

    def _measure(self, request: TextRequest) -> float:
        """Tokens a byte."""
        sample = self._sample(request, SAMPLE_BYTES)
        tokens = self._read(sample)
        return max(_THINNEST, tokens / len(_encoded(sample))) if tokens else 1.0

    def _sample(self, request: TextRequest, most_bytes: int) -> str:
        """Of a text; it fits the context at a token a byte."""
        room_bytes = self._context_tokens - TEMPLATE_TOKENS - 1
        return sample_of(request.system + request.user, min(SAMPLE_BYTES, room_bytes, most_bytes))


def most_tokens(request: TextRequest) -> int:
    """Never fewer than it takes."""
    return _bytes(request) + TEMPLATE_TOKENS


def sample_of(text: str, most_bytes: int) -> str:
    """The text, or slices of it from all over; no character is cut in two."""
    data = _encoded(text)
    if len(data) <= most_bytes:
        return text
    size = most_bytes // _SLICES
    starts = (number * (len(data) - size) // (_SLICES - 1) for number in range(_SLICES))
    return "".join(data[start : start + size].decode(errors="ignore") for start in starts)


def _kind(request: TextRequest) -> tuple[str, int]:
    """Texts of one task, language and script are alike; the script is told by bytes a character."""
    text = request.user
    return request.system, round(2 * len(_encoded(text)) / max(1, len(text)))


def _bytes(request: TextRequest) -> int:
    return len(_encoded(request.system)) + len(_encoded(request.user))


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")
