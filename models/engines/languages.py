"""Which language is spoken, by whisper's own first step.

Goes in: encoded windows. Comes out: the probability of each language. Does not know: which windows
are asked, what is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from whisper.model import Whisper

    from models.engines.decoder import Decoder


def language_probabilities(
    model: Whisper, decoder: Decoder, windows: Sequence[Tensor]
) -> list[dict[str, float]]:
    """For each window (T, d), what `whisper.detect_language` gives; the model is multilingual.

    Places and slots of the decoder are overwritten.
    """
    import torch
    from whisper.tokenizer import get_tokenizer

    tokenizer = get_tokenizer(multilingual=True, num_languages=model.num_languages)
    codes, tokens = tokenizer.all_language_codes, list(tokenizer.all_language_tokens)
    together = min(decoder.places, decoder.slots)
    found: list[dict[str, float]] = []
    for first in range(0, len(windows), together):
        some = windows[first : first + together]
        for place, features in enumerate(some):
            decoder.hear(place, features)
        rows = range(len(some))
        logits = decoder.step([tokenizer.sot] * len(some), [0] * len(some), rows)
        with torch.inference_mode():
            shares = logits[:, tokens].softmax(-1).tolist()
        found += [dict(zip(codes, row, strict=True)) for row in shares]
    return found
