"""Reads the pool of utterances that ``synth`` made.

In: the folder of one part. Out: utterances by number, their sound mapped from disk. Does not know:
how they were spoken, or what they are mixed into.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.demo.training.speech import INT16_RANGE, Audio


@dataclass(frozen=True, slots=True)
class Utterance:
    """One spoken sentence: where its samples are, and what it says."""

    sound: npt.NDArray[np.int16]
    text: str

    def audio(self) -> Audio:
        """Its samples, between -1 and 1."""
        return self.sound.astype(np.float32) / INT16_RANGE


class Pool:
    """All utterances of one part, in order, and their numbers by speaker."""

    def __init__(self, folder: Path) -> None:
        self.utterances: list[Utterance] = []
        self.by_speaker: dict[str, list[int]] = defaultdict(list)
        for index in sorted(folder.glob("*.json")):
            sound = np.load(index.with_suffix(".npy"), mmap_mode="r")
            for row in json.loads(index.read_text(encoding="utf-8")):
                # Variants of espeak-ng are speakers; its accents are not.
                self.by_speaker[row["voice"].split("+")[-1]].append(len(self.utterances))
                part = sound[row["offset"] : row["offset"] + row["length"]]
                self.utterances.append(Utterance(part, row["text"]))
        if not self.utterances:
            raise FileNotFoundError(f"no utterances in {folder}")
