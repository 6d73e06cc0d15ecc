"""How much memory a Whisper needs.

Goes in: its dimensions, its precision, the kind of device, and how many windows it hears at once.
Comes out: bytes, part by part. Does not know: how much there is, files, torch.

What is needed beside the weights is the largest of a few moments. In whisper's own modules: the
middle of an encoder block, word times, or the copy of a row of tokens for others. With kernels for
int8: one of the last two, or the end of loading, when the weights that were packed are still in
memory, most often as pages of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from models import weight_bytes
from models.registry import WHISPERS
from models.weight_bytes import FLOAT_BYTES, KERNEL_BYTES, Model, whole_panels

if TYPE_CHECKING:
    from models.registry import Dimensions
    from pipeline.types import Quantisation

DeviceKind = Literal["cpu", "cuda", "mps"]

MIB = 2**20
CANDIDATES = 5  # SpeechOptions.best_of: samples of one window, drawn when its text is doubtful

# The program when it has transcribed once, without all that is counted elsewhere: the interpreter,
# libraries, what numba has compiled. Measured by `make needs` with torch 2.13 on Linux; 290 MiB of
# it are pages of shared libraries.
_PROCESS_BYTES = 660 * MIB
_COMPILER_BYTES = 110 * MIB  # what compiling the kernels for the first time leaves; measured
# Not measured by us: 426 MiB with torch 2.10 and CUDA 13 (unslothai/unsloth-zoo#1053).
_CUDA_CONTEXT_BYTES = 512 * MIB
# cuBLAS and cuBLASLt, 32 MiB each on Hopper, less elsewhere (pytorch/pytorch#120925). As much again
# for cuDNN's convolutions is a guess.
_CUDA_WORKSPACE_BYTES = 128 * MIB
# A share of all the rest. On a CPU: what allocators keep of freed blocks, and what each thread has
# of its own; measured by `make needs`. On GPUs, where torch rounds up, it is a guess.
_MARGINS = {"cpu": 0.10, "cuda": 0.15, "mps": 0.15}

_CLIP_BYTES = 480_000 * FLOAT_BYTES  # 30 s of sound
_CLIPS_AHEAD = 2  # models/engines/whisper_torch.py, AHEAD: clips that are held for each window
_MEL_FRAMES = 3000  # of 30 s
# Beside the block's input: its sum with the attention, that sum's norm, and on both sides of the
# GELU four times the width (whisper/model.py, ResidualAttentionBlock).
_ENCODER_WIDTHS = 3 + 4 + 4
# models/engines/alignment.py: 3 to start, <|notimestamps|>, the text, the end.
_ALIGNED_EXTRA_TOKENS = 5
_ENCODED_ON_GPU = 8  # models/engines/encoder.py, AT_ONCE_ON_GPU: windows
# models/engines/spectrum.py, together: a padded sound, and of each frame and frequency a complex
# number, both its squares and their sum.
_SPECTRUM_BYTES = (480_400 + _MEL_FRAMES * 201 * 5) * FLOAT_BYTES
_WIDENED = 2**23  # models/quantise.py, WEIGHTS_AT_ONCE: that are float for a moment on a GPU
_CODE_BYTES = 1  # models/int4.py, unpack: of each weight, beside its number

# Of the kernels (models/kernels/decoder_state.py, tiles.py): the width of a head, heads that ask a
# window together, rows that a tile may read too many; decoder_kernels.py: tokens of a new row that
# go through the model together, with logits and without.
_HEAD, _ASKED, _TILE_ROWS, _TOGETHER, _WITHOUT_LOGITS = 64, 12, 6, 24, 84

# Heads that tell the times of words: whisper/__init__.py, models/checkpoint.py for the demo.
_ALIGNMENT_HEADS = {
    "demo": 2, "tiny.en": 8, "tiny": 6, "base.en": 5, "base": 8, "small.en": 19, "small": 10,
    "medium.en": 18, "medium": 6, "large-v3-turbo": 6, "large-v1": 9, "large-v2": 23,
    "large-v3": 10,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """Memory of one device, for one model at its largest moment."""

    weights_bytes: int  # as they are kept on the device
    activations_bytes: int  # of the largest moment
    caches_bytes: int  # of the same moment: keys and values, encoded windows and their sound
    runtime_bytes: int  # the process on a CPU; the context and libraries on a GPU
    margin_bytes: int  # a share of the four others, for what allocators waste

    @property
    def total_bytes(self) -> int:
        """All of it."""
        used_bytes = self.weights_bytes + self.activations_bytes + self.caches_bytes
        return used_bytes + self.runtime_bytes + self.margin_bytes


@dataclass(frozen=True, slots=True)
class _Work:
    """What is heard at once."""

    device_kind: DeviceKind
    windows: int
    candidates: int

    @property
    def slots(self) -> int:
        """Rows of tokens there is room for: models/engines/loaded.py."""
        return self.windows + self.candidates

    @property
    def encoded_together(self) -> int:
        """Windows: models/engines/whisper_torch.py."""
        return 1 if self.device_kind == "cpu" else min(self.windows, _ENCODED_ON_GPU)


def needed(
    dimensions: Dimensions,
    quantisation: Quantisation,
    device_kind: DeviceKind,
    batch_size: int,
    candidates: int = CANDIDATES,
    *,
    fast_float16: bool = True,
    int8_kernels: bool = True,
) -> Need:
    """What the device must have free; `quantisation` is settled, not "auto".

    `candidates` are the beams or samples of one window. A GPU without `fast_float16` (CUDA compute
    capability below 7.0) calculates int8 and int4 in float32. A CPU without `int8_kernels`
    (models/kernels/processors.py has none for it) runs int8 in whisper's own modules.
    """
    half = device_kind != "cpu" and fast_float16
    is_packed = int8_kernels and device_kind == "cpu" and quantisation == "int8"
    model = Model(
        dimensions,
        quantisation,
        _number_bytes(quantisation, half=half),
        is_packed and _has_heads_for_kernels(dimensions),
    )
    work = _Work(device_kind, batch_size, candidates)
    weights_bytes = (weight_bytes.of_kernels if model.is_packed else weight_bytes.of_modules)(model)
    moments = _of_kernels(model, work) if model.is_packed else _of_modules(model, work)
    activations_bytes, caches_bytes = max(moments, key=sum)
    runtime_bytes = _runtime_bytes(model, device_kind)
    used_bytes = weights_bytes + activations_bytes + caches_bytes + runtime_bytes
    return Need(
        weights_bytes,
        activations_bytes,
        caches_bytes,
        runtime_bytes,
        margin_bytes=int(used_bytes * _MARGINS[device_kind]),
    )


def _number_bytes(quantisation: Quantisation, *, half: bool) -> int:
    """models/quantise.py, activations."""
    is_half = quantisation in ("bfloat16", "float16") or (half and quantisation != "float32")
    return 2 if is_half else FLOAT_BYTES


def _has_heads_for_kernels(n: Dimensions) -> bool:
    audio, text = _HEAD * n.n_audio_head, _HEAD * n.n_text_head
    return (n.n_audio_state, n.n_text_state) == (audio, text)


def _runtime_bytes(model: Model, device_kind: DeviceKind) -> int:
    """An Apple GPU shares the process's memory."""
    if device_kind == "cuda":
        return _CUDA_CONTEXT_BYTES + _CUDA_WORKSPACE_BYTES
    return _PROCESS_BYTES + (_COMPILER_BYTES if model.is_packed else 0)


