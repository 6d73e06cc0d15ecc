"""The demo model's network: openai-whisper's own, only small.

In: spectrograms and compact token ids. Out: encoder states, decoder states and cross-attention.
Does not know: losses, schedules or files.

During training the token embedding holds only the tokens in use; ``export`` spreads them over the
full English vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from whisper.model import ModelDimensions, Whisper, sinusoids

from models.demo.training.shifts import SHIFTS, hold_reserved, place_constants, shifted
from models.demo.training.vocabulary import STAMPS, UNKNOWN, Vocabulary

STATE, HEADS, DECODER_LAYERS = 192, 3, 2
ENCODER_LAYERS = len(SHIFTS)
START_GAINS = (1.0,) * ENCODER_LAYERS
# Embedding dimension 0 is 0 for a token in use and this for any other; with the decoder's last
# layer norm giving ``UNUSED_GAIN`` there, the logit of an unused token is always -32.
UNUSED = -8.0
UNUSED_GAIN = 4.0
_GUIDED_HEADS = (1, 2)  # of each decoder layer: these are drawn to where a token is spoken


@dataclass(frozen=True, slots=True)
class Encoded:
    """The encoder's states, and the input of each of its blocks."""

    states: Tensor
    inputs: list[Tensor]


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoder's states and the guided heads' attention, one tensor a layer."""

    states: Tensor
    attention: list[Tensor]


def dimensions(vocabulary_size: int) -> ModelDimensions:
    """The network's shape with a vocabulary of some size."""
    audio = (80, 1500, STATE, HEADS, ENCODER_LAYERS)
    return ModelDimensions(*audio, vocabulary_size, 448, STATE, HEADS, DECODER_LAYERS)


def build(vocabulary: Vocabulary) -> Whisper:
    """A fresh network, initialised to align text and sound soon."""
    model = Whisper(dimensions(len(vocabulary.tokens)))
    with torch.no_grad():
        embedding = model.decoder.token_embedding.weight.normal_(std=0.05)
        # A timestamp starts as the encoder's position of that time: to point at a frame, the
        # decoder has only to copy its positional vector.
        embedding[vocabulary.first_stamp :] += 0.1 * sinusoids(STAMPS, STATE)
        place_constants(model.encoder.positional_embedding)
        model.decoder.positional_embedding.copy_(0.05 * sinusoids(448, STATE))
        # PyTorch's defaults let the sound fade beside the positions.
        model.encoder.conv1.weight *= 2
        model.encoder.conv2.weight *= 8
        for block in model.encoder.blocks:
            for layer in (block.attn.value, block.attn.out, block.mlp[0], block.mlp[2]):
                layer.weight *= 1.7
    hold_reserved(model, START_GAINS)
    return model


def embedding_table(model: Whisper) -> Tensor:
    """The token embedding, with dimension 0 reserved and the unknown token fixed."""
    weight = model.decoder.token_embedding.weight
    kept, fixed = torch.ones_like(weight), torch.zeros_like(weight)
    kept[:, 0] = 0
    kept[UNKNOWN] = 0
    fixed[UNKNOWN, 0] = UNUSED
    table: Tensor = weight * kept + fixed
    return table


def encode(model: Whisper, mel: Tensor, offset: Tensor, *, by_shifts: bool) -> Encoded:
    """The audio encoder, for windows of any length that start at some position (in frames)."""
    encoder, inputs = model.encoder, []
    x = functional.gelu(encoder.conv1(mel))
    x = functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
    x = x.float() + encoder.positional_embedding[offset[:, None] + torch.arange(x.shape[1])]
    for block, shifts in zip(encoder.blocks, SHIFTS, strict=True):
        inputs.append(x)
        h = block.attn_ln(x)
        x = x + (shifted(block.attn, h, shifts) if by_shifts else block.attn(h)[0])
        x = x + block.mlp(block.mlp_ln(x))
    return Encoded(encoder.ln_post(x), inputs)


def decode(
    model: Whisper, tokens: Tensor, sound: Tensor, table: Tensor, *, guided: bool
) -> Decoded:
    """The text decoder; only if guided, its attention is kept (which costs much time)."""
    decoder, maps = model.decoder, []
    x = functional.embedding(tokens, table) + decoder.positional_embedding[: tokens.shape[1]]
    for block, heads in zip(decoder.blocks, _GUIDED_HEADS, strict=True):
        x = x + block.attn(block.attn_ln(x), mask=decoder.mask)[0]
        h = block.cross_attn_ln(x)
        if guided:
            out, weights = _cross_attention(block.cross_attn, h, sound)
            maps.append(weights[:, :heads])
        else:
            out = block.cross_attn(h, sound)[0]
        x = x + out
        x = x + block.mlp(block.mlp_ln(x))
    return Decoded(decoder.ln(x), maps)


def _cross_attention(attention: Any, x: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
    """Like ``MultiHeadAttention.forward``, but with differentiable weights."""

    def heads(t: Tensor) -> Tensor:
        return t.view(*t.shape[:2], HEADS, -1).transpose(1, 2)

    query, key = heads(attention.query(x)), heads(attention.key(sound))
    value = heads(attention.value(sound))
    logits = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    weights = logits.softmax(-1)
    out = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
    return attention.out(out), weights
