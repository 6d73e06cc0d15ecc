"""Reads a checkpoint that nobody vouches for, and builds a Whisper from it.

Goes in: Weights. Comes out: a Checkpoint whose every tensor has the expected shape, then a model
ready for inference. Does not know: where the file came from, what is transcribed.

    kept, quantised? ──────────── yes ────────────► map ─┐
      └ no ► read ► check ► quantise, tensor by tensor ──┴► build
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from models import cache
from models.quantise import activations, converted, quantise_layers
from models.registry import Dimensions, WhisperSpec, matching
from models.shortage import is_shortage
from models.weights import DEMO, Weights
from pipeline.errors import BadCheckpoint, ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import torch
    from whisper.model import ModelDimensions, Whisper

    from pipeline.types import Quantisation

# The smallest and largest sane value of each dimension: a file cannot ask for more memory than
# large-v3 takes, nor for what whisper's mel filters, tokenizer and 30-s windows cannot serve.
BOUNDS: dict[str, tuple[int, int]] = {
    "n_mels": (80, 128),  # whisper.audio.mel_filters has these two
    "n_audio_ctx": (1500, 1500),
    "n_audio_state": (64, 1280),
    "n_audio_head": (1, 20),
    "n_audio_layer": (1, 32),
    "n_vocab": (51_864, 51_866),  # English; multilingual; with Cantonese
    "n_text_ctx": (448, 448),
    "n_text_state": (64, 1280),
    "n_text_head": (1, 20),
    "n_text_layer": (1, 32),
}
# Heads of the demo model's cross-attention that follow the sound best: (layer, head). Of all sets
# of up to three, these time the first and last words of the bundled episode best.
DEMO_ALIGNMENT_HEADS = ((1, 0), (1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint that was found sound. Its tensors may still lie in the file."""

    name: str
    spec: WhisperSpec | None  # None: dimensions of no published model, or of several
    dims: ModelDimensions
    state: Mapping[str, torch.Tensor]  # names and shapes as in `Whisper(dims)`

    @property
    def dimensions(self) -> Dimensions:
        """The same, as the registry has them."""
        return Dimensions(**asdict(self.dims))


class _Unsound(Exception):
    """What is wrong with a checkpoint, in words."""


def load(
    weights: Weights,
    quantisation: Quantisation,
    device: str,
    weights_dir: Path,
    note: Callable[[str], None],
) -> Whisper:
    """The model on `device`, for inference only; `quantisation` is settled, not "auto".

    Published weights are quantised once and kept in `weights_dir`; while `cache.holds` them, the
    file of `weights` is not touched. Raises BadCheckpoint, ModelUnavailable.
    """
    from whisper.model import ModelDimensions

    spec = weights.spec
    entry = cache.entry(spec, quantisation, weights_dir) if spec and weights.sha256 else None
    if spec is None or entry is None:
        return build(read(weights), quantisation, device)
    model = _hollow(ModelDimensions(**asdict(spec.dimensions)), quantisation)
    tensors = cache.tensors(
        entry, model.state_dict(), lambda: converted(read(weights).state, model), note
    )
    return _filled(model, tensors.items(), spec, activations(quantisation, device), device)


def read(weights: Weights) -> Checkpoint:
    """Read and check; nothing in the file is executed. Raises BadCheckpoint, ModelUnavailable."""
    from whisper.model import ModelDimensions

    try:
        content = _load(weights.path)
        dimensions = _checked_dimensions(content, weights)
        dims = ModelDimensions(**asdict(dimensions))
        state = _checked_state(content["model_state_dict"], dims)
    except _Unsound as problem:
        raise BadCheckpoint(
            f"{weights.path or 'The demo model'} is not an OpenAI Whisper checkpoint ({problem}): "
            "download or copy it again, or name a published model, such as --model small."
        ) from problem
    return Checkpoint(weights.name, weights.spec or matching(dimensions), dims, state)


def own_dimensions(path: Path) -> Dimensions:
    """Of the user's own file. Raises BadCheckpoint, ModelUnavailable.

    Each version of it is read and checked once, since every file of an archive asks.
    """
    version: tuple[int, int] | None = None
    with suppress(OSError):  # which reading it tells in words
        status = path.stat()
        version = status.st_size, status.st_mtime_ns
    return _own_dimensions(path, version)


@lru_cache(maxsize=8)
def _own_dimensions(path: Path, _version: tuple[int, int] | None) -> Dimensions:
    return read(Weights(path.name, path, None)).dimensions


def build(checkpoint: Checkpoint, quantisation: Quantisation, device: str) -> Whisper:
    """The model on `device`, for inference only; `quantisation` is settled, not "auto"."""
    model = _hollow(checkpoint.dims, quantisation)
    tensors = converted(checkpoint.state, model)
    dtype = activations(quantisation, device)
    return _filled(model, tensors, checkpoint.spec, dtype, device)