# ── moments ──────────────────────────────────────────────────────────────────────────────────


class _Moment(NamedTuple):
    """What is in memory at once, beside the weights."""

    activations_bytes: int
    caches_bytes: int


def _of_kernels(model: Model, work: _Work) -> tuple[_Moment, ...]:
    """The end of loading, when what was packed is still there, and word times or a copy of rows."""
    n = model.dimensions
    buffers_bytes = _buffers_bytes(n, work)
    windows_bytes = n.n_text_state * (n.n_audio_ctx + whole_panels(n.n_audio_ctx)) * work.windows
    rows_bytes = work.slots * _pairs_bytes(model, n.n_text_ctx)
    caches_bytes = windows_bytes + rows_bytes + _waiting_bytes(n, work)
    passing_bytes = max(_word_times_bytes(n), _copied_bytes(model, work) // 2)
    return (
        _Moment(buffers_bytes + weight_bytes.of_modules(model), windows_bytes),
        _Moment(buffers_bytes + passing_bytes, caches_bytes),
    )


def _of_modules(model: Model, work: _Work) -> tuple[_Moment, ...]:
    """The middle of an encoder block, word times, or a copy of rows."""
    n = model.dimensions
    tokens = work.slots * n.n_text_ctx + work.windows * n.n_audio_ctx
    caches_bytes = _pairs_bytes(model, tokens) + _waiting_bytes(n, work)
    if work.device_kind == "cuda":  # models/engines/playback.py: what recorded steps write to
        caches_bytes += work.slots * n.n_vocab * FLOAT_BYTES
    passing = (
        _encode_bytes(model, work),
        2 * _word_times_bytes(n)  # with a copy
        + _logits_bytes(model, work.slots)
        + _widened_bytes(model, work, n.n_vocab * n.n_text_state),
        _copied_bytes(model, work),
    )
    return tuple(_Moment(passing_bytes, caches_bytes) for passing_bytes in passing)


def _buffers_bytes(n: Dimensions, work: _Work) -> int:
    """The kernels' own: models/kernels/encoder_steps.py, decoder_state.py."""
    audio, text, vocabulary = n.n_audio_state, n.n_text_state, whole_panels(n.n_vocab)
    encoder_bytes = _MEL_FRAMES * audio * KERNEL_BYTES + 2 * n.n_audio_ctx * audio * FLOAT_BYTES
    encoder_bytes += 2 * 3 * whole_panels(n.n_audio_ctx) * audio * KERNEL_BYTES
    most, wanted = (max(work.slots, n) + _TILE_ROWS for n in (_WITHOUT_LOGITS, _TOGETHER))
    decoder_bytes = (most * 7 * text + wanted * vocabulary) * FLOAT_BYTES
    return encoder_bytes + decoder_bytes + 2 * (most * n.n_text_head + _ASKED) * text


def _pairs_bytes(model: Model, tokens: int) -> int:
    """Keys and values of every layer."""
    n = model.dimensions
    number_bytes = KERNEL_BYTES if model.is_packed else model.number_bytes
    return 2 * n.n_text_layer * tokens * n.n_text_state * number_bytes


def _waiting_bytes(n: Dimensions, work: _Work) -> int:
    """Encoded windows, one more than are decoded, and on a CPU the sound of clips."""
    encoded_bytes = (work.windows + 1) * n.n_audio_ctx * n.n_audio_state * FLOAT_BYTES
    clips = work.windows * _CLIPS_AHEAD if work.device_kind == "cpu" else 0
    return encoded_bytes + clips * _CLIP_BYTES


def _encode_bytes(model: Model, work: _Work) -> int:
    """A block in whisper's modules, and what its widest layer takes beside its result.

    On a GPU spectra may take more: all frames of these windows are calculated together.
    """
    n, windows = model.dimensions, work.encoded_together
    spectrogram_bytes = n.n_mels * _MEL_FRAMES * (FLOAT_BYTES + model.number_bytes)
    block_bytes = _ENCODER_WIDTHS * n.n_audio_ctx * n.n_audio_state * model.number_bytes
    layer_bytes = 0
    if model.quantisation == "int4":
        layer_bytes = 4 * n.n_audio_state**2 * (model.number_bytes + _CODE_BYTES)
    elif model.quantisation == "int8" and work.device_kind == "cpu":
        layer_bytes = 12 * n.n_audio_state**2 * FLOAT_BYTES  # encoder.py: a block becomes float
    elif model.quantisation == "int8":
        layer_bytes = _widened_bytes(model, work, 4 * n.n_audio_state**2)
    spectra_bytes = 0 if work.device_kind == "cpu" else windows * _SPECTRUM_BYTES
    return max(windows * (spectrogram_bytes + block_bytes) + layer_bytes, spectra_bytes)


def _widened_bytes(model: Model, work: _Work, weights: int) -> int:
    """Of int8 weights that a GPU makes float before it multiplies."""
    is_widened = model.is_quantised and work.device_kind != "cpu"
    return min(weights, _WIDENED) * model.number_bytes if is_widened else 0


def _word_times_bytes(n: Dimensions) -> int:
    """Of one window: what the heads attend to."""
    return _alignment_heads(n) * _aligned_tokens(n) * n.n_audio_ctx * FLOAT_BYTES


def _logits_bytes(model: Model, slots: int) -> int:
    """Of a step, or of tokens that are timed, with a copy; whole numbers first where quantised."""
    copies = 4 if model.quantisation in ("int8", "int4") else 2
    return copies * max(slots, _TOGETHER) * model.dimensions.n_vocab * FLOAT_BYTES


def _copied_bytes(model: Model, work: _Work) -> int:
    """What was said to a window's first row, on its way to the others."""
    return _pairs_bytes(model, work.candidates * model.dimensions.n_text_ctx // 2)


def _aligned_tokens(n: Dimensions) -> int:
    return n.n_text_ctx // 2 + _ALIGNED_EXTRA_TOKENS


def _alignment_heads(dimensions: Dimensions) -> int:
    """The most of any model of these dimensions; else whisper's default, half of the layers."""
    known = [_ALIGNMENT_HEADS[spec.name] for spec in WHISPERS if spec.dimensions == dimensions]
    n_layers = dimensions.n_text_layer
    return max(known, default=(n_layers - n_layers // 2) * dimensions.n_text_head)
