"""Finds a language model's file on this machine, or fetches it.

Goes in: what the user calls a model, and the folder of weights. Comes out: a path; its SHA-256 is
the published one, or the first that was ever seen. Does not know: what is in the file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from models.fetch import RemoteFile, fetch
from pipeline.errors import ModelUnavailable

if TYPE_CHECKING:
    from models.fetch import FetchOptions, Note, Progress
    from models.llms import GgufFile, LlmSpec

_SHA256 = re.compile("[0-9a-f]{64}")


def is_path(where: str) -> bool:
    """Whether the user means a file: a path separator or the suffix .gguf says so."""
    return where.endswith(".gguf") or "/" in where or os.sep in where


def own_path(where: str) -> Path:
    """The user's own file. Raises ModelUnavailable."""
    path = Path(os.path.abspath(os.path.expanduser(where)))  # noqa: PTH100, PTH111  - never raise
    if not os.path.isfile(path):  # noqa: PTH113  - unlike Path.is_file, it never raises
        what = "is not a file" if os.path.lexists(path) else "is not there, or may not be looked at"
        raise ModelUnavailable(
            f"The language model {path} {what}; give the path of a GGUF file, the name of a model, "
            "such as --llm qwen3-4b, or --llm none."
        )
    return path


def path_here(file: GgufFile, folder: Path) -> Path | None:
    """Where a published file is, if it is here; not verified."""
    path = folder / file.file_name
    return path if os.path.isfile(path) else None  # noqa: PTH113  - never raises


def brought(
    spec: LlmSpec,
    file: GgufFile,
    folder: Path,
    options: FetchOptions,
    note: Note,
    progress: Progress,
) -> Path:
    """A published file, downloaded if need be, and verified.

    Where the table has no SHA-256, the one that the Hub tells before the first download is taken,
    else the one of what came; from then on it is pinned beside the file. Raises ModelUnavailable,
    StorageFailed.
    """
    pin = folder / f"{file.file_name}.sha256"
    sha256 = file.sha256 or _pinned(pin)
    if sha256 is None and not options.offline:
        sha256 = _published(spec.url(file), options)
    remote = RemoteFile(spec.name, spec.url(file), sha256, file.file_bytes, file.file_name)
    try:
        found = fetch(remote, folder, options, note, progress)
    except ModelUnavailable as error:
        what = str(error).partition(", or copy ")[0]  # what follows is advice for Whisper's files
        raise ModelUnavailable(
            f"{what}, or copy {file.file_name} into {folder} from another machine, or give --llm "
            "a GGUF file, a server's address, or none."
        ) from error
    if file.sha256 is None and _pinned(pin) is None:
        pin.write_text(f"{found.sha256}  {file.file_name}\n")  # as sha256sum writes it, and checks
    return found.path


def _pinned(pin: Path) -> str | None:
    try:
        known = _SHA256.match(pin.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known[0] if known else None


def _published(url: str, options: FetchOptions) -> str | None:
    """What the Hub says of a large file before it sends us on to it (huggingface_hub reads it)."""
    import requests

    if options.mirror is not None:
        return None
    try:
        reply = requests.head(url, allow_redirects=False, timeout=options.stall_s)
    except (requests.RequestException, ValueError):
        return None  # the download will tell what is wrong
    said = _SHA256.fullmatch(reply.headers.get("X-Linked-Etag", "").strip('"'))
    return said[0] if said else None
