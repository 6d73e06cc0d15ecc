"""Lays utterances out in time and spoils them.

In: a ``Pool``, random generators and a length. Out: ``Scene``s: sound, and who says what when. Does
not know: tokens or spectrograms.

Two kinds of window are laid out: a stretch of a long recording, and a slice that a voice detector
cut in pauses, after which only padding follows.
"""

import random
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from models.demo.training.pool import Pool
from models.demo.training.speech import RATE_HZ, Audio

_SLICES = 0.35  # share of windows that are slices
_SLICE_SENTENCES = (1, 1, 2, 2, 3, 4, 5, 7)
_SPEAKERS = (1, 1, 2, 2, 3)
_SPEAKER_POWER = 0.8  # a speaker with n utterances is drawn in proportion to n to this power
_SHORTEST_CUT = 800  # samples of a cut sentence that can be told from noise
_NOISE_S = 40
_NOISE_POWERS = (0.0, 0.0, 0.5, 0.5, 1.0)  # white, pink and brown
GAIN_DB = (-30, 6)
SNR_DB = (10, 40)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence and its times in the window."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Scene:
    """The sound of a window and everything said in it."""

    audio: Audio
    spoken: tuple[Spoken, ...] = ()
    cut_s: float | None = None  # where a sentence starts that the window's end cuts off
    over: int | None = None  # samples after which a slice is padding


class Mixer:
    """Draws scenes from a pool."""

    def __init__(self, pool: Pool, rng: random.Random, noise: np.random.Generator) -> None:
        self._pool, self._rng, self._noise = pool, rng, noise
        self._banks = [self._coloured(power) for power in _NOISE_POWERS]
        self._speakers = list(pool.by_speaker)
        self._weights = [len(ids) ** _SPEAKER_POWER for ids in pool.by_speaker.values()]

    def scene(self, seconds: float, *, keep_cut: bool) -> Scene:
        """Utterances of one to three speakers, with pauses."""
        rng, total = self._rng, int(seconds * RATE_HZ)
        audio = np.zeros(total, np.float32)
        is_slice = rng.random() < _SLICES
        wanted = rng.choice(_SLICE_SENTENCES) if is_slice else total
        at = self._lead(seconds, is_slice=is_slice)
        ids = self._cast()
        if not is_slice and rng.random() < 0.25:
            at = self._add_tail(audio, ids, at)
        stop = total if is_slice or rng.random() < 0.8 else rng.uniform(0.2, 0.9) * total
        slow = rng.random() < 0.3
        spoken: list[Spoken] = []
        while at < stop and len(spoken) < wanted:
            clip, text = self._clip(ids)
            end = at + len(clip)
            if end > total:
                if keep_cut and spoken and total - at > _SHORTEST_CUT:
                    audio[at:] += clip[: total - at]
                    return Scene(audio, tuple(spoken), at / RATE_HZ)
                break
            audio[at:end] += clip
            spoken.append(Spoken(text, at / RATE_HZ, end / RATE_HZ))
            at = end + self._gap(slow=slow)
        if not is_slice or not spoken:
            return Scene(audio, tuple(spoken))
        over = min(total, int((spoken[-1].end_s + rng.uniform(0, 0.6)) * RATE_HZ))
        return Scene(audio, tuple(spoken), over=over)

    def spoil(self, audio: Audio) -> Audio:
        """Reverberation, a narrow band, noise and another level, each by chance."""
        rng = self._rng
        level = float(np.sqrt((audio**2).mean() * 2)) or 0.05
        if rng.random() < 0.12:
            audio = self._reverberate(audio)
        if rng.random() < 0.12:
            band_hz = (rng.uniform(60, 300), rng.uniform(3000, 7000))
            filters = butter(2, band_hz, "bandpass", fs=RATE_HZ, output="sos")
            audio = sosfilt(filters, audio).astype(np.float32)
        if rng.random() < 0.65:
            bank = rng.choice(self._banks)
            start = rng.randrange(len(bank) - len(audio))
            noise = bank[start : start + len(audio)]
            audio = audio + noise * level * 10 ** (-rng.uniform(*SNR_DB) / 20)
        audio = audio * 10 ** (rng.uniform(*GAIN_DB) / 20)
        return np.clip(audio, -1, 1).astype(np.float32)

    def _lead(self, seconds: float, *, is_slice: bool) -> int:
        """Samples before the first sentence; a slice starts soon."""
        rng = self._rng
        kind = rng.random() * (0.6 if is_slice else 1)
        span_s = (0, 0.3) if kind < 0.5 else (0.3, 1.0) if kind < 0.8 else (1, 8)
        return int(min(rng.uniform(*span_s), max(0.5, seconds - 4)) * RATE_HZ)

    def _cast(self) -> list[int]:
        """The utterances of a few speakers."""
        count = self._rng.choice(_SPEAKERS)
        chosen = self._rng.choices(self._speakers, self._weights, k=count)
        return [i for speaker in chosen for i in self._pool.by_speaker[speaker]]

    def _add_tail(self, audio: Audio, ids: list[int], at: int) -> int:
        """Begin with the last sounds of a sentence that ended before the window."""
        utterance = self._pool.utterances[self._rng.choice(ids)]
        tail = utterance.audio()[-self._rng.randint(200, 2000) :]
        audio[: len(tail)] += tail
        return max(at, len(tail) + int(0.15 * RATE_HZ))

    def _clip(self, ids: list[int]) -> tuple[Audio, str]:
        """An utterance at its own level, sometimes faster and higher, or slower and lower."""
        rng = self._rng
        utterance = self._pool.utterances[rng.choice(ids)]
        clip = utterance.audio()
        if rng.random() < 0.4:
            size = int(len(clip) * rng.uniform(0.88, 1.14))
            places = np.linspace(0, len(clip) - 1, size)
            clip = np.interp(places, np.arange(len(clip)), clip).astype(np.float32)
        return clip * np.float32(10 ** (rng.uniform(-4, 4) / 20)), utterance.text

    def _gap(self, *, slow: bool) -> int:
        """Samples of pause between sentences."""
        kind = self._rng.random() * (1.0 if slow else 0.6)
        span_s = (0.15, 0.8) if kind < 0.45 else (0.8, 2) if kind < 0.85 else (2, 4)
        return int(self._rng.uniform(*span_s) * RATE_HZ)

    def _coloured(self, power: float) -> Audio:
        """Noise of level 1 whose spectrum falls with the frequency to a power."""
        spectrum = np.fft.rfft(self._noise.standard_normal(_NOISE_S * RATE_HZ))
        lowest = 20 * _NOISE_S  # below 20 Hz it falls no further
        spectrum /= np.maximum(np.arange(len(spectrum)), lowest) ** power
        sound: Audio = np.fft.irfft(spectrum).astype(np.float32)
        return sound / np.float32(sound.std())

    def _reverberate(self, audio: Audio) -> Audio:
        size = int(self._rng.uniform(0.05, 0.3) * RATE_HZ)
        decay = np.exp(-6 * np.arange(size) / size)
        response = self._noise.standard_normal(size) * decay * self._rng.uniform(0.02, 0.12)
        response[0] = 1.0
        wet: Audio = fftconvolve(audio, response.astype(np.float32))[: len(audio)]
        return wet
