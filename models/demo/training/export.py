"""Makes a checkpoint of a trained network.

In: a model over the compact vocabulary. Out: ``{"dims", "model_state_dict"}`` in fp16 over the full
English vocabulary, as in OpenAI's ``.pt`` files, and its compact form on disk. Does not know: how
the model was trained.
"""

from pathlib import Path
from typing import Any

import torch
from whisper.model import Whisper

from models.demo import compact
from models.demo.training.network import STATE, UNUSED, UNUSED_GAIN, dimensions, embedding_table
from models.demo.training.vocabulary import UNKNOWN, Vocabulary

ENGLISH_TOKENS = 51864


def checkpoint(model: Whisper, vocabulary: Vocabulary) -> dict[str, Any]:
    """The model as a checkpoint; a token that was never trained has a logit of -32."""
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    known = [i for i in range(len(vocabulary.tokens)) if i != UNKNOWN]
    table = torch.zeros(ENGLISH_TOKENS, STATE)
    table[:, 0] = UNUSED
    table[[vocabulary.tokens[i] for i in known]] = embedding_table(model).detach()[known]
    tensors[compact.EMBEDDING] = table
    tensors["decoder.ln.weight"][0] = 0.0
    tensors["decoder.ln.bias"][0] = UNUSED_GAIN
    halves = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
    return {"dims": vars(dimensions(ENGLISH_TOKENS)), "model_state_dict": halves}


def save(model: Whisper, vocabulary: Vocabulary, path: Path) -> None:
    """Write the compact checkpoint, whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    compact.save(checkpoint(model, vocabulary), unfinished)
    unfinished.replace(path)
