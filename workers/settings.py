"""What the environment says. The only module that reads it.

Goes in: environment variables. Comes out: one frozen value. Does not know: flags, which
win over it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import BadOption

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_NO = ("", "0", "false", "no", "off")
_YES = ("1", "true", "yes", "on")
# This machine, private networks, and those that providers and VPNs make of them (RFC 1918, 4193,
# 6598). Not what is local to a link: there a cloud tells its machines their secrets.
_PRIVATE = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"),
    *("::1/128", "fc00::/7"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """TRANSCRIBE_* and what stands in for them when they are not set."""

    home: Path  # TRANSCRIBE_HOME: job folders; the platform's user data folder
    weights_dir: Path  # TRANSCRIBE_WEIGHTS: OpenAI's .pt files; where openai-whisper keeps them
    model: str | None  # TRANSCRIBE_MODEL; None: what fits this machine, see models.choose
    mirror: str | None  # TRANSCRIBE_MODEL_URL: a server of one's own that has OpenAI's files
    offline: bool  # TRANSCRIBE_OFFLINE: 1 forbids all downloads
    own_networks: tuple[str, ...]  # TRANSCRIBE_OWN_NETWORKS: where media may come from, too
    redis_url: str | None  # TRANSCRIBE_REDIS_URL
    webhook_secret: str | None  # TRANSCRIBE_WEBHOOK_SECRET: signs what `watch --webhook` sends
    llm: str | None  # TRANSCRIBE_LLM: a server's URL or a GGUF file
    llm_key: str | None  # TRANSCRIBE_LLM_KEY: for a server that wants one
    llm_patience_s: float | None  # TRANSCRIBE_LLM_PATIENCE: for one answer; None: two hours
    visible_gpus: str | None  # CUDA_VISIBLE_DEVICES: which GPUs torch will see


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this process. Raises BadOption."""
    from platformdirs import user_data_path

    home = environment.get("TRANSCRIBE_HOME") or user_data_path("transcribe")
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    weights = environment.get("TRANSCRIBE_WEIGHTS") or f"{cache}/whisper"
    return Settings(
        home=_absolute(home),
        weights_dir=_absolute(weights),
        model=environment.get("TRANSCRIBE_MODEL") or None,
        mirror=environment.get("TRANSCRIBE_MODEL_URL") or None,
        offline=environment.get("TRANSCRIBE_OFFLINE", "").lower() not in _NO,
        own_networks=_networks(environment.get("TRANSCRIBE_OWN_NETWORKS", "")),
        redis_url=environment.get("TRANSCRIBE_REDIS_URL") or None,
        webhook_secret=environment.get("TRANSCRIBE_WEBHOOK_SECRET") or None,
        llm=environment.get("TRANSCRIBE_LLM") or None,
        llm_key=environment.get("TRANSCRIBE_LLM_KEY") or None,
        llm_patience_s=_seconds(
            "TRANSCRIBE_LLM_PATIENCE", environment.get("TRANSCRIBE_LLM_PATIENCE")
        ),
        visible_gpus=environment.get("CUDA_VISIBLE_DEVICES"),
    )


def _seconds(name: str, text: str | None) -> float | None:
    """So many, if any are given. Raises BadOption."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise BadOption(f"{name}={text}: give a number of seconds, such as 600.")
    return value


def _networks(text: str) -> tuple[str, ...]:
    """Those that are named; `yes` means all that are private."""
    if text.strip().lower() in _YES:
        return _PRIVATE
    parts = (part.strip() for part in text.split(","))
    return tuple(part for part in parts if part.lower() not in _NO)


def order_gpus(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let torch, once it is loaded, count GPUs as NVML does; nothing a user has set is changed."""
    environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def _absolute(path: str | Path) -> Path:
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111  - for no user, it never raises