def _load(path: Path | None) -> Any:
    """Whatever is in the file, by torch's restricted unpickler."""
    import torch

    try:
        if path is None:
            from models.demo import load_checkpoint

            return load_checkpoint()
        mappable = zipfile.is_zipfile(path)  # torch's older format is not
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
    except (PermissionError, FileNotFoundError) as error:
        raise ModelUnavailable(f"{path} cannot be read ({error.strerror}); check it.") from error
    except Exception as error:
        if is_shortage(error):
            raise
        # A broken or hostile file can raise nearly anything from torch's readers.
        raise _Unsound("it is damaged, or holds other things than tensors") from error


def _checked_dimensions(content: Any, weights: Weights) -> Dimensions:
    if not isinstance(content, Mapping) or not {"dims", "model_state_dict"} <= content.keys():
        raise _Unsound("it has no dims and model_state_dict")
    dims = content["dims"]
    if not isinstance(dims, Mapping) or dims.keys() != BOUNDS.keys():
        raise _Unsound("its dims are not Whisper's ten")
    for name, (low, high) in BOUNDS.items():
        value = dims[name]
        if type(value) is not int or not low <= value <= high:
            raise _Unsound(f"its {name} is not within {low} to {high}")
    found = Dimensions(**{field.name: dims[field.name] for field in fields(Dimensions)})
    if found.n_mels not in BOUNDS["n_mels"]:
        raise _Unsound(f"its n_mels is {found.n_mels}, neither 80 nor 128")
    if found.n_audio_state != found.n_text_state:
        raise _Unsound("its encoder and decoder differ in width")
    if found.n_audio_state % (2 * found.n_audio_head) or found.n_text_state % found.n_text_head:
        raise _Unsound("its width is no multiple of its heads")
    if weights.spec is not None and weights.spec.dimensions != found:
        raise _Unsound(f"its dims are not those of {weights.name}")
    return found


def _checked_state(state: Any, dims: ModelDimensions) -> Mapping[str, torch.Tensor]:
    import torch

    expected = _skeleton(dims).state_dict()
    if not isinstance(state, Mapping) or state.keys() != expected.keys():
        raise _Unsound("its tensors are not those of a Whisper of its dims")
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.shape != expected[name].shape:
            raise _Unsound(f"{name} has another shape than its dims say")
        # sparse tensors and those of the meta device have a shape, but not all numbers
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not (dense and tensor.is_floating_point()):
            raise _Unsound(f"{name} does not hold floating-point numbers")
        if not torch.isfinite(tensor).all():
            raise _Unsound(f"{name} holds what is no number")
    return state


def _hollow(dims: ModelDimensions, quantisation: Quantisation) -> Whisper:
    """The model, float32 but for its quantised layers, without its tensors."""
    model = _skeleton(dims)
    if quantisation in ("int8", "int4"):
        quantise_layers(model, quantisation)
    return model


def _filled(
    model: Whisper,
    tensors: Iterable[tuple[str, torch.Tensor]],
    spec: WhisperSpec | None,
    dtype: torch.dtype,
    device: str,
) -> Whisper:
    """Give the model its tensors, one after the other, on the device and in their precision."""
    _set_precision(model, dtype)
    wanted = model.state_dict()
    placed = {name: tensor.detach().to(device, wanted[name].dtype) for name, tensor in tensors}
    model.load_state_dict(placed, assign=True)
    _set_alignment_heads(model, spec)
    return model.requires_grad_(requires_grad=False).eval().to(device)


def _set_precision(model: Whisper, dtype: torch.dtype) -> None:
    """Of all but layer norms and quantised layers, which have no parameters."""
    from whisper.model import LayerNorm

    for module in model.modules():
        if not isinstance(module, LayerNorm):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    model.encoder.positional_embedding = model.encoder.positional_embedding.to(dtype)


def _skeleton(dims: ModelDimensions) -> Whisper:
    """`Whisper(dims)` with names and shapes, but no memory for its tensors.

    Whisper() as a whole cannot be made on the meta device, since its alignment heads are sparse; so
    a hollow one is made and given its halves.
    """
    from dataclasses import replace

    import torch
    from whisper.model import AudioEncoder, TextDecoder, Whisper

    hollow = replace(
        dims, n_audio_state=4, n_audio_layer=0, n_vocab=1, n_text_state=4, n_text_layer=0
    )
    model = Whisper(hollow)
    model.dims = dims
    audio = (dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer)
    text = (dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer)
    causal_mask = model.decoder.mask  # in no checkpoint
    with torch.device("meta"):
        model.encoder = AudioEncoder(dims.n_mels, *audio)
        model.decoder = TextDecoder(dims.n_vocab, *text)
    model.decoder.mask = causal_mask
    return model


def _set_alignment_heads(model: Whisper, spec: WhisperSpec | None) -> None:
    """Which heads tell the times of words; without a published set, whisper's default stays."""
    import torch
    from whisper import _ALIGNMENT_HEADS

    if spec is not None and spec.name in _ALIGNMENT_HEADS:
        model.set_alignment_heads(_ALIGNMENT_HEADS[spec.name])
        return
    heads = torch.zeros(model.dims.n_text_layer, model.dims.n_text_head, dtype=torch.bool)
    if spec is not None and spec.name == DEMO:
        heads[tuple(zip(*DEMO_ALIGNMENT_HEADS, strict=True))] = True
    else:
        heads[model.dims.n_text_layer // 2 :] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
