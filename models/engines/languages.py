"""Which language is spoken, by whisper's own first step.

Goes in: encoded windows. Comes out: the probability of each language, and the likeliest. Does not
know: which windows are asked, what is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.engines.decode import quiet
from pipeline.types import LanguageGuess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from whisper.model import Whisper

    from models.engines.decoder import Decoder


def probabilities(
    model: Whisper, decoder: Decoder, place: int, slot: int, features: Tensor
) -> dict[str, float]:
    """What `whisper.detect_language` gives for a window (T, d); the model is multilingual.

    The place and the slot are overwritten.
    """
    import torch
    from whisper.tokenizer import get_tokenizer

    with quiet():
        tokenizer = get_tokenizer(multilingual=True, num_languages=model.num_languages)
    decoder.hear([place], [features])
    with torch.inference_mode():
        logits = decoder.begin(slot, [place], [[tokenizer.sot]], [0])[0, 0]
        shares = logits[list(tokenizer.all_language_tokens)].softmax(-1).tolist()
    return dict(zip(tokenizer.all_language_codes, shares, strict=True))


def likeliest(rows: Sequence[dict[str, float]]) -> LanguageGuess:
    """By the mean of the probabilities, of at least one window."""
    means = {code: sum(row[code] for row in rows) / len(rows) for code in rows[0]}
    language = max(means, key=lambda code: means[code])
    return LanguageGuess(language, means[language])
