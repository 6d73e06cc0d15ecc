"""What whisper's decoding is asked, and how its answers are judged.

Goes in: options; whisper's results. Comes out: whisper's own options, verdicts. Does not know:
clips, batches, segments, words.
"""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whisper.decoding import DecodingOptions, DecodingResult
    from whisper.model import Whisper

    from pipeline.types import SpeechOptions


def decoding_options(model: Whisper, options: SpeechOptions, attempt: int = 0) -> DecodingOptions:
    """What whisper is told for the given attempt; equal options can be decoded together."""
    from whisper.decoding import DecodingOptions

    temperature = options.temperatures[attempt]
    prompt = options.initial_prompt
    return DecodingOptions(
        task=options.task,
        language=options.language if model.is_multilingual else "en",
        temperature=temperature,
        beam_size=options.beam_size if temperature == 0 and options.beam_size > 1 else None,
        best_of=options.best_of if temperature > 0 else None,
        # tiktoken refuses text that spells one of its special tokens
        prompt=prompt.replace("<|", "< |") if prompt else None,
        fp16=False,  # whisper goes by it only where it encodes by itself
    )


def is_failure(result: DecodingResult, options: SpeechOptions) -> bool:
    """Whether the text is too repetitive or too unsure, and the window not plainly silent."""
    too_unsure = _below(result.avg_logprob, options.log_probability_limit)
    silent = too_unsure and _above(result.no_speech_prob, options.no_speech_limit)
    return (is_repetitive(result, options) or too_unsure) and not silent


def is_repetitive(result: DecodingResult, options: SpeechOptions) -> bool:
    """Whether the text says the same over and over."""
    return _above(result.compression_ratio, options.compression_ratio_limit)


def is_silence(result: DecodingResult, options: SpeechOptions) -> bool:
    """Whether nothing was said, so that the text is to be thrown away; also what overflowed."""
    if math.isnan(result.avg_logprob):
        return True
    sure = _above(result.avg_logprob, options.log_probability_limit)
    return _above(result.no_speech_prob, options.no_speech_limit) and not sure


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def _below(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings that only whisper's makers can act on.

    A vocabulary file left open, NumPy's new rules for tensors, a loop that could not be parallel.
    """
    from numba.core.errors import NumbaWarning

    with warnings.catch_warnings():
        for category in (ResourceWarning, DeprecationWarning, NumbaWarning):
            warnings.simplefilter("ignore", category)
        yield
