"""From tokens between two timestamps to words with times, where nothing aligns them to the sound.

Goes in: a phrase and the clip that it was heard in. Comes out: its text and its words, timed from
the window's start. Does not know: models, media time, what wrote the tokens.

whisper.cpp offers two kinds of word times, and neither serves. Its alignment aborts the process on
phrases shorter than 0.16 s (median_filter in src/whisper.cpp 1.8.5); its estimate looks up the
loudness of the wrong place in all phrases but the first (timestamp_to_sample there).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from pipeline.types import SAMPLE_RATE_HZ, Span, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.types import Clip

# Languages written without spaces, as split_to_word_tokens in whisper/tokenizer.py has them.
SPACELESS = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
_REPLACEMENT = "\ufffd"  # stands for bytes that are no character, or not yet
_INNER_BYTES = range(0x80, 0xC0)  # UTF-8: never the first of a character


@dataclass(frozen=True, slots=True)
class Token:
    """One token; those that are no text have no spelling."""

    spelling: bytes  # a part of UTF-8, which may end inside a character
    probability: float
    log_probability: float


@dataclass(frozen=True, slots=True)
class Phrase:
    """Tokens between two timestamps, in seconds from the start of the window."""

    start_s: float
    end_s: float
    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        """What the tokens spell."""
        return _spelled(self.tokens)


def words_of(phrase: Phrase, clip: Clip) -> tuple[Word, ...]:
    """The words, if they are wanted; joined, they are the phrase's text.

    Their times run evenly over letters, through what the window knows as speech, not its pauses.
    """
    if not clip.options.word_times or clip.options.task == "translate":
        return ()
    groups = _groups(phrase.tokens, spaceless=clip.options.language in SPACELESS)
    texts = [_spelled(group) for group in groups]
    letters = accumulate((1 + len(text.strip()) for text in texts), initial=0)
    speech = _speech(phrase, clip)
    times = _through(speech, list(letters))
    return tuple(
        Word(start_s, end_s, text, sum(token.probability for token in group) / len(group))
        for text, group, (start_s, end_s) in zip(texts, groups, times, strict=True)
    )


def _spelled(tokens: Iterable[Token]) -> str:
    return b"".join(token.spelling for token in tokens).decode(errors="replace")


def _groups(tokens: Iterable[Token], *, spaceless: bool) -> list[list[Token]]:
    """The tokens of each word. None begins inside a character, so the text stays as it is."""
    groups: list[list[Token]] = []
    for token in tokens:
        if token.spelling and (not groups or _begins(token.spelling, spaceless=spaceless)):
            groups.append([])
        if token.spelling:
            groups[-1].append(token)
    return groups


def _begins(spelling: bytes, *, spaceless: bool) -> bool:
    """Whether a word begins here; without spaces: any sign but punctuation."""
    if not spaceless:
        return spelling.startswith(b" ")
    if spelling[0] in _INNER_BYTES:
        return False
    text = spelling.decode(errors="replace")
    return any(sign.isalnum() or sign == _REPLACEMENT for sign in text)


def _speech(phrase: Phrase, clip: Clip) -> list[Span]:
    """The speech of the window within the phrase; all of the phrase if there is none."""
    window = clip.window
    duration_s = len(clip.samples) / SAMPLE_RATE_HZ
    start_s = min(max(phrase.start_s, 0.0), duration_s)
    end_s = min(max(phrase.end_s, start_s), duration_s)
    spans = (
        Span(max(span.start_s - window.start_s, start_s), min(span.end_s - window.start_s, end_s))
        for span in window.spans
    )
    return [span for span in spans if span.start_s < span.end_s] or [Span(start_s, end_s)]


def _through(speech: Sequence[Span], marks: Sequence[int]) -> list[tuple[float, float]]:
    """Start and end of each step between two marks, spread evenly over the speech."""
    total_s = sum(span.end_s - span.start_s for span in speech)
    offsets_s = [total_s * mark / max(1, marks[-1]) for mark in marks]
    return [(_start(speech, a), _end(speech, b)) for a, b in pairwise(offsets_s)]


def _start(speech: Sequence[Span], offset_s: float) -> float:
    """Where the speech goes on after so much of it."""
    for span in speech:
        if offset_s < span.end_s - span.start_s:
            return span.start_s + offset_s
        offset_s -= span.end_s - span.start_s
    return speech[-1].end_s


def _end(speech: Sequence[Span], offset_s: float) -> float:
    """Where so much of the speech is over."""
    for span in speech:
        if offset_s <= span.end_s - span.start_s:
            return span.start_s + offset_s
        offset_s -= span.end_s - span.start_s
    return speech[-1].end_s
