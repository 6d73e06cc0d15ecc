"""Endless batches of training windows.

In: the folder of a pool part, a ``Stage`` and a seed. Out: ``Batch``es of spectrograms and scripts.
Does not know: networks or losses.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import whisper
from torch import Tensor

from models.demo.training.mixing import Mixer, Scene
from models.demo.training.pool import Pool
from models.demo.training.script import IGNORED, Script, Writer
from models.demo.training.spectrum import distort
from models.demo.training.speech import RATE_HZ
from models.demo.training.vocabulary import STAMPS_PER_S, Vocabulary

FRAMES_PER_S = STAMPS_PER_S  # of the encoder; a spectrogram has twice as many
CONTEXT_FRAMES = 1500
_SAMPLES_PER_COLUMN = 160
_COLUMNS_PER_S = 100
_LABELS_PER_S = 25  # the encoder's own losses look at pairs of frames


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the curriculum."""

    share: float  # of the training time
    seconds: float  # length of a window
    windows: int  # in one batch
    prompted: float  # share of batches with earlier text


@dataclass(frozen=True, slots=True)
class Window:
    """One example."""

    mel: Tensor
    script: Script
    offset: int  # frames between the encoder's first position and the window's
    limit: int  # pairs of frames whose words are known


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows side by side; the first dimension of every tensor but ``said`` is the window."""

    mel: Tensor
    offset: Tensor
    tokens: Tensor
    labels: Tensor
    spans: Tensor  # start and end of every label in frames, -1 where it has none
    said: Tensor  # text tokens of all windows, end to end
    said_lengths: Tensor
    limits: Tensor


class Windows:
    """Iterates over batches; two with the same seed and pool give the same ones."""

    def __init__(self, part: Path, stage: Stage, seed: int, vocabulary: Vocabulary) -> None:
        self._stage, self._vocabulary = stage, vocabulary
        self._rng = random.Random(f"{seed}-0")
        noise = np.random.default_rng(self._rng.getrandbits(32))
        self._pool = Pool(part)
        self._mixer = Mixer(self._pool, self._rng, noise)
        self._writer = Writer(vocabulary, self._rng)

    def __iter__(self) -> Iterator[Batch]:
        while True:
            prompted = self._rng.random() < self._stage.prompted
            windows = [self._window(prompted=prompted) for _ in range(self._stage.windows)]
            yield collate(windows, self._vocabulary.eot)

    def _window(self, *, prompted: bool) -> Window:
        rng, seconds = self._rng, self._stage.seconds
        # Short windows stand anywhere in the context half of the time, so that every timestamp and
        # position is learnt from the start.
        free = CONTEXT_FRAMES - int(seconds * FRAMES_PER_S)
        offset = rng.randrange(free + 1) if free and rng.random() < 0.5 else 0
        stamps = rng.random() < 0.8
        silent = rng.random() < 0.06
        scene = self._mixer.scene(seconds, keep_cut=stamps)
        if silent or not scene.spoken:
            scene = Scene(np.zeros_like(scene.audio))
        mel = self._spectrogram(scene)
        prompt = list[int]()
        if prompted and rng.random() < 0.85:
            prompt = self._writer.prompt(self._pool.utterances)
        script = self._writer.script(scene, prompt, offset, stamps=stamps)
        known_s = seconds if scene.cut_s is None else scene.cut_s
        return Window(mel, script, offset, int(known_s * _LABELS_PER_S))

    def _spectrogram(self, scene: Scene) -> Tensor:
        """The spoilt sound as Whisper sees it; what follows it may be padded in either way."""
        rng, over = self._rng, scene.over
        audio = self._mixer.spoil(scene.audio)
        if over is not None and rng.random() < 0.5:
            audio[over:], over = 0.0, None
        mel = distort(whisper.log_mel_spectrogram(audio), rng)
        if over is not None:
            mel[:, over // _SAMPLES_PER_COLUMN :] = 0.0
        # Whisper fills the last window of a file with 0.0.
        if scene.cut_s is None and rng.random() < 0.35:
            longest_s = len(audio) / RATE_HZ
            last_s = scene.spoken[-1].end_s if scene.spoken else rng.uniform(0.2, longest_s)
            mel[:, int((last_s + rng.expovariate(1.5)) * _COLUMNS_PER_S) + 2 :] = 0.0
        return mel


def collate(windows: list[Window], padding: int) -> Batch:
    """Windows of one length as a batch; shorter scripts are padded with a token."""
    count, width = len(windows), max(len(window.script.tokens) for window in windows)
    tokens = torch.full((count, width), padding)
    labels = torch.full((count, width), IGNORED)
    spans = torch.full((count, width, 2), -1.0)
    for i, window in enumerate(windows):
        script = window.script
        tokens[i, : len(script.tokens)] = torch.tensor(script.tokens)
        labels[i, : len(script.labels)] = torch.tensor(script.labels)
        for j, span in enumerate(script.spans_s):
            if span is not None:
                spans[i, j] = torch.tensor(span, dtype=torch.float64) * FRAMES_PER_S
    said = [token for window in windows for token in window.script.said]
    return Batch(
        mel=torch.stack([window.mel for window in windows]),
        offset=torch.tensor([window.offset for window in windows]),
        tokens=tokens,
        labels=labels,
        spans=spans,
        said=torch.tensor(said, dtype=torch.long),
        said_lengths=torch.tensor([len(window.script.said) for window in windows]),
        limits=torch.tensor([window.limit for window in windows]),
    )
