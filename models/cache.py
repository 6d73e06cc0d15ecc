"""Keeps quantised weights: made once, then mapped by every process that wants them.

Goes in: which model and precision, and tensors one by one. Comes out: the same tensors as views of
a file. Does not know: how they are made, or what is calculated with them.

    <weights folder>/quantised/small-int8-v1-9ecf779972d90ba4.safetensors

A file is trusted if its header holds exactly what was asked for. It appears under its name when it
is whole, and nobody writes into it afterwards.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from models import quantise
from pipeline.errors import StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from models.registry import WhisperSpec
    from pipeline.types import Quantisation

    Tensors = Iterator[tuple[str, Tensor]]

_FOLDER = "quantised"
_ALIGNMENT_BYTES = 64  # a cache line, and the widest vector


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of quantised weights, and what its header has to say."""

    path: Path
    model: str
    scheme: str
    source_sha256: str
    dims: str  # JSON

    @property
    def manifest(self) -> dict[str, str]:
        """As safetensors keeps it: text only."""
        return {
            "model": self.model,
            "scheme": self.scheme,
            "source_sha256": self.source_sha256,
            "dims": self.dims,
        }


class _Unfit(Exception):
    """What is wrong with a file, in words."""


def entry(spec: WhisperSpec, quantisation: Quantisation, weights_dir: Path) -> Entry | None:
    """Where the weights are kept; None: nowhere, in float or without a published hash."""
    scheme = quantise.scheme(quantisation)
    if scheme is None or not spec.sha256:
        return None
    name = f"{spec.name}-{scheme}-{spec.sha256[:16]}.safetensors"
    dims = json.dumps(asdict(spec.dimensions), sort_keys=True)
    return Entry(weights_dir / _FOLDER / name, spec.name, scheme, spec.sha256, dims)


def holds(spec: WhisperSpec, quantisation: Quantisation, weights_dir: Path) -> bool:
    """Whether the weights are kept, so that OpenAI's file is not needed. Reads the header only."""
    from safetensors import SafetensorError, safe_open

    wanted = entry(spec, quantisation, weights_dir)
    if wanted is None:
        return False
    try:
        with safe_open(wanted.path, "numpy") as file:
            return bool(file.metadata() == wanted.manifest)
    except (OSError, SafetensorError):
        return False


def remove(name: str, weights_dir: Path) -> int:
    """Remove all that is kept of a model; the bytes that this frees. Raises StorageFailed."""
    folder = weights_dir / _FOLDER
    freed_bytes = 0
    try:
        for path in (*folder.glob(f"{name}-int[48]*"), *folder.glob(f".{name}-int[48]*")):
            with suppress(FileNotFoundError):  # somebody else may be at it
                size_bytes = path.lstat().st_size
                path.unlink()
                freed_bytes += size_bytes
    except OSError as error:
        raise StorageFailed(
            f"What is kept of {name} in {folder} cannot be removed ({error.strerror or error}): "
            "allow writing there."
        ) from error
    return freed_bytes


def tensors(
    wanted: Entry,
    like: Mapping[str, Tensor],
    make: Callable[[], Tensors],
    note: Callable[[str], None],
) -> dict[str, Tensor]:
    """The tensors of an entry: those that are kept, else made and kept; in memory if that fails.

    `like` has their names, shapes and types. What is kept comes as views of the file; never write
    into them.
    """
    try:
        return _mapped(wanted, like)
    except FileNotFoundError:
        pass
    except (OSError, _Unfit) as problem:
        note(f"{wanted.path} is made again: {problem}")
    try:
        _write(wanted, like, make())
        return _mapped(wanted, like)
    except (OSError, _Unfit) as problem:
        reason = getattr(problem, "strerror", None) or problem
        note(
            f"The quantised weights of {wanted.model} cannot be kept in {wanted.path.parent} "
            f"({reason}), so they are made at every start."
        )
    return dict(make())


def _mapped(wanted: Entry, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Views of the file. Raises OSError, _Unfit."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(wanted.path, "pt") as file:
            if file.metadata() != wanted.manifest:
                raise _Unfit("it is of another version, or of other weights")
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  - no dict
    except SafetensorError as error:
        raise _Unfit(f"it is damaged ({error})") from error
    if _shapes(found) != _shapes(like):
        raise _Unfit("it holds other tensors")
    return found


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[object, object]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _write(wanted: Entry, like: Mapping[str, Tensor], tensors: Tensors) -> None:
    """Write a safetensors file, one tensor in memory at a time. Raises OSError."""
    import torch

    header, offsets, end = _layout(wanted, like)
    with _part(wanted.path) as file:
        if end > shutil.disk_usage(wanted.path.parent).free:  # said before the work, not after
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(header)
        for name, tensor in tensors:
            file.seek(offsets[name])
            file.write(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)


def _layout(wanted: Entry, like: Mapping[str, Tensor]) -> tuple[bytes, dict[str, int], int]:
    """The header, where each tensor begins in the file, and where the file ends.

    The format: 8 bytes with the header's length, the header in JSON, the tensors without gaps.
    """
    import torch

    types = {torch.int8: "I8", torch.uint8: "U8", torch.bfloat16: "BF16", torch.float32: "F32"}
    # whole cache lines first, so that every tensor begins with one
    names = sorted(like, key=lambda name: (like[name].nbytes % _ALIGNMENT_BYTES, name))
    rows: dict[str, object] = {"__metadata__": wanted.manifest}
    begins, end = {}, 0
    for name in names:
        begins[name], end = end, end + like[name].nbytes
        shape = list(like[name].shape)
        data_offsets = [begins[name], end]
        rows[name] = {
            "dtype": types[like[name].dtype],
            "shape": shape,
            "data_offsets": data_offsets,
        }
    text = json.dumps(rows).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT_BYTES)
    header = len(text).to_bytes(8, "little") + text
    return header, {name: len(header) + at for name, at in begins.items()}, len(header) + end


@contextmanager
def _part(target: Path) -> Iterator[BinaryIO]:
    """A file that gets the target's name when it is whole. Several processes may make one each."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    path, file = _locked_part(target)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            path.replace(target)  # while it is locked
    finally:
        path.unlink(missing_ok=True)


def _locked_part(target: Path) -> tuple[Path, BinaryIO]:
    """A new part, which no sweep takes away."""
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        file = path.open("xb")
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return path, file
        file.close()  # swept before it was locked


def _sweep(target: Path) -> None:
    """Remove what killed processes left behind: parts that nobody has locked."""
    for path in target.parent.glob(f".{target.name}.*.part"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
