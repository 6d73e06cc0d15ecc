"""Our spectrogram is whisper's, of the sound and the silence after it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.audio import N_SAMPLES, log_mel_spectrogram, pad_or_trim

from models import demo
from models.engines.spectrum import BLOCK_FRAMES, log_mel

CPU = torch.device("cpu")
HOP = 160


def whispers(samples, n_mels):
    return log_mel_spectrogram(pad_or_trim(samples.copy()), n_mels)


def noise(length, seed=0, loudness=0.1):
    random = np.random.default_rng(seed)
    return (random.standard_normal(length) * loudness).astype(np.float32)


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize(
    "length",
    [0, 1, 199, 200, 201, HOP * BLOCK_FRAMES, N_SAMPLES - 201, N_SAMPLES - 1, N_SAMPLES],
)
def test_the_spectrogram_is_whispers_however_long_the_sound(length, n_mels):
    samples = noise(length)
    torch.testing.assert_close(
        log_mel(samples, n_mels, CPU), whispers(samples, n_mels), atol=2e-6, rtol=0
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, N_SAMPLES), st.integers(0, 99), st.sampled_from([1e-6, 1e-3, 0.1, 1.0]))
def test_the_spectrogram_is_whispers_however_loud_the_sound(length, seed, loudness):
    samples = noise(length, seed, loudness)
    torch.testing.assert_close(log_mel(samples, 80, CPU), whispers(samples, 80), atol=2e-6, rtol=0)


def test_the_spectrogram_of_speech_is_whispers(samples_of):
    samples = samples_of(demo.EPISODE)[:N_SAMPLES]
    torch.testing.assert_close(log_mel(samples, 80, CPU), whispers(samples, 80), atol=2e-6, rtol=0)


def test_sound_that_may_only_be_read_is_taken():
    samples = noise(5000)
    samples.flags.writeable = False
    assert log_mel(samples, 80, CPU).shape == (80, 3000)
