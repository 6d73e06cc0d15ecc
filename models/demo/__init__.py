"""The demo model: a tiny Whisper of our own, and recordings that it can transcribe.

Goes in: nothing but the files beside this one. Comes out: their paths, the true text and times of
the recordings, and a checkpoint in the form that `torch.load` gives for one of OpenAI's files.
Does not know: engines, windows or jobs. It is never chosen silently; see README.md for what it is,
and `training` for how it was made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_RECORDINGS = _HERE / "recordings"
_CLIP_INDEX = _RECORDINGS / "clips.json"

CHECKPOINT = _HERE / "demo.pt"
EPISODE = _RECORDINGS / "episode.mp3"
EPISODE_REFERENCE = _RECORDINGS / "episode.reference.srt"


@dataclass(frozen=True, slots=True)
class TrueSegment:
    """One sentence of a clip, with the times at which it is really spoken."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A short recording and everything that is said in it."""

    path: Path
    voice: str
    duration_s: float
    segments: tuple[TrueSegment, ...]


def clips() -> tuple[Recording, ...]:
    """The short recordings, in the order of their index."""
    return tuple(_clip(row) for row in json.loads(_CLIP_INDEX.read_text(encoding="utf-8")))


def _clip(row: dict[str, Any]) -> Recording:
    segments = (TrueSegment(**s) for s in row["segments"])
    return Recording(_RECORDINGS / row["file"], row["voice"], row["duration_s"], tuple(segments))


def load_checkpoint() -> dict[str, Any]:
    """`{"dims", "model_state_dict"}`: what `torch.load` gives for an OpenAI `.pt` file."""
    from models.demo.compact import load

    return load(CHECKPOINT)
