"""Finds a model's weights on this machine, or fetches them.

Goes in: what the user calls a model, and the folder of weights. Comes out: a path whose SHA-256 is
OpenAI's, or the user's own file unread. Does not know: what is in a checkpoint.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.digest import stamp_of
from models.fetch import RemoteFile, fetch, import_from
from models.part import open_part, part_of
from models.registry import WHISPERS, WhisperSpec, find
from pipeline.errors import BadOption, Busy, ModelUnavailable, StorageFailed

if TYPE_CHECKING:
    from models.fetch import FetchOptions, Note, Progress

AUTO = "auto"  # whichever model fits the machine; not a model itself
DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights are, and what is known of it."""

    name: str
    path: Path | None  # None: the demo model, which has its own loader
    spec: WhisperSpec | None  # None: a user's own file, known when it is read
    sha256: str | None = None  # OpenAI's, and the file's; None: not published


def is_path(model: str) -> bool:
    """Whether the user means a file: a path separator or the suffix .pt or .bin says so."""
    return model.endswith((".pt", ".bin")) or "/" in model or os.sep in model


def is_whisper_cpp(model: str) -> bool:
    """Whether the user means a file of whisper.cpp's: they end in .bin."""
    return model.endswith(".bin")


def canonical(model: str) -> str:
    """The one name of a model: an alias's row, a file's absolute path. Raises BadOption."""
    if is_path(model):
        return os.path.abspath(os.path.expanduser(model))  # noqa: PTH100, PTH111  - never raise
    return AUTO if model == AUTO else find(model).name


def published_row(model: str) -> WhisperSpec:
    """The row of a model that is downloaded and removed by its name. Raises BadOption."""
    if is_path(model):
        raise BadOption(f"{model} is a file of your own: copy or remove it yourself.")
    return find(model)


def locate(
    model: str, weights_dir: Path, options: FetchOptions, note: Note, progress: Progress
) -> Weights:
    """The weights of a registry name, an alias, "demo" or a file; downloaded if need be.

    Raises BadOption (no such model), ModelUnavailable, StorageFailed.
    """
    if is_path(model):
        path = own_path(model)
        return Weights(path.name, path, None)
    spec = find(model)
    if spec.name == DEMO:
        return Weights(DEMO, None, spec)
    return published(spec, weights_dir, options, note, progress)


def published(
    spec: WhisperSpec, weights_dir: Path, options: FetchOptions, note: Note, progress: Progress
) -> Weights:
    """The weights of a row; downloaded if need be.

    Raises BadOption (the demo is not published), ModelUnavailable, StorageFailed.
    """
    found = fetch(_remote(spec), weights_dir, options, note, progress)
    return Weights(spec.name, found.path, spec, found.sha256)


def imported(
    spec: WhisperSpec, source: Path, weights_dir: Path, note: Note, progress: Progress
) -> Weights:
    """The weights of a row; copied, if need be, from a file or from the folder that it is in.

    Raises BadOption (the demo is not published), ModelUnavailable, StorageFailed.
    """
    found = import_from(_remote(spec), source, weights_dir, note, progress)
    return Weights(spec.name, found.path, spec, found.sha256)


def at_hand(weights_dir: Path) -> tuple[str, ...]:
    """The registry's names whose files are in the folder, smallest first; not verified."""
    return tuple(
        spec.name
        for spec in WHISPERS
        if spec.name != DEMO and os.path.isfile(weights_dir / spec.file_name)  # noqa: PTH113  - never raises
    )


def remove(model: str, weights_dir: Path) -> int:
    """Remove a published model's file and what has arrived of it; the bytes that this frees.

    Raises BadOption, ModelUnavailable (nothing there), Busy, StorageFailed.
    """
    wanted = _remote(published_row(model))
    target = weights_dir / wanted.file_name
    if not (os.path.lexists(target) or os.path.lexists(part_of(target))):
        raise ModelUnavailable(
            f"There is no {wanted.file_name} in {weights_dir}: nothing was removed; "
            "transcribe models says what is there."
        )

    def refuse() -> None:
        raise Busy(f"{wanted.name} is being fetched by another process: stop that first.")

    try:
        with open_part(target, refuse) as part:
            freed_bytes = part.size_bytes
            part.restart()
            return freed_bytes + _unlink(target) + _unlink(stamp_of(target))
    except OSError as error:
        raise StorageFailed(
            f"{target} cannot be removed ({error.strerror or error}): allow writing in its folder."
        ) from error


def own_path(model: str) -> Path:
    """The user's own file. Raises ModelUnavailable."""
    path = Path(canonical(model))
    try:
        path.stat()
    except PermissionError as error:
        raise ModelUnavailable(
            f"The checkpoint {path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    except (OSError, ValueError):
        pass  # told below
    if not os.path.isfile(path):  # noqa: PTH113  - unlike Path.is_file, it never raises
        what = "is not a file" if os.path.lexists(path) else "is not there"
        raise ModelUnavailable(
            f"The checkpoint {path} {what}; give the path of an OpenAI Whisper .pt file or of a "
            "whisper.cpp .bin file, or the name of a model, such as --model small."
        )
    return path


def _remote(spec: WhisperSpec) -> RemoteFile:
    if spec.name == DEMO:
        raise BadOption("The demo model is a part of this program: it is always here.")
    return RemoteFile(spec.name, spec.url, spec.sha256, spec.file_bytes, spec.file_name)


def _unlink(path: Path) -> int:
    """Remove a file, if it is there; its bytes."""
    try:
        size_bytes = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size_bytes
