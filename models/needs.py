"""How much memory a Whisper needs.

Goes in: its dimensions, its precision, the kind of device, and how many windows it hears at once.
Comes out: bytes, part by part. Does not know: how much there is, files, torch.

What is needed beside the weights is the largest of four moments of `models.engines`:

    encode       a batch of windows, in the middle of an encoder block
    prompt       the decoder's first step, which gives logits for every token of a long prompt
    last step    the decoder's caches are as long as they get
    word times   the cross-attention of every head, and the sort in whisper's median filter
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from models.registry import WHISPERS

if TYPE_CHECKING:
    from models.registry import Dimensions
    from pipeline.types import Quantisation

DeviceKind = Literal["cpu", "cuda", "mps"]

MIB = 2**20
CANDIDATES = 5  # SpeechOptions.best_of: samples of one window, drawn when its text is doubtful

# The interpreter and all libraries, when it has transcribed once: measured by `make needs` with
# torch 2.13 on Linux. 250 MiB of it are pages of shared libraries.
_PROCESS_BYTES = 600 * MIB
# Not measured by us: 426 MiB with torch 2.10 and CUDA 13 (unslothai/unsloth-zoo#1053).
_CUDA_CONTEXT_BYTES = 512 * MIB
# cuBLAS and cuBLASLt, 32 MiB each on Hopper, less elsewhere (pytorch/pytorch#120925). As much again
# for cuDNN's convolutions is a guess.
_CUDA_WORKSPACE_BYTES = 128 * MIB
# A share of all the rest. On a CPU: glibc keeps freed blocks below 32 MiB, and not all of them fit
# what comes next; measured by `make needs`. On GPUs, where torch rounds up, it is a guess.
_MARGIN = 0.15

_FLOAT_BYTES = 4  # of layer norms, scales, biases of quantised layers, logits
_INT4_GROUP = 64  # models/int4.py: weights that share a scale and a zero point, two bytes each
_MEL_FRAMES = 3000  # of 30 s
# Beside the block's input: its sum with the attention, that sum's norm, and on both sides of the
# GELU four times the width (whisper/model.py, ResidualAttentionBlock).
_ENCODER_WIDTHS = 3 + 4 + 4
# whisper/decoding.py: a prompt has half of the context less one, <|startofprev|> and 3 to start.
_PROMPT_EXTRA_TOKENS = 3
# whisper/timing.py: 3 to start, <|notimestamps|>, the text without its first timestamp, the end.
_ALIGNED_EXTRA_TOKENS = 4
# whisper/timing.py, median_filter: of each number its 7 neighbours in order, with their places in
# 64 bits; itself before and after it is scaled; and once more, with a border.
_SORT_BYTES = 7 * (4 + 8) + 3 * 4
# models/quantise.py, _multiply_int8: rows that are multiplied at once, and what each of their
# products takes beside the result: on a CPU as int32 and as float32, elsewhere twice as float32.
_ROWS_AT_ONCE, _PRODUCT_BYTES = 1024, 8

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
    caches_bytes: int  # of the same moment: encoded windows, keys and values
    runtime_bytes: int  # the process on a CPU; the context and libraries on a GPU
    margin_bytes: int  # a share of the four others, for what allocators waste

    @property
    def total_bytes(self) -> int:
        """All of it."""
        used_bytes = self.weights_bytes + self.activations_bytes + self.caches_bytes
        return used_bytes + self.runtime_bytes + self.margin_bytes


@dataclass(frozen=True, slots=True)
class _Model:
    """What bytes are counted of."""

    dimensions: Dimensions
    quantisation: Quantisation
    number_bytes: int  # of weights that are not quantised, and of what the encoder calculates
    decoded_bytes: int  # of an encoded window's numbers, and of all that the decoder makes of them

    @property
    def is_quantised(self) -> bool:
        """Whether linear layers and the token embedding are."""
        return self.quantisation in ("int8", "int4")

    @property
    def casts(self) -> bool:
        """Whether the decoder makes a float32 copy of its weights each time that it uses them."""
        return self.decoded_bytes > self.number_bytes


@dataclass(frozen=True, slots=True)
class _Work:
    """What the decoder has in hand."""

    sequences: int
    windows: int  # that the sequences are about
    batch_size: int  # windows that are encoded


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is in memory at once, beside the weights."""

    activations_bytes: int
    caches_bytes: int


