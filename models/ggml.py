"""Reads the frame of a whisper.cpp model file that nobody vouches for.

Goes in: a path. Comes out: the model's dimensions and how its weights are stored, once every part
of the file is known to have its place and size. Does not know: whisper.cpp, what the weights say.

    magic, 11 numbers │ mel filters │ vocabulary │ tensor: type, sizes, name, numbers │ …

whisper.cpp itself checks little: from a broken file it aborts the process or reads wild memory.
Sources: src/whisper.cpp (whisper_model_load), models/convert-pt-to-ggml.py and
ggml/src/ggml-common.h of whisper.cpp 1.8.5.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from os import fstat
from typing import TYPE_CHECKING

from models.checkpoint import BOUNDS
from models.engines.decode import quiet
from models.registry import ENGLISH_ONLY_VOCAB, Dimensions
from pipeline.errors import BadCheckpoint, ModelUnavailable

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from tiktoken import Encoding

    from pipeline.types import Quantisation

MAGIC = 0x67676D6C
N_FREQUENCIES = 201  # of the mel filters: half of a 400-point Fourier transform, and 1
N_ORDINARY = 50_256  # tokens that spell text; all vocabularies of Whisper have as many
VERSION_FACTOR = 1000  # the file's type is its version of quantisation times this, and the ftype


@dataclass(frozen=True, slots=True)
class Format:
    """How most of the weights are stored."""

    name: str  # as in the names of files: ggml-small-q5_1.bin
    ftype: int  # in the file's header
    tensor_type: int  # in a tensor's header
    block: int  # numbers that are stored together
    block_bytes: int
    nearest: Quantisation  # of the names that we have


@dataclass(frozen=True, slots=True)
class GgmlFile:
    """A file that whisper.cpp can load."""

    path: Path
    size_bytes: int
    dimensions: Dimensions
    format: Format


# float32 (ftype 0) is missing on purpose: whisper.cpp 1.8.5 loads such files, and aborts when their
# first convolution runs on a CPU (ggml-cpu/ops.cpp, im2col). So are the formats that its own
# quantize program does not write.
F16 = Format("f16", 1, 1, 1, 2, "float16")
FORMATS = (
    F16,
    Format("q4_0", 2, 2, 32, 18, "int4"),
    Format("q4_1", 3, 3, 32, 20, "int4"),
    Format("q8_0", 7, 8, 32, 34, "int8"),
    Format("q5_0", 8, 6, 32, 22, "int4"),
    Format("q5_1", 9, 7, 32, 24, "int4"),
    Format("q2_k", 10, 10, 256, 84, "int4"),
    Format("q3_k", 11, 11, 256, 110, "int4"),
    Format("q4_k", 12, 12, 256, 144, "int4"),
    Format("q5_k", 13, 13, 256, 176, "int4"),
    Format("q6_k", 14, 14, 256, 210, "int8"),
)
F32 = Format("f32", 0, 0, 1, 4, "float32")  # of the tensors that are always stored so
_ORDER = (  # of the dimensions in the header
    *("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer"),
    *("n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels"),
)
_ALWAYS_F32 = ("encoder.positional_embedding", "decoder.positional_embedding")


class _Unsound(Exception):
    """What is wrong with a file, in words."""


def read(path: Path) -> GgmlFile:
    """Check every part of the file but the numbers. Raises BadCheckpoint, ModelUnavailable."""
    try:
        with path.open("rb") as file:
            size_bytes = fstat(file.fileno()).st_size
            dimensions, form = _header(file)
            _check_mel_filters(file, dimensions)
            _check_vocabulary(file, dimensions)
            _check_tensors(file, size_bytes, _expected(dimensions, form))
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}); check it.") from error
    except _Unsound as problem:
        raise BadCheckpoint(
            f"{path} is not a Whisper model that whisper.cpp can run ({problem}): download or copy "
            "it again, or name a published model, such as --model small."
        ) from problem
    return GgmlFile(path, size_bytes, dimensions, form)


def encoding_of(dimensions: Dimensions) -> Encoding:
    """Whisper's own vocabulary for a model of these dimensions."""
    from whisper.tokenizer import get_encoding

    name = "gpt2" if dimensions.n_vocab <= ENGLISH_ONLY_VOCAB else "multilingual"
    with quiet():
        encoding: Encoding = get_encoding(name)
    return encoding


def _header(file: BinaryIO) -> tuple[Dimensions, Format]:
    """The dimensions, within the bounds of Whisper's, and the format."""
    (magic,) = _integers(file, 1)
    if magic != MAGIC:
        raise _Unsound("it does not begin as such files do")
    *sizes, ftype = _integers(file, 11)
    found = Dimensions(**dict(zip(_ORDER, sizes, strict=True)))
    for name, value in asdict(found).items():
        low, high = BOUNDS[name]
        if not low <= value <= high:
            raise _Unsound(f"its {name} is not within {low} to {high}")
    if found.n_mels not in BOUNDS["n_mels"]:
        raise _Unsound(f"its n_mels is {found.n_mels}, neither 80 nor 128")
    width = found.n_audio_state
    if width != found.n_text_state:
        raise _Unsound("its encoder and decoder differ in width")
    if width % (2 * found.n_audio_head) or width % (2 * found.n_text_head):
        raise _Unsound("its width is no multiple of its heads")
    return found, _format(ftype, width)


