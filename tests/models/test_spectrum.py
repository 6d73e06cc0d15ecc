"""Our spectrogram is whisper's, of the sound and the silence after it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.audio import N_SAMPLES, log_mel_spectrogram, pad_or_trim

from models import demo
from models.engines.spectrum import BLOCK_FRAMES, _on_device, log_mel, log_mels, together

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


# ── all at once, as on a GPU ─────────────────────────────────────────────────────────────────


def at_once(sounds, n_mels=80):
    return together(_on_device(sounds, CPU), n_mels)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_the_spectra_of_sounds_of_any_length_and_loudness_are_whispers(n_mels):
    lengths = (0, 1, 199, 200, 201, 48_000, N_SAMPLES - 201, N_SAMPLES - 1, N_SAMPLES)
    loudnesses = (0.1, 1e-6, 1.0, 1e-3)
    sounds = [noise(one, i, loudnesses[i % 4]) for i, one in enumerate(lengths)]
    found = at_once(sounds, n_mels)
    assert (found.shape, found.dtype) == ((len(sounds), n_mels, 3000), torch.float32)
    wanted = torch.stack([whispers(samples, n_mels) for samples in sounds])
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.builds(
            noise,
            st.integers(0, N_SAMPLES),
            st.integers(0, 99),
            st.sampled_from([1e-6, 1e-3, 0.1, 1.0]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_all_at_once_or_block_by_block_is_the_same(sounds):
    torch.testing.assert_close(at_once(sounds), log_mels(sounds, 80, CPU), atol=2e-6, rtol=0)


def test_a_loud_or_broken_sound_does_not_disturb_its_neighbours():
    broken = noise(50_000)
    broken[1000] = np.nan
    quiet = noise(48_000, loudness=1e-4)
    found = at_once([noise(48_000, loudness=1.0), quiet, broken])
    torch.testing.assert_close(found[1], at_once([quiet])[0], atol=1e-6, rtol=0)
    assert found[2].isnan().any()


def test_away_from_a_cpu_the_spectra_are_made_there():
    elsewhere = torch.device("meta")
    found = log_mels([noise(5000), noise(9)], 128, elsewhere)
    assert (found.shape, found.device) == ((2, 128, 3000), elsewhere)
    assert log_mel(noise(5000), 80, elsewhere).shape == (80, 3000)


def test_a_processor_goes_block_by_block():
    sounds = [noise(5000), noise(N_SAMPLES)]
    wanted = torch.stack([log_mel(samples, 80, CPU) for samples in sounds])
    assert torch.equal(log_mels(sounds, 80, CPU), wanted)


def test_sound_that_may_only_be_read_is_taken():
    samples = noise(5000)
    samples.flags.writeable = False
    assert log_mel(samples, 80, CPU).shape == (80, 3000)
    assert at_once([samples]).shape == (1, 80, 3000)
