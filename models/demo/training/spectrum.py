"""Distorts log-mel spectrograms.

In: a spectrogram of 80 bands and a random generator. Out: the same of another vocal tract, through
another equaliser, with bands and moments masked. Does not know: what is said in it.
"""

import math
import random
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BANDS = 80
_TOP_HZ = 8000.0
_TRACTS = (0.88, 1.14)  # factors on all frequencies
_EQUALISER = 0.12  # of Whisper's log-mel units, which are 40 dB: about 5 dB for each of three waves
_WIDEST_BAND, _LONGEST_MOMENT = 9, 10  # bands, and frames of 10 ms
# Slaney's mel scale: linear up to 1 kHz, logarithmic above.
_KNEE_HZ, _KNEE_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200 / 3
_MELS_PER_E = 27 / math.log(6.4)

Floats = npt.NDArray[np.float64]


def distort(mel: Tensor, rng: random.Random) -> Tensor:
    """A spectrogram, changed in zero to four ways; it may be changed in place."""
    if rng.random() < 0.5:
        mel = tract_map(round(100 * rng.uniform(*_TRACTS))) @ mel
    if rng.random() < 0.4:
        mel = mel + _equaliser(rng)[:, None]
    blank = mel.mean()
    if rng.random() < 0.4:
        for _ in range(rng.randint(1, 2)):
            low = rng.randrange(BANDS - 10)
            mel[low : low + rng.randint(2, _WIDEST_BAND)] = blank
    if rng.random() < 0.3:
        frames = mel.shape[1]
        for _ in range(rng.randint(1, max(2, frames // 500))):
            start = rng.randrange(frames - 12)
            mel[:, start : start + rng.randint(3, _LONGEST_MOMENT)] = blank
    return mel


@lru_cache(maxsize=200)
def tract_map(percent: int) -> Tensor:
    """The linear map of bands that scales all frequencies by a percentage."""
    top = _mels(np.array(_TOP_HZ))
    centres_hz = _hertz(np.arange(1, BANDS + 1) * top / (BANDS + 1))
    place = np.clip(_mels(centres_hz * percent / 100) * (BANDS + 1) / top - 1, 0, BANDS - 1)
    low = np.minimum(place.astype(int), BANDS - 2)
    out = np.zeros((BANDS, BANDS), np.float32)
    out[np.arange(BANDS), low] = 1 - (place - low)
    out[np.arange(BANDS), low + 1] = place - low
    return torch.from_numpy(out)


def _equaliser(rng: random.Random) -> Tensor:
    across = torch.linspace(0, math.pi, BANDS)
    curve = torch.zeros(BANDS)
    for waves in (1, 2, 3):
        height = rng.uniform(-_EQUALISER, _EQUALISER)
        curve = curve + height * torch.cos(waves * across + rng.uniform(0, 6.3))
    return curve


def _mels(hertz: Floats) -> Floats:
    above = _KNEE_MEL + np.log(np.maximum(hertz, 1e-3) / _KNEE_HZ) * _MELS_PER_E
    return np.where(hertz < _KNEE_HZ, hertz / _HZ_PER_MEL, above)


def _hertz(mels: Floats) -> Floats:
    above = _KNEE_HZ * np.exp((mels - _KNEE_MEL) / _MELS_PER_E)
    return np.where(mels < _KNEE_MEL, mels * _HZ_PER_MEL, above)
