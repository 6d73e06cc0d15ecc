"""Languages against whisper's own detection, with a small random model."""

from __future__ import annotations

import pytest
import torch
from whisper.decoding import detect_language
from whisper.model import ModelDimensions, Whisper

from models.engines.decode import quiet
from models.engines.decoder_modules import ModuleDecoder
from models.engines.languages import probabilities


@pytest.mark.parametrize("vocabulary", [51865, 51866])
def test_windows_get_the_probabilities_that_whisper_gives_to_each(vocabulary):
    torch.manual_seed(3)
    model = Whisper(ModelDimensions(80, 1500, 64, 1, 1, vocabulary, 16, 64, 1, 2))
    torch.nn.init.normal_(model.decoder.positional_embedding)
    windows = torch.randn(5, 1500, 64)
    with quiet():
        truth = detect_language(model, windows)[1]
        decoder = ModuleDecoder(model, 2, 3)
        found = [probabilities(model, decoder, 1, 2, one) for one in windows]
    for mine, theirs in zip(found, truth, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
        assert sum(mine.values()) == pytest.approx(1)
    assert found[0] != found[1]
