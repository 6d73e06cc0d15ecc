"""The benchmark's random checkpoint says as many tokens as it promises, whatever it hears."""

from __future__ import annotations

import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper

from models.quantise import quantise_layers
from models.registry import Dimensions
from tests.benchmarks.peers.checkpoint import TOKENS, WORDS, scripted

SMALL = Dimensions(80, 64, 2, 2, 51_865, 64, 2, 2)
GREEDY = whisper.DecodingOptions(language="en", fp16=False)
BEGIN = 50_364  # <|0.00|>
# whisper leaves its vocabulary's file open
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture
def model():
    checkpoint = scripted(SMALL)
    model = Whisper(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    return model.eval()


@pytest.fixture
def mels():
    """Silence, noise, and something loud."""
    torch.manual_seed(0)
    return torch.randn(3, 80, 3000) * torch.tensor([0.0, 1.0, 10.0])[:, None, None]


@pytest.mark.parametrize("is_int8", [False, True])
def test_every_window_has_80_tokens_two_of_them_timestamps(model, mels, is_int8):
    if is_int8:
        quantise_layers(model, "int8")
    for heard in whisper.decode(model, mels, GREEDY):
        assert len(heard.tokens) == TOKENS == 80
        assert (heard.tokens[0], heard.tokens[-1]) == (BEGIN, BEGIN + 1500)


def test_every_token_between_is_a_word_of_its_own(model, mels):
    for heard in whisper.decode(model, mels, GREEDY):
        assert len(heard.text.split()) == WORDS
        assert len(set(heard.tokens)) > WORDS / 4


def test_the_same_seed_gives_the_same_weights():
    first, second, other = (scripted(SMALL, seed)["model_state_dict"] for seed in (0, 0, 1))
    name = "decoder.blocks.1.mlp.0.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], other[name])
