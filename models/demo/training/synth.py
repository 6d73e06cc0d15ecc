"""Synthesises the pool of utterances.

In: a folder and the number of training chunks. Out: in it, for each chunk, ``NNNN.npy`` (int16
samples of all utterances, end to end) and ``NNNN.json`` (what was said where). Does not know: what
the pool is used for.

A chunk is a function of its part and number alone, so a pool can be grown or shared between
processes. Parts: "train" (training sentences, training voices), "seen" (held-out sentences, voices
heard in training) and "unseen" (held-out sentences, held-out voices).
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from models.demo.training import grammar, voices
from models.demo.training.speech import FULL_SCALE, Line, speak, transcode

UTTERANCES = 250  # in one chunk
SEED = 1
# Half of the training chunks go through a codec.
_CODECS = (None, None, None, "mp3", "ogg", "m4a")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One file of utterances, made or yet to be made."""

    folder: Path
    part: str
    number: int

    @property
    def index(self) -> Path:
        """Where it says what was said; written last."""
        return self.folder / self.part / f"{self.number:04d}.json"

    @property
    def sound(self) -> Path:
        """Where the samples are."""
        return self.index.with_suffix(".npy")


def make_pool(folder: Path, chunks: int, jobs: int) -> Iterator[int]:
    """Make what is missing of a pool; yields the number of chunks that are done."""
    wanted = [Chunk(folder, part, 0) for part in ("seen", "unseen")]
    wanted += [Chunk(folder, "train", number) for number in range(chunks)]
    for part in ("train", "seen", "unseen"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    missing = [chunk for chunk in wanted if not chunk.index.exists()]
    with Pool(jobs) as workers:
        for done, _ in enumerate(workers.imap_unordered(_make, missing), 1):
            yield len(wanted) - len(missing) + done


def _make(chunk: Chunk) -> None:
    rng = random.Random(f"{SEED}-{chunk.part}-{chunk.number}")
    lines = _lines(chunk.part, rng)
    clips = speak(lines)
    audio = np.concatenate(clips)
    codec = rng.choice(_CODECS) if chunk.part == "train" else None
    if codec:
        audio = transcode(audio, codec)
    rows, offset = [], 0
    for line, clip in zip(lines, clips, strict=True):
        place = {"offset": offset, "length": len(clip)}
        rows.append({"text": line.text, "voice": str(line.voice), **place, "codec": codec})
        offset += len(clip)
    np.save(chunk.sound, (audio * FULL_SCALE).astype(np.int16))
    chunk.index.write_text(json.dumps(rows, indent=0), encoding="utf-8")


def _lines(part: str, rng: random.Random) -> list[Line]:
    training = part == "train"
    texts = [grammar.sample(rng, "train" if training else "test") for _ in range(UTTERANCES)]
    cast = voices.TRAINING_CAST if training else voices.SEEN_CAST
    speakers = [rng.choice(voices.HELD_OUT) if part == "unseen" else cast.draw(rng) for _ in texts]
    manner = voices.wide_manner if training else voices.plain_manner
    # Festival's manners are drawn first, as its sentences are spoken first.
    order = sorted(range(UTTERANCES), key=lambda i: speakers[i].engine != "festival")
    manners = {i: manner(speakers[i], rng) for i in order}
    return [Line(texts[i], speakers[i], manners[i]) for i in range(UTTERANCES)]
