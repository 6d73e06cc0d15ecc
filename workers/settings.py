"""What the environment says. The only module that reads it.

Goes in: environment variables. Comes out: one frozen value. Does not know: flags, which
win over it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Settings:
    """TRANSCRIBE_* and what stands in for them when they are not set."""

    home: Path  # TRANSCRIBE_HOME: job folders; the platform's user data folder
    weights_dir: Path  # TRANSCRIBE_WEIGHTS: OpenAI's .pt files; where openai-whisper keeps them
    model: str | None  # TRANSCRIBE_MODEL; None: what is on this machine, see models.weights


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process."""
    from platformdirs import user_data_path

    home = environment.get("TRANSCRIBE_HOME") or user_data_path("transcribe")
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    weights = environment.get("TRANSCRIBE_WEIGHTS") or f"{cache}/whisper"
    return Settings(
        home=_absolute(home),
        weights_dir=_absolute(weights),
        model=environment.get("TRANSCRIBE_MODEL") or None,
    )


def _absolute(path: str | Path) -> Path:
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111  - for no user, it never raises
