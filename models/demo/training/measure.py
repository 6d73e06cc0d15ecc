"""Compares what was written with what was said.

In: pairs of true and guessed sentences with times. Out: ``Figures``: word error rate after
Whisper's English normaliser, matched sentences and errors of their times. Does not know: models or
sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

import jiwer
import numpy as np
from whisper.normalizers import EnglishTextNormalizer

from models.demo import TrueSegment

Segments = Sequence[TrueSegment]

_SIMILAR = 0.5  # of the words of two sentences that answer to each other


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured on one set of recordings."""

    sentences: int
    word_errors_percent: float
    matched_percent: float
    start_error_s: float  # median over matched sentences
    end_error_s: float


def figures(runs: Sequence[tuple[Segments, Segments]]) -> Figures:
    """The figures of (true, guessed) pairs, one a recording."""
    starts, ends = list[float](), list[float]()
    for truth, guess in runs:
        for said, written in match(truth, guess):
            starts.append(abs(said.start_s - written.start_s))
            ends.append(abs(said.end_s - written.end_s))
    sentences = sum(len(truth) for truth, _ in runs)
    said_words = [_joined(truth) for truth, _ in runs]
    errors = jiwer.wer(said_words, [_joined(guess) for _, guess in runs])
    return Figures(
        sentences=sentences,
        word_errors_percent=100 * errors,
        matched_percent=100 * len(starts) / sentences,
        start_error_s=float(np.median(starts)) if starts else float("nan"),
        end_error_s=float(np.median(ends)) if ends else float("nan"),
    )


def match(truth: Segments, guess: Segments) -> list[tuple[TrueSegment, TrueSegment]]:
    """The pairing in order that has the most similar words."""
    rows, columns = len(truth), len(guess)
    alike = np.zeros((rows, columns))
    best = np.zeros((rows + 1, columns + 1))
    for i, said in enumerate(truth):
        for j, written in enumerate(guess):
            alike[i, j] = _similarity(said.text, written.text)
            paired = best[i, j] + alike[i, j] * (alike[i, j] >= _SIMILAR)
            best[i + 1, j + 1] = max(paired, best[i, j + 1], best[i + 1, j])
    pairs = []
    i, j = rows, columns
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((truth[i], guess[j]))
    return pairs[::-1]


def _similarity(said: str, written: str) -> float:
    words = (_normalised(said).split(), _normalised(written).split())
    return SequenceMatcher(None, *words, autojunk=False).ratio()


def _joined(segments: Segments) -> str:
    return _normalised(" ".join(segment.text for segment in segments))


@lru_cache(maxsize=10_000)
def _normalised(text: str) -> str:
    return str(_normaliser()(text))


@lru_cache(maxsize=1)
def _normaliser() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()