def _format(ftype: int, width: int) -> Format:
    if ftype % VERSION_FACTOR == F32.ftype:
        raise _Unsound("it is in float32, which whisper.cpp no longer runs; convert it to f16")
    for form in FORMATS:
        if form.ftype == ftype % VERSION_FACTOR:
            if width % form.block:
                raise _Unsound(f"its width {width} cannot be in {form.name}")
            return form
    raise _Unsound(f"its weights are of the unknown type {ftype}")


def _check_mel_filters(file: BinaryIO, dimensions: Dimensions) -> None:
    if _integers(file, 2) != (dimensions.n_mels, N_FREQUENCIES):
        raise _Unsound("its mel filters are not Whisper's")
    _bytes(file, 4 * dimensions.n_mels * N_FREQUENCIES)


def _check_vocabulary(file: BinaryIO, dimensions: Dimensions) -> None:
    """Whether the tokens that spell text are Whisper's; others may follow, or not."""
    (count,) = _integers(file, 1)
    if not N_ORDINARY <= count <= dimensions.n_vocab:
        raise _Unsound("its vocabulary has another size than Whisper's")
    encoding = encoding_of(dimensions)
    for token in range(count):
        (length,) = _integers(file, 1)
        spelling = _bytes(file, length)
        if token < N_ORDINARY and spelling != encoding.decode_single_token_bytes(token):
            raise _Unsound("its vocabulary is not Whisper's")


_Entry = tuple[tuple[int, ...], int, int]  # sizes, type, bytes


def _expected(dimensions: Dimensions, form: Format) -> dict[str, _Entry]:
    """What is to be said of each tensor."""
    return {name: _entry(name, shape, form) for name, shape in _shapes(dimensions).items()}


def _shapes(dimensions: Dimensions) -> dict[str, tuple[int, ...]]:
    """The tensors of OpenAI's own classes; nothing is allocated for them."""
    import torch
    from whisper.model import AudioEncoder, TextDecoder

    d = dimensions
    with torch.device("meta"):
        encoder = AudioEncoder(
            d.n_mels, d.n_audio_ctx, d.n_audio_state, d.n_audio_head, d.n_audio_layer
        )
        decoder = TextDecoder(
            d.n_vocab, d.n_text_ctx, d.n_text_state, d.n_text_head, d.n_text_layer
        )
    return {
        f"{half}.{name}": tuple(tensor.shape)
        for half, module in (("encoder", encoder), ("decoder", decoder))
        for name, tensor in module.state_dict().items()
    }


def _entry(name: str, shape: tuple[int, ...], form: Format) -> _Entry:
    """Sizes run the other way round in ggml; a convolution's bias has one more."""
    convolution = name.startswith("encoder.conv")
    sizes = (1, *shape) if convolution and len(shape) == 1 else shape[::-1]
    kind = F16 if convolution else form
    if len(shape) == 1 or name in _ALWAYS_F32:
        kind = F32
    numbers = 1
    for size in shape:
        numbers *= size
    return sizes, kind.tensor_type, numbers // kind.block * kind.block_bytes


def _check_tensors(file: BinaryIO, size_bytes: int, expected: dict[str, _Entry]) -> None:
    """Whether each expected tensor is there once, whole, and nothing else."""
    while expected:
        n_sizes, name_bytes, kind = _integers(file, 3)
        if not (1 <= n_sizes <= 4 and 1 <= name_bytes <= 100):  # noqa: PLR2004  - longest: 40
            raise _Unsound("its tensors are not where they should be")
        sizes = _integers(file, n_sizes)
        name = _bytes(file, name_bytes).decode(errors="replace")
        if name not in expected:
            raise _Unsound(f"its tensor {name!r} is not Whisper's, or there twice")
        wanted_sizes, wanted_kind, n_bytes = expected.pop(name)
        if (sizes, kind) != (wanted_sizes, wanted_kind):
            raise _Unsound(f"{name} has another shape or type than its header says")
        if file.seek(n_bytes, 1) > size_bytes:
            raise _Unsound("it ends too early")
    if file.tell() != size_bytes:
        raise _Unsound("it does not end after its last tensor")


def _integers(file: BinaryIO, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}i", _bytes(file, 4 * count))


def _bytes(file: BinaryIO, count: int) -> bytes:
    """As many bytes as were asked for; never more than the file has."""
    data = file.read(max(0, min(count, 2**20)))
    if len(data) != count:
        raise _Unsound("it ends too early")
    return data