def needed(
    dimensions: Dimensions,
    quantisation: Quantisation,
    device_kind: DeviceKind,
    batch_size: int,
    candidates: int = CANDIDATES,
    *,
    fast_float16: bool = True,
) -> Need:
    """What the device must have free; `quantisation` is settled, not "auto".

    `candidates` are the beams or samples of one window. A GPU without `fast_float16` (CUDA compute
    capability below 7.0) calculates int8 and int4 in float32.
    """
    half = device_kind != "cpu" and fast_float16
    model = _Model(dimensions, quantisation, *_number_bytes(quantisation, half=half))
    weights_bytes = _weights_bytes(model)
    moments = _moments(model, batch_size, candidates)
    largest = max(moments, key=lambda moment: moment.activations_bytes + moment.caches_bytes)
    runtime_bytes = _runtime_bytes(device_kind)
    used_bytes = weights_bytes + largest.activations_bytes + largest.caches_bytes + runtime_bytes
    return Need(
        weights_bytes,
        largest.activations_bytes,
        largest.caches_bytes,
        runtime_bytes,
        margin_bytes=int(used_bytes * _MARGIN),
    )


def _number_bytes(quantisation: Quantisation, *, half: bool) -> tuple[int, int]:
    """Of the encoder's numbers and of the decoder's.

    models/quantise.py, activations. What was encoded in bfloat16 is decoded in float32.
    """
    if quantisation == "bfloat16":
        return 2, 4
    is_half = quantisation == "float16" or (half and quantisation in ("int8", "int4"))
    return (2, 2) if is_half else (4, 4)


def _runtime_bytes(device_kind: DeviceKind) -> int:
    """An Apple GPU shares the process's memory."""
    if device_kind == "cuda":
        return _CUDA_CONTEXT_BYTES + _CUDA_WORKSPACE_BYTES
    return _PROCESS_BYTES


# ── weights ──────────────────────────────────────────────────────────────────────────────────


def _weights_bytes(model: _Model) -> int:
    """All tensors of the model that `models.checkpoint` builds."""
    n = model.dimensions
    audio, text = n.n_audio_state, n.n_text_state
    layers_bytes = n.n_audio_layer * _linears_bytes(model, audio, attentions=1)
    layers_bytes += n.n_text_layer * _linears_bytes(model, text, attentions=2)
    embedding_bytes = n.n_vocab * text * model.number_bytes
    if model.is_quantised:  # int8, with one scale a row
        embedding_bytes = n.n_vocab * (text + _FLOAT_BYTES)
    others = (3 * n.n_mels + 1) * audio + (3 * audio + 1) * audio  # two convolutions
    others += n.n_audio_ctx * audio + n.n_text_ctx * text  # positions
    norms = (4 * n.n_audio_layer + 2) * audio + (6 * n.n_text_layer + 2) * text
    causal_mask = n.n_text_ctx**2
    floats_bytes = model.number_bytes * others + _FLOAT_BYTES * (norms + causal_mask)
    return layers_bytes + embedding_bytes + floats_bytes


def _linears_bytes(model: _Model, width: int, attentions: int) -> int:
    """Of one block: four layers for each attention, then two of which one side is 4 times wider."""
    weights = (4 * attentions + 8) * width**2
    outputs = (4 * attentions + 5) * width
    biases = outputs - attentions * width  # the keys have none
    if not model.is_quantised:
        return model.number_bytes * (weights + biases)
    if model.quantisation == "int4" and width % _INT4_GROUP == 0:
        return weights // 2 + 4 * weights // _INT4_GROUP + _FLOAT_BYTES * biases
    return weights + _FLOAT_BYTES * (outputs + biases)


# ── moments ──────────────────────────────────────────────────────────────────────────────────


def _moments(model: _Model, batch_size: int, candidates: int) -> tuple[_Moment, ...]:
    """Greedy decoding takes the whole batch; several candidates are of one window."""
    works = (_Work(batch_size, batch_size, batch_size), _Work(candidates, 1, batch_size))
    return (
        _encode(model, batch_size),
        *(_prompt(model, work) for work in works),
        *(_last_step(model, work) for work in works),
        _word_times(model, batch_size),
    )


