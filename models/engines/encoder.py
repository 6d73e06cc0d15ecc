"""Whisper's encoder, as fast as this processor can.

Goes in: a loaded Whisper, then log-mel spectrograms. Comes out: their features. Does not know:
sound, tokens, files.

    float, or on a GPU ───────────────────────────────► whisper's own modules
    int8, on a processor of `processors.INSTRUCTIONS` ► kernels of our own
    int8, on any other, or without numba ─────────────► whisper's own blocks, one in float at a time
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from models.shortage import is_shortage

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from whisper.model import Whisper

_HEAD = 64  # width of a head that the kernels take; all published models have it
# Windows that are worth encoding together. A CPU gains nothing by more than one. Eight have 12 000
# rows, more than enough for every part of a GPU; more would only take memory (not measured).
AT_ONCE_ON_CPU, AT_ONCE_ON_GPU = 1, 8


class FastEncoder:
    """The encoder of one model. When several threads call it, one waits for the other."""

    def __init__(self, model: Whisper, threads: int | None = None) -> None:
        """Packs a copy of int8 weights; `threads` is torch's number unless given.

        `reason` says which arithmetic was taken, and why. Where `is_packed`, nothing of the model
        is kept, and its own encoder may go. More than `at_once` windows gain nothing.
        """
        import torch

        self._encode, self.reason = _fastest(model, threads or torch.get_num_threads())
        self.is_packed = not isinstance(self._encode, _Own)
        self.at_once = AT_ONCE_ON_CPU if model.device.type == "cpu" else AT_ONCE_ON_GPU
        self._lock = Lock()

    def __call__(self, mels: Tensor) -> Tensor:
        """Log-mel spectrograms (n, n_mels, 3000) to features float32 (n, 1500, d)."""
        with self._lock:
            return self._encode(mels)

    def close(self) -> None:
        """Give all memory back."""
        vars(self).clear()


def _fastest(model: Whisper, threads: int) -> tuple[Callable[[Tensor], Tensor], str]:
    """The fastest arithmetic that is right for the model, and why."""
    if not _is_int8(model):
        return _Own(model), "whisper's own modules, since the encoder is not int8"
    if model.device.type != "cpu":
        return _Own(model), "whisper's own modules, since the model is not on the CPU"
    if model.dims.n_audio_state != _HEAD * model.dims.n_audio_head:
        return _Expanded(model), f"whisper's own blocks, since the heads are not {_HEAD} wide"
    try:
        from models.engines.encoder_kernels import KernelEncoder
        from models.kernels.processors import CHOSEN

        return KernelEncoder(model, threads), f"int8 kernels for {CHOSEN.name}"
    except Exception as error:
        if is_shortage(error):
            raise
        # Whatever else ails numba's compiler, whisper's own blocks do not need it.
        told = next(iter(str(error).splitlines()), type(error).__name__)
        return _Expanded(model), f"whisper's own blocks, since {told}"


def _is_int8(model: Whisper) -> bool:
    import torch

    return all(block.attn.key.weight.dtype == torch.int8 for block in model.encoder.blocks)


class _Own:
    """Whisper's own modules."""

    def __init__(self, model: Whisper) -> None:
        self._encoder = model.encoder

    def __call__(self, mels: Tensor) -> Tensor:
        import torch

        with torch.inference_mode():
            return self._encode(mels.to(self._encoder.conv1.weight)).float()

    def _encode(self, mels: Tensor) -> Tensor:
        features: Tensor = self._encoder(mels)
        return features


class _Expanded(_Own):
    """Whisper's own blocks for int8 layers: the weights of one block at a time become float.

    Float products are as fast as the processor's libraries, and no activation is quantised.
    """

    def __init__(self, model: Whisper) -> None:
        from whisper.model import ResidualAttentionBlock

        super().__init__(model)
        block = ResidualAttentionBlock(model.dims.n_audio_state, model.dims.n_audio_head)
        self._block = block.eval().requires_grad_(requires_grad=False)

    def _encode(self, mels: Tensor) -> Tensor:
        from torch.nn.functional import gelu

        encoder = self._encoder
        x = gelu(encoder.conv2(gelu(encoder.conv1(mels))))
        x = x.permute(0, 2, 1) + encoder.positional_embedding
        for block in encoder.blocks:
            self._fill(block)
            x = self._block(x)
        features: Tensor = encoder.ln_post(x)
        return features

    def _fill(self, block: Any) -> None:
        for name, parameter in self._block.named_parameters():
            path, _, kind = name.rpartition(".")
            layer = block.get_submodule(path)
            parameter.copy_(getattr(layer, kind))
            if kind == "weight" and not layer.weight.is_floating_point():
                parameter.mul_(layer.scale[:, None])
