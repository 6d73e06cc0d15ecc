"""Finds a model's weights on this machine, or fetches them.

Goes in: what the user calls a model, and the folder of weights. Comes out: a path whose SHA-256 is
OpenAI's, or the user's own file unread. Does not know: what is in a checkpoint.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from warnings import catch_warnings, simplefilter

from models.registry import WHISPERS, WhisperSpec, find
from pipeline.errors import ModelUnavailable, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DEMO = "demo"
DEFAULT = "small"
STALL_S = 30.0  # a server that is silent for so long is gone
_DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EEXIST, errno.EIO),
}


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights are, and what is known of it."""

    name: str
    path: Path | None  # None: the demo model, which has its own loader
    spec: WhisperSpec | None  # None: a user's own file, known when it is read


def is_path(model: str) -> bool:
    """Whether the user means a file: a path separator or the suffix .pt says so."""
    return model.endswith(".pt") or "/" in model or os.sep in model


def canonical(model: str) -> str:
    """The one name of a model: an alias's row, a file's absolute path. Raises BadOption."""
    if is_path(model):
        return os.path.abspath(os.path.expanduser(model))  # noqa: PTH100, PTH111  - never raise
    return find(model).name


def locate(
    model: str,
    weights_dir: Path,
    note: Callable[[str], None],
    table: Mapping[str, str] | None = None,
    stall_s: float = STALL_S,
) -> Weights:
    """The weights of a registry name, an alias, "demo" or a .pt file; downloaded if need be.

    `table` maps names to URLs whose last folder is the file's SHA-256; None: openai-whisper's own.
    Raises BadOption (no such model), ModelUnavailable, StorageFailed.
    """
    if is_path(model):
        return _own_file(Path(canonical(model)))
    spec = find(model)
    if spec.name == DEMO:
        return Weights(DEMO, None, spec)
    url = _published(table)[spec.name]
    path = weights_dir / Path(url).name
    if not _is_intact(path, _sha256_in(url), note):
        _fetch(spec.name, url, path, note, stall_s)
    return Weights(spec.name, path, spec)


def at_hand(weights_dir: Path) -> tuple[str, ...]:
    """The registry's names whose files are in the folder, smallest first; not verified."""
    names = (spec.name for spec in WHISPERS if spec.name != DEMO)
    return tuple(name for name in names if (weights_dir / f"{name}.pt").is_file())


def resolve_default(weights_dir: Path) -> tuple[str, str]:
    """The model for a user who names none, and the reason."""
    names = at_hand(weights_dir)
    if DEFAULT in names:
        return DEFAULT, f"{DEFAULT} is the default"
    if names:
        multilingual = [name for name in names if not name.endswith(".en")]
        largest = (multilingual or names)[-1]
        return largest, f"{DEFAULT} is not on this machine; {largest} is"
    return DEFAULT, f"{DEFAULT} is the default, and no other model is on this machine"


def _own_file(path: Path) -> Weights:
    if not os.path.isfile(path):  # noqa: PTH113  - unlike Path.is_file, it never raises
        what = "is not a file" if os.path.lexists(path) else "is not there"
        raise ModelUnavailable(
            f"The checkpoint {path} {what}; give the path of an OpenAI Whisper .pt file, "
            "or the name of a model, such as --model small."
        )
    return Weights(path.name, path, None)


def _published(table: Mapping[str, str] | None) -> Mapping[str, str]:
    if table is not None:
        return table
    import whisper

    published: Mapping[str, str] = whisper._MODELS  # noqa: SLF001  - its only table
    return published


def _sha256_in(url: str) -> str:
    return url.split("/")[-2]


def _is_intact(path: Path, sha256: str, note: Callable[[str], None]) -> bool:
    """Whether the file is there and is what OpenAI published. Reads all of it."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            intact = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError as error:
        raise ModelUnavailable(
            f"{path} cannot be read ({error}); check its permissions."
        ) from error
    if not intact:
        note(f"{path} is damaged or not OpenAI's (its SHA-256 differs); it will be replaced")
    return intact


def _fetch(name: str, url: str, path: Path, note: Callable[[str], None], stall_s: float) -> None:
    """Download into a folder beside the goal, verify, rename: what is in the folder is whole."""
    import whisper

    note(f"the model {name} is not on this machine; downloading it once into {path.parent}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".download-") as part, _patience(stall_s):
            whisper._download(url, part, in_memory=False)  # noqa: SLF001  - verifies the SHA-256
            (Path(part) / path.name).replace(path)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise StorageFailed(
                f"The model {name} cannot be stored in {path.parent} ({error.strerror}); "
                "make room there or allow writing."
            ) from error
        raise _unavailable(name, path, error) from error
    # TypeError: whisper reads a Content-Length that a login page in between may not send
    except (HTTPException, RuntimeError, TypeError, ValueError) as error:
        raise _unavailable(name, path, error) from error


def _unavailable(name: str, path: Path, error: Exception) -> ModelUnavailable:
    return ModelUnavailable(
        f"The model {name} is not on this machine and could not be downloaded ({error}): connect "
        f"to the internet once, copy {path.name} from another machine into {path.parent}, or give "
        f"--model path/to/{path.name}; to try the program without it, run: transcribe demo "
        "(or use --model demo)."
    )


@contextmanager
def _patience(stall_s: float) -> Iterator[None]:
    """Make up for whisper's download: it waits without limit, and leaves its file to be closed."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(stall_s)
    try:
        with catch_warnings():
            simplefilter("ignore", ResourceWarning)
            yield
    finally:
        socket.setdefaulttimeout(before)
