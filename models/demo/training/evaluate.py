"""Measures a checkpoint with plain ``whisper.transcribe``.

In: a compact checkpoint, a pool and the bundled recordings. Out: ``Row``s of figures. Does not
know: how the checkpoint was trained, or any other engine.

Recordings of held-out sentences are laid out from the pool's "seen" (voices heard in training) and
"unseen" (held-out voices) parts, 10 sentences each.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
from whisper.model import ModelDimensions, Whisper

from models.demo import EPISODE, EPISODE_REFERENCE, TrueSegment, clips, compact
from models.demo.training.int8 import imitate_int8
from models.demo.training.measure import Figures, Segments, figures
from models.demo.training.pool import Pool
from models.demo.training.speech import RATE_HZ, Audio

_PER_RECORDING = 10
_LAYOUT_SEED, _QUIET_SEED = 3, 5
_PAUSES_S = (0.25, 0.5, 0.8, 1.2, 2.5)
_NOISE_DB = 15
_QUIETER = 0.3
_SILENCES = 40
_SILENCE_LEVELS = (0.0, 1e-4, 1e-3, 1e-2, 5e-2)


@dataclass(frozen=True, slots=True)
class Recording:
    """Sound, and what is said in it."""

    audio: Audio
    truth: Segments


@dataclass(frozen=True, slots=True)
class Condition:
    """A way of measuring a set of recordings."""

    name: str
    change: Callable[[Recording, int], Iterator[Recording]]
    prompted: bool = False  # with previous text, as Whisper does by default
    int8: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one set of recordings under one condition."""

    recordings: str
    condition: str
    figures: Figures


def _as_is(recording: Recording, _number: int) -> Iterator[Recording]:
    yield recording


def _quieter(recording: Recording, _number: int) -> Iterator[Recording]:
    yield Recording(recording.audio * np.float32(_QUIETER), recording.truth)


def _noisy(recording: Recording, number: int) -> Iterator[Recording]:
    """White noise, relative to the speech, which is about two thirds of the time."""
    audio = recording.audio
    level = np.sqrt((audio**2).mean() * 1.5) * 10 ** (-_NOISE_DB / 20)
    noise = np.random.default_rng(number).standard_normal(len(audio))
    yield Recording((audio + level * noise).astype(np.float32), recording.truth)


def _sliced(recording: Recording, number: int) -> Iterator[Recording]:
    """Slices of one to five sentences, cut in the pauses as a voice detector would."""
    rng = random.Random(number)
    truth, first = recording.truth, 0
    while first < len(truth):
        group = truth[first : first + rng.randint(1, 5)]
        first += len(group)
        start_s = max(0.0, group[0].start_s - rng.uniform(0.03, 0.12))
        end_s = group[-1].end_s + rng.uniform(0.03, 0.12)
        audio = recording.audio[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)]
        moved = [TrueSegment(s.start_s - start_s, s.end_s - start_s, s.text) for s in group]
        yield Recording(audio, moved)


PLAIN = Condition("without previous text", _as_is)
CONDITIONS = (
    PLAIN,
    Condition("int8", _as_is, int8=True),
    Condition("sliced in pauses", _sliced),
    Condition(f"volume {_QUIETER}", _quieter),
    Condition(f"noise at {_NOISE_DB} dB", _noisy),
    Condition("with previous text", _as_is, prompted=True),
)


def evaluate(checkpoint: Path, pool: Path, sentences: int | None = None) -> Iterator[Row]:
    """All figures, as they come; of the pool's parts, only so many sentences if told."""
    models = {int8: load(checkpoint, int8=int8) for int8 in (False, True)}
    sets = {
        "seen voices": list(recordings_of(pool / "seen", sentences)),
        "unseen voices": list(recordings_of(pool / "unseen", sentences)),
        "episode": [Recording(whisper.load_audio(str(EPISODE)), read_srt(EPISODE_REFERENCE))],
        "clips": [Recording(whisper.load_audio(str(c.path)), c.segments) for c in clips()],
    }
    for condition in CONDITIONS:
        for name, recordings in sets.items():
            changed = [new for i, old in enumerate(recordings) for new in condition.change(old, i)]
            model = models[condition.int8]
            runs = [
                (r.truth, transcribe(model, r.audio, prompted=condition.prompted)) for r in changed
            ]
            yield Row(name, condition.name, figures(runs))


def load(checkpoint: Path, *, int8: bool) -> Whisper:
    """The model of a compact checkpoint, in float32, or as its int8 version would compute."""
    full = compact.load(checkpoint)
    model = Whisper(ModelDimensions(**full["dims"]))
    model.load_state_dict(full["model_state_dict"])
    if int8:
        imitate_int8(model)
    return model.float().eval()


def transcribe(model: Whisper, audio: Audio, *, prompted: bool) -> Segments:
    """What Whisper writes, with its default options otherwise."""
    with torch.inference_mode():
        result: dict[str, Any] = whisper.transcribe(
            model, audio, fp16=False, verbose=None, condition_on_previous_text=prompted
        )
    found = [TrueSegment(s["start"], s["end"], s["text"].strip()) for s in result["segments"]]
    return [segment for segment in found if segment.text]


def texts_in_silence(checkpoint: Path, count: int = _SILENCES) -> list[str]:
    """What is written where nobody speaks: 3 to 45 s of silence, white or brown noise."""
    model = load(checkpoint, int8=False)
    rng, texts = np.random.default_rng(_QUIET_SEED), []
    for i in range(count):
        noise = rng.standard_normal(int(RATE_HZ * rng.uniform(3, 45)))
        if i % 4 == 3:
            noise = np.cumsum(noise) / 100
        audio = (noise * _SILENCE_LEVELS[i % len(_SILENCE_LEVELS)]).astype(np.float32)
        segments = transcribe(model, audio, prompted=False)
        texts.append(" ".join(segment.text for segment in segments))
    return [text for text in texts if text]


def read_srt(path: Path) -> Segments:
    """The cues of a simple SRT file, one line each."""
    cues = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        _, times, text = block.split("\n", 2)
        h, m, s, ms, h2, m2, s2, ms2 = (int(digits) for digits in re.findall(r"\d+", times))
        start_s = h * 3600 + m * 60 + s + ms / 1000
        cues.append(TrueSegment(start_s, h2 * 3600 + m2 * 60 + s2 + ms2 / 1000, text.strip()))
    return cues


def recordings_of(part: Path, sentences: int | None = None) -> Iterator[Recording]:
    """Sentences of a part of the pool, ten to a recording, with pauses."""
    rng, pool = random.Random(_LAYOUT_SEED), Pool(part)
    chosen: Sequence[Any] = pool.utterances[:sentences]
    for first in range(0, len(chosen), _PER_RECORDING):
        pieces = [np.zeros(int(rng.uniform(0.0, 0.9) * RATE_HZ), np.float32)]
        truth = []
        for utterance in chosen[first : first + _PER_RECORDING]:
            clip = utterance.audio()
            start_s = sum(map(len, pieces)) / RATE_HZ
            truth.append(TrueSegment(start_s, start_s + len(clip) / RATE_HZ, utterance.text))
            pause = np.zeros(int(rng.choice(_PAUSES_S) * RATE_HZ), np.float32)
            pieces += [clip, pause]
        yield Recording(np.concatenate(pieces), truth)