def _encode(model: _Model, batch_size: int) -> _Moment:
    n = model.dimensions
    spectrogram_bytes = n.n_mels * _MEL_FRAMES * (_FLOAT_BYTES + model.number_bytes)
    block_bytes = _ENCODER_WIDTHS * n.n_audio_ctx * n.n_audio_state * model.number_bytes
    products_bytes = _products_bytes(model, batch_size * n.n_audio_ctx, 4 * n.n_audio_state)
    return _Moment(batch_size * (spectrogram_bytes + block_bytes) + products_bytes, 0)


def _prompt(model: _Model, work: _Work) -> _Moment:
    """Its logits are there until the next token has some; a cache grows by being copied."""
    n = model.dimensions
    tokens = n.n_text_ctx // 2 + _PROMPT_EXTRA_TOKENS
    logits_bytes = _logits_bytes(model, work.sequences * tokens)
    logits_bytes += work.sequences * n.n_vocab * _FLOAT_BYTES
    copy_bytes = work.sequences * tokens * n.n_text_state * model.decoded_bytes
    activations_bytes = logits_bytes + copy_bytes + _repeated_bytes(model, work)
    return _Moment(activations_bytes, _caches_bytes(model, work, tokens))


def _last_step(model: _Model, work: _Work) -> _Moment:
    """The same, and logits become probabilities, twice."""
    n = model.dimensions
    copy_bytes = work.sequences * n.n_text_ctx * n.n_text_state * model.decoded_bytes
    logits_bytes = _logits_bytes(model, work.sequences)
    logits_bytes += 2 * work.sequences * n.n_vocab * _FLOAT_BYTES
    activations_bytes = copy_bytes + logits_bytes + _repeated_bytes(model, work)
    return _Moment(activations_bytes, _caches_bytes(model, work, n.n_text_ctx))


def _word_times(model: _Model, batch_size: int) -> _Moment:
    """One window at a time, in float32, without keys and values."""
    n = model.dimensions
    tokens = n.n_text_ctx // 2 + _ALIGNED_EXTRA_TOKENS
    maps_bytes = n.n_text_layer * n.n_text_head * tokens * n.n_audio_ctx * _FLOAT_BYTES
    sort_bytes = _alignment_heads(n) * tokens * n.n_audio_ctx * _SORT_BYTES
    logits_bytes = 2 * tokens * n.n_vocab * _FLOAT_BYTES  # and the probabilities
    return _Moment(maps_bytes + sort_bytes + logits_bytes, batch_size * _window_bytes(model))


def _alignment_heads(dimensions: Dimensions) -> int:
    """The most of any model of these dimensions; else whisper's default, half of the layers."""
    known = [_ALIGNMENT_HEADS[spec.name] for spec in WHISPERS if spec.dimensions == dimensions]
    n_layers = dimensions.n_text_layer
    return max(known, default=(n_layers - n_layers // 2) * dimensions.n_text_head)


def _caches_bytes(model: _Model, work: _Work, tokens: int) -> int:
    """Encoded windows, and every layer's keys and values, of windows and of sequences."""
    n = model.dimensions
    places = work.windows * n.n_audio_ctx + work.sequences * tokens
    pairs_bytes = 2 * n.n_text_layer * places * n.n_text_state * model.decoded_bytes
    return pairs_bytes + work.batch_size * _window_bytes(model)


def _window_bytes(model: _Model) -> int:
    return model.dimensions.n_audio_ctx * model.dimensions.n_audio_state * model.decoded_bytes


def _repeated_bytes(model: _Model, work: _Work) -> int:
    """A window's keys, again for each of its sequences when there are several."""
    return work.sequences * _window_bytes(model) if work.sequences > work.windows else 0


def _logits_bytes(model: _Model, positions: int) -> int:
    """Float32, and what they are made of: halves, a float32 copy of the embedding, products."""
    n = model.dimensions
    logit_bytes = _FLOAT_BYTES + (2 if model.quantisation == "float16" else 0)
    cast_bytes = n.n_vocab * n.n_text_state * _FLOAT_BYTES if model.casts else 0
    products_bytes = _products_bytes(model, positions, n.n_vocab)
    return positions * n.n_vocab * logit_bytes + cast_bytes + products_bytes


def _products_bytes(model: _Model, rows: int, outputs: int) -> int:
    """What multiplying int8 takes beside its result."""
    return min(rows, _ROWS_AT_ONCE) * outputs * _PRODUCT_BYTES if model.is_quantised else 0
