"""How large a Whisper's weights are, as they are kept in memory.

Goes in: dimensions, a precision, whether kernels take them. Comes out: bytes. Does not know:
caches, activations, devices, torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.registry import Dimensions
    from pipeline.types import Quantisation

FLOAT_BYTES = 4  # of layer norms, scales, biases of quantised layers
KERNEL_BYTES = 2  # of a bfloat16 number: convolutions, keys and values of the kernels
_INT4_GROUP = 64  # models/int4.py: weights that share a scale and a zero point, two bytes each
_PANEL = 64  # models/kernels/tiles.py: columns of the widest
_OUTPUT_BYTES = 12  # models/kernels/arithmetic.py, Linear: int32 start, float32 scale and bias


@dataclass(frozen=True, slots=True)
class Model:
    """What bytes are counted of."""

    dimensions: Dimensions
    quantisation: Quantisation
    number_bytes: int  # of weights that are not quantised, of what is calculated, of the caches
    is_packed: bool  # for int8 kernels

    @property
    def is_quantised(self) -> bool:
        """Whether linear layers and the token embedding are."""
        return self.quantisation in ("int8", "int4")


def of_modules(model: Model) -> int:
    """All tensors of the model that `models.checkpoint` builds."""
    n = model.dimensions
    layers_bytes = n.n_audio_layer * _linears_bytes(model, n.n_audio_state, attentions=1)
    layers_bytes += n.n_text_layer * _linears_bytes(model, n.n_text_state, attentions=2)
    return layers_bytes + FLOAT_BYTES * _block_norms(n) + _frame_bytes(model)


def _frame_bytes(model: Model) -> int:
    """All that is in no block."""
    n = model.dimensions
    audio, text = n.n_audio_state, n.n_text_state
    embedding_bytes = n.n_vocab * text * model.number_bytes
    if model.is_quantised:  # int8, with one scale a row
        embedding_bytes = n.n_vocab * (text + FLOAT_BYTES)
    others = _convolutions(n) + 2 * audio + n.n_audio_ctx * audio + n.n_text_ctx * text
    norms_and_mask = 2 * audio + 2 * text + n.n_text_ctx**2
    return embedding_bytes + model.number_bytes * others + FLOAT_BYTES * norms_and_mask


def _convolutions(n: Dimensions) -> int:
    """Weights of the two."""
    return 3 * (n.n_mels + n.n_audio_state) * n.n_audio_state


def _block_norms(n: Dimensions) -> int:
    return 4 * n.n_audio_layer * n.n_audio_state + 6 * n.n_text_layer * n.n_text_state


def _linears_bytes(model: Model, width: int, attentions: int) -> int:
    """Of one block: four layers for each attention, then two of which one side is 4 times wider."""
    weights = (4 * attentions + 8) * width**2
    outputs = (4 * attentions + 5) * width
    biases = outputs - attentions * width  # the keys have none
    if not model.is_quantised:
        return model.number_bytes * (weights + biases)
    if model.quantisation == "int4" and width % _INT4_GROUP == 0:
        return weights // 2 + 4 * weights // _INT4_GROUP + FLOAT_BYTES * biases
    return weights + FLOAT_BYTES * (outputs + biases)


def of_kernels(model: Model) -> int:
    """Both packings; nothing of the model is left."""
    n = model.dimensions
    audio, text, vocabulary = n.n_audio_state, n.n_text_state, whole_panels(n.n_vocab)
    encoder_bytes = n.n_audio_layer * (12 * audio**2 + 9 * audio * _OUTPUT_BYTES)
    encoder_bytes += KERNEL_BYTES * _convolutions(n) + FLOAT_BYTES * (n.n_audio_ctx + 4) * audio
    # the keys of cross-attention are turned: each head has an output for every channel
    outputs = (12 + n.n_text_head) * text
    decoder_bytes = n.n_text_layer * (16 * text**2 + outputs * _OUTPUT_BYTES)
    decoder_bytes += n.n_vocab * (text + FLOAT_BYTES) + FLOAT_BYTES * (n.n_text_ctx + 2) * text
    decoder_bytes += vocabulary * (text + _OUTPUT_BYTES)  # the embedding again, in panels
    return encoder_bytes + decoder_bytes + FLOAT_BYTES * _block_norms(n)


def whole_panels(columns: int) -> int:
    """As many columns as the panels that hold them."""
    return -(-columns // _PANEL) * _PANEL
