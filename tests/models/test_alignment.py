"""Alignment against whisper's own, on speech that the demo model hears."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper import timing
from whisper.decoding import DecodingOptions, decode
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from models import demo
from models.engines import alignment
from models.engines.alignment import (
    _median,
    _together,
    add_word_timestamps,
    find_alignment,
    salience,
)
from models.engines.decode import quiet
from models.engines.decoder import fastest
from models.engines.decoder_modules import ModuleDecoder
from models.engines.spectrum import log_mel
from models.kernels.warping import path
from models.quantise import quantise_layers
from pipeline.types import SAMPLE_RATE_HZ

PLACE, SLOT = 1, 2


class Encoded:
    """Stands in for the model in `whisper.timing`: the sound is encoded already."""

    def __init__(self, model):
        self._model = model

    def __call__(self, features, tokens):
        return self._model.decoder(tokens, features)

    def __getattr__(self, name):
        return getattr(self._model, name)


class Heard:
    """A clip, encoded and decoded."""

    def __init__(self, model, samples, tokenizer):
        mel = log_mel(samples, model.dims.n_mels, model.device)
        self.features = model.encoder(mel[None])[0]
        self.frames = len(samples) * 100 // SAMPLE_RATE_HZ
        self.tokens = decode(model, mel, DecodingOptions(language="en", fp16=False)).tokens
        self.text = [token for token in self.tokens if token < tokenizer.eot]


def demo_model():
    checkpoint = demo.load_checkpoint()
    model = Whisper(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    return model


@pytest.fixture(scope="module")
def model():
    return demo_model()


@pytest.fixture(scope="module")
def tokenizer():
    with quiet():
        return get_tokenizer(multilingual=False)


@pytest.fixture(scope="module")
def heard(model, tokenizer, samples_of):
    samples = [samples_of(clip.path) for clip in demo.clips()[:2]]
    with torch.inference_mode(), quiet():
        return [Heard(model, one, tokenizer) for one in samples]


def aligned(decoder, tokenizer, one):
    decoder.hear([PLACE], [one.features])
    return find_alignment(decoder, SLOT, PLACE, tokenizer, one.text, one.frames)


def test_every_token_has_the_time_that_whisper_gives_it(model, tokenizer, heard):
    decoder = ModuleDecoder(model, 2, 3)
    for one in heard:
        with quiet():
            truth = timing.find_alignment(
                Encoded(model), tokenizer, one.text, one.features, one.frames
            )
        found = aligned(decoder, tokenizer, one)
        assert [(w.word, w.tokens, w.start, w.end) for w in found] == [
            (w.word, w.tokens, w.start, w.end) for w in truth
        ]
        assert [w.probability for w in found] == pytest.approx(
            [w.probability for w in truth], abs=1e-4
        )


def test_so_have_the_words_of_segments(model, tokenizer, heard):
    decoder = ModuleDecoder(model, 2, 3)
    for one in heard:
        decoder.hear([PLACE], [one.features])
        given = {"tokenizer": tokenizer, "num_frames": one.frames, "last_speech_timestamp": 0.0}
        mine, theirs = (
            [{"seek": 0, "start": 0.0, "end": one.frames / 100, "tokens": one.tokens}]
            for _ in range(2)
        )
        with quiet():
            timing.add_word_timestamps(
                segments=theirs, model=Encoded(model), mel=one.features, **given
            )
        add_word_timestamps(decoder, SLOT, PLACE)(segments=mine, model=None, mel=None, **given)
        for word, true_word in zip(mine[0]["words"], theirs[0]["words"], strict=True):
            assert word == pytest.approx(true_word, abs=1e-4)


def test_int8_times_words_nearly_as_float_does(model, tokenizer, heard):
    quantised = demo_model()
    quantise_layers(quantised, "int8")
    decoder, _ = fastest(quantised, 2, 3, 1)
    off_s = []
    for one in heard:
        truth = aligned(ModuleDecoder(model, 2, 3), tokenizer, one)
        found = aligned(decoder, tokenizer, one)
        off_s += [abs(a.start - b.start) for a, b in zip(found, truth, strict=True)]
    assert np.median(off_s) == 0
    assert np.mean(off_s) < 0.02


def test_no_text_has_no_words(model, tokenizer):
    assert find_alignment(ModuleDecoder(model, 1, 1), 0, 0, tokenizer, [], 100) == []


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 5), frames=st.integers(1, 40))
def test_the_median_of_seven_frames_is_whispers(seed, rows, frames):
    x = torch.randn(2, rows, frames, generator=torch.Generator().manual_seed(seed)).mul(2).round()
    assert torch.equal(_median(x), timing.median_filter(x, 7))


def test_all_heads_together_give_what_each_gives_by_itself():
    scores = torch.randn(3, 20, 90, generator=torch.Generator().manual_seed(0)) * 4
    assert torch.equal(_together(scores), torch.cat([_together(head[None]) for head in scores]))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 12),
    frames=st.integers(1, 30),
    decimals=st.sampled_from([0, 1, 6]),
)
def test_time_warping_is_whispers_with_its_ties(seed, rows, frames, decimals):
    x = np.random.default_rng(seed).normal(0, 2, (rows, frames)).round(decimals).astype(np.float32)
    with quiet():
        truth = timing.dtw_cpu(x.astype(float))
    assert np.array_equal(path(x), truth)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 9), frames=st.integers(8, 90))
def test_the_kernel_finds_what_torch_does(seed, rows, frames):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, rows, 100, generator=generator) * 4
    found = salience(scores, frames)
    assert torch.allclose(found, salience_by_torch(scores, frames), atol=1e-4)


@pytest.mark.parametrize("lift", [-2000, 0, 2000])
def test_the_kernel_finds_it_in_a_whole_window_of_any_scores(lift):
    scores = torch.randn(4, 84, 1500, generator=torch.Generator().manual_seed(0)) * 4 + lift
    found = salience(scores, 1500)
    assert torch.allclose(found, salience_by_torch(scores, 1500), atol=1e-4)


def salience_by_torch(scores, frames):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "_kernel", lambda: None)
        return salience(scores, frames)
