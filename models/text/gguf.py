"""Reads the frame of a GGUF file that nobody vouches for.

Goes in: a path. Comes out: the model's shape and how its weights are stored, once every part of the
file is known to have its place and size. Does not know: llama.cpp, what the weights say, memory.

    GGUF, version, counts │ key: type, value │ … │ tensor: name, sizes, type, offset │ … │ numbers

Source: ggml/docs/gguf.md and gguf-py/gguf/constants.py of llama.cpp.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from os import fstat
from typing import TYPE_CHECKING

from pipeline.errors import BadCheckpoint, ModelUnavailable

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_KEYS, _MOST_TENSORS = 4096, 65_536
_MOST_HEAD_BYTES = 256 << 20  # before the tensors: a vocabulary takes some ten MiB
_MOST_ITEMS = 4_000_000  # of a list: the largest vocabularies have a quarter of a million
_MOST_NAME_BYTES, _MOST_TEXT_BYTES = 65_535, 4 << 20  # of a key or tensor; of a text, a template
_MOST_KEPT = 1024  # items of a list that are looked at: a number for each layer
_MOST_SIZE = 2**32  # of a tensor in one direction
_ALIGNMENT = 32

_NUMBERS = {  # value types and their forms
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i",
    6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _LIST = 8, 9
# Tensor types: numbers that are stored together, and their bytes (GGML_QUANT_SIZES).
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip
# general.file_type, as llama.cpp names the mixtures (llama_ftype).
_FILE_TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k",
    11: "q3_k_s", 12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s",
    17: "q5_k_m", 18: "q6_k", 19: "iq2_xxs", 20: "iq2_xs", 21: "q2_k_s", 22: "iq3_xs",
    23: "iq3_xxs", 24: "iq1_s", 25: "iq4_nl", 26: "iq3_s", 27: "iq3_m", 28: "iq2_s",
    29: "iq2_m", 30: "iq4_xs", 31: "iq1_m", 32: "bf16", 38: "mxfp4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gguf:
    """A file that llama.cpp may be given."""

    path: Path
    size_bytes: int
    tensor_bytes: int
    architecture: str  # "llama", "qwen3"
    name: str  # as its maker calls it; the file's name where it says nothing
    quantisation: str  # llama.cpp's name for the mixture; "unknown"
    context_tokens: int  # that it was trained for
    layers: int
    width: int
    inner_width: int  # 0: it does not say
    key_width: int  # of all key heads together, in the widest layer
    value_width: int
    vocabulary: int  # tokens


class _Unsound(Exception):
    """What is wrong with a file, in words."""


_Value = int | float | str | tuple[int | float, ...]


def read(path: Path) -> Gguf:
    """Check every part of the file but the numbers. Raises BadCheckpoint, ModelUnavailable."""
    try:
        with path.open("rb") as file:
            size_bytes = fstat(file.fileno()).st_size
            n_tensors, values, lengths = _values(file)
            tensor_bytes = _tensor_bytes(file, size_bytes, n_tensors, values)
            return _gguf(path, size_bytes, tensor_bytes, values, lengths)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}); check it.") from error
    except _Unsound as problem:
        raise BadCheckpoint(
            f"{path} is not a language model that llama.cpp can run ({problem}): download or copy "
            "it again, or name a published model, such as --llm qwen3-4b."
        ) from problem


def _values(file: BinaryIO) -> tuple[int, dict[str, _Value], dict[str, int]]:
    """How many tensors there are; all single values and short lists; the lengths of lists."""
    if _bytes(file, 4) != MAGIC:
        raise _Unsound("it does not begin as such files do")
    version = _number(file, "<I")
    if version not in _VERSIONS:
        raise _Unsound(f"it is of version {version}, which is not known here")
    n_tensors, n_keys = int(_number(file, "<Q")), int(_number(file, "<Q"))
    if not (1 <= n_tensors <= _MOST_TENSORS and 1 <= n_keys <= _MOST_KEYS):
        raise _Unsound("it claims to have more parts than any model")
    values: dict[str, _Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(n_keys):
        key = _text(file, _MOST_NAME_BYTES)
        kind = int(_number(file, "<I"))
        if key in values or key in lengths:
            raise _Unsound(f"it has {key!r} twice")
        if kind == _LIST:
            lengths[key], kept = _list(file)
            values |= {key: kept} if kept else {}
        else:
            values[key] = _value(file, kind)
        if file.tell() > _MOST_HEAD_BYTES:
            raise _Unsound("its head is larger than any model's")
    return n_tensors, values, lengths


def _value(file: BinaryIO, kind: int) -> int | float | str:
    if kind == _STRING:
        return _text(file, _MOST_TEXT_BYTES)
    if kind not in _NUMBERS:
        raise _Unsound(f"it has a value of the unknown type {kind}")
    return _number(file, _NUMBERS[kind])


def _list(file: BinaryIO) -> tuple[int, tuple[int | float, ...]]:
    """Its length, and its items where they are few numbers."""
    kind, length = int(_number(file, "<I")), int(_number(file, "<Q"))
    if length > _MOST_ITEMS:
        raise _Unsound("it has a list that is longer than any model's")
    if kind == _STRING:
        for _ in range(length):
            _text(file, _MOST_TEXT_BYTES)
        return length, ()
    if kind not in _NUMBERS:  # a list of lists is in no model
        raise _Unsound(f"it has a list of the unknown type {kind}")
    form = _NUMBERS[kind]
    data = _bytes(file, length * struct.calcsize(form))
    kept = data if length <= _MOST_KEPT else b""
    return length, tuple(item for (item,) in struct.iter_unpack(form, kept))


def _tensor_bytes(
    file: BinaryIO, size_bytes: int, n_tensors: int, values: dict[str, _Value]
) -> int:
    """The bytes of all tensors, each of which lies within the file."""
    alignment = values.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment not in (8, 16, 32, 64, 128, 256, 4096):
        raise _Unsound("its alignment is not one that is used")
    names, ends, total_bytes = set(), [], 0
    for _ in range(n_tensors):
        name = _text(file, _MOST_NAME_BYTES)
        n_bytes, offset = _tensor(file, name)
        if name in names or offset % alignment:
            raise _Unsound(f"its tensor {name!r} is there twice, or not at its place")
        names.add(name)
        ends.append(offset + n_bytes)
        total_bytes += n_bytes
    begin = -(-file.tell() // alignment) * alignment
    if begin + max(ends) > size_bytes:
        raise _Unsound(f"it ends too early, after {size_bytes} of {begin + max(ends)} bytes")
    return total_bytes


def _tensor(file: BinaryIO, name: str) -> tuple[int, int]:
    """Its bytes, and where they begin."""
    n_sizes = int(_number(file, "<I"))
    if not 1 <= n_sizes <= 4:  # noqa: PLR2004  - GGML_MAX_DIMS
        raise _Unsound(f"its tensor {name!r} has {n_sizes} sizes")
    sizes = [int(_number(file, "<Q")) for _ in range(n_sizes)]
    kind, offset = int(_number(file, "<I")), int(_number(file, "<Q"))
    if kind not in _BLOCKS:
        raise _Unsound(f"its tensor {name!r} is of the unknown type {kind}")
    block, block_bytes = _BLOCKS[kind]
    if not all(1 <= size < _MOST_SIZE for size in sizes) or sizes[0] % block:
        raise _Unsound(f"its tensor {name!r} has impossible sizes")
    numbers = 1
    for size in sizes:
        numbers *= size
    return numbers // block * block_bytes, offset


def _gguf(
    path: Path,
    size_bytes: int,
    tensor_bytes: int,
    values: dict[str, _Value],
    lengths: dict[str, int],
) -> Gguf:
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str):
        raise _Unsound("it does not say what it is")
    if values.get("split.count", 1) != 1:
        raise _Unsound("it is one of several parts of a model; join them with llama-gguf-split")
    template = values.get("tokenizer.chat_template")
    if not isinstance(template, str) or not template.strip():
        raise _Unsound("it has no chat template: take a model that follows instructions")

    def size(key: str, most: int, otherwise: int | None = None) -> int:
        return _size(values, f"{architecture}.{key}", most, otherwise)

    width, heads = size("embedding_length", 2**17), size("attention.head_count", 2**12)
    keys = size("attention.head_count_kv", 2**12, heads)
    head = width // heads
    name, file_type = values.get("general.name"), values.get("general.file_type")
    return Gguf(
        *(path, size_bytes, tensor_bytes, architecture),
        name=name if isinstance(name, str) and name.isprintable() and name else path.stem,
        quantisation=_FILE_TYPES.get(file_type if isinstance(file_type, int) else -1, "unknown"),
        context_tokens=size("context_length", 2**27),
        layers=size("block_count", 2**11),
        width=width,
        inner_width=size("feed_forward_length", 2**20, 0),
        key_width=keys * size("attention.key_length", 2**14, head),
        value_width=keys * size("attention.value_length", 2**14, head),
        vocabulary=lengths.get("tokenizer.ggml.tokens", 0),
    )


def _size(values: dict[str, _Value], key: str, most: int, otherwise: int | None) -> int:
    """A size within bounds; of one for each layer the largest."""
    value = values.get(key, otherwise)
    found = max(value) if isinstance(value, tuple) else value
    if found == otherwise and isinstance(found, int):
        return found
    if not isinstance(found, int) or not 1 <= found <= most:
        raise _Unsound(f"its {key} is not within 1 to {most}")
    return found


def _text(file: BinaryIO, most_bytes: int) -> str:
    length = int(_number(file, "<Q"))
    if length > most_bytes:
        raise _Unsound("it has a text that is longer than any model's")
    return _bytes(file, length).decode(errors="replace")


def _number(file: BinaryIO, form: str) -> int | float:
    number: int | float
    (number,) = struct.unpack(form, _bytes(file, struct.calcsize(form)))
    return number


def _bytes(file: BinaryIO, count: int) -> bytes:
    """As many bytes as were asked for: bounded by whoever asks, never more than the file has."""
    data = file.read(count)
    if len(data) != count:
        raise _Unsound("it ends too early")
    return data
