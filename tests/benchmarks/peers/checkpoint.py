"""A Whisper with random weights that says exactly 80 tokens in every window.

Goes in: a size, or dimensions. Comes out: a checkpoint as `torch.load` gives for one of OpenAI's.
Does not know: engines.

Speed must not hang on what random weights happen to say, so positions decide what is said:

    <|0.00|> 78 words <|30.00|> <|endoftext|>

Some directions in the decoder's width belong to control tokens. Every position is strongly against
all of them, except where one of these tokens is due. No layer writes into these directions, and no
word has a part in them. All else is random, and what the words are is up to it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import LANGUAGES, get_tokenizer

from models.registry import find

if TYPE_CHECKING:
    from torch import Tensor

    from models.registry import Dimensions

WORDS = 78
TOKENS = WORDS + 2  # with the timestamps around them
PROMPT = 3  # <|startoftranscript|><|en|><|transcribe|>
SPREAD = 0.02  # of weights, as Whisper-like models are initialised
PUSH = 20.0  # of a position, for or against a control token; layers add up to about 40 elsewhere
VARIETY = 25.0  # of a position, else random: other words at every place
SIZE = 8.0  # of a control token's embedding: logits of about 70, where those of words are below 5


def random_checkpoint(size: str, seed: int = 0, words: int = WORDS) -> dict[str, object]:
    """Of a published model's dimensions, saying so many words."""
    return scripted(find(size).dimensions, seed, words)


def scripted(dimensions: Dimensions, seed: int = 0, words: int = WORDS) -> dict[str, object]:
    """Of any dimensions with the multilingual vocabulary, in float16 as OpenAI publishes them."""
    dims = ModelDimensions(**asdict(dimensions))
    state = random_weights(Whisper(dims), torch.Generator().manual_seed(seed))
    script(state, dims, words)
    halves = {name: tensor.half() for name, tensor in state.items()}
    return {"dims": asdict(dimensions), "model_state_dict": halves}


def random_weights(model: Whisper, chance: torch.Generator) -> dict[str, Tensor]:
    """Norms and the encoder's fixed positions stay as they are."""
    state = model.state_dict()
    for name, parameter in model.named_parameters():
        if "ln" not in name:
            state[name] = torch.randn(parameter.shape, generator=chance) * SPREAD
    return state


def script(state: dict[str, Tensor], dims: ModelDimensions, count: int = WORDS) -> None:
    """Let positions decide; changes `state`."""
    tokenizer = get_tokenizer(multilingual=True, num_languages=len(LANGUAGES) - 1)
    begin = tokenizer.timestamp_begin
    due = {
        begin: PROMPT - 1,  # the last token of the prompt is followed by the first timestamp
        begin + 1500: PROMPT + count,
        tokenizer.eot: PROMPT + count + 1,
    }
    directions = free_directions(len(due) + 1, dims.n_text_state)
    for name, weight in state.items():
        if name.startswith("decoder.blocks") and name.endswith(WRITERS):
            weight -= directions.T @ (directions @ weight)  # noqa: PLW2901  - in place
    positions = state["decoder.positional_embedding"]
    tokens = state["decoder.token_embedding.weight"]
    positions -= (positions @ directions.T) @ directions
    tokens -= (tokens @ directions.T) @ directions
    positions *= VARIETY
    positions -= PUSH * directions.sum(0)
    for (token, position), direction in zip(due.items(), directions[1:], strict=True):
        positions[position] += 2 * PUSH * direction
        tokens[token] += SIZE * direction
    never = sorted(set(range(len(tokens))) - set(due) - set(words(tokenizer)))
    tokens[never] += SIZE * directions[0]


WRITERS = (
    *("attn.out.weight", "attn.out.bias"),  # of self-attention and cross-attention
    *("mlp.2.weight", "mlp.2.bias"),
)


def free_directions(count: int, width: int) -> Tensor:
    """Rows (count, width), orthonormal and of mean zero, which layer norms leave alone."""
    chance = torch.Generator().manual_seed(width)
    rows = torch.randn(count, width, generator=chance)
    rows -= rows.mean(1, keepdim=True)
    return torch.linalg.qr(rows.T).Q.T


def words(tokenizer) -> list[int]:
    """Tokens that are a whole word: what was said can be counted in any engine's text."""
    spelling = tokenizer.encoding.decode_single_token_bytes
    return [
        token
        for token in range(tokenizer.eot)
        if (text := spelling(token))[:1] == b" " and text[1:].isalpha() and text[1:].islower()
    ]
