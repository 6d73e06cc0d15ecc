"""Writes Whisper checkpoints as whisper.cpp reads them, in the order of its own converter.

Sources: models/convert-pt-to-ggml.py, examples/quantize and ggml-common.h of whisper.cpp 1.8.5.
"""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import numpy as np
import torch
import whisper

ASSETS = Path(whisper.__file__).parent / "assets"
MAGIC = 0x67676D6C
FTYPES = {"f32": 0, "f16": 1, "q8_0": 2007, "q5_1": 2009}  # quantised: 1000 × version 2 + ftype
TYPES = {"f32": 0, "f16": 1, "q5_1": 7, "q8_0": 8}
DIMS = (
    *("n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer"),
    *("n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels"),
)
POSITIONS = ("encoder.positional_embedding", "decoder.positional_embedding")


def write(path, checkpoint, ftype="f16"):
    """`checkpoint` is what `torch.load` gives for one of OpenAI's files; returns the path."""
    dims, state = checkpoint["dims"], checkpoint["model_state_dict"]
    with path.open("wb") as file:
        numbers = (MAGIC, *(dims[name] for name in DIMS), FTYPES[ftype])
        file.write(struct.pack("<12I", *numbers))
        file.write(mel_filters(dims["n_mels"]))
        file.write(vocabulary(multilingual=dims["n_vocab"] >= 51865))
        for name, tensor in state.items():
            file.write(entry(name, tensor.float().numpy(), ftype))
    return path


def mel_filters(n_mels):
    with np.load(ASSETS / "mel_filters.npz") as filters:
        table = filters[f"mel_{n_mels}"].astype("<f4")
    return struct.pack("<2i", *table.shape) + table.tobytes()


def vocabulary(*, multilingual):
    name = "multilingual" if multilingual else "gpt2"
    lines = (ASSETS / f"{name}.tiktoken").read_text().splitlines()
    tokens = [base64.b64decode(line.split()[0]) if line[0] != " " else b"" for line in lines]
    return struct.pack("<i", len(tokens)) + b"".join(
        struct.pack("<i", len(token)) + token for token in tokens
    )


def entry(name, array, ftype):
    """The header and the numbers of one tensor."""
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        array = array[:, None]
    kind = kind_of(name, array, ftype)
    header = struct.pack("<3i", array.ndim, len(name), TYPES[kind])
    sizes = struct.pack(f"<{array.ndim}i", *array.shape[::-1])
    return header + sizes + name.encode() + ENCODERS[kind](array)


def kind_of(name, array, ftype):
    if array.ndim < 2 or name.endswith("bias") or name in POSITIONS:
        return "f32"
    if array.ndim == 3 and ftype != "f32":  # the convolutions are never quantised
        return "f16"
    return ftype


def q8_0(array):
    """Blocks of 32: a scale in float16, then a byte for each number."""
    blocks = array.reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / 127
    numbers = np.rint(blocks / np.where(scale, scale, 1)).astype("<i1")
    return packed(scale.astype("<f2"), numbers)


def q5_1(array):
    """Blocks of 32: scale and least value in float16, the fifth bits, then four bits for each."""
    blocks = array.reshape(-1, 32)
    low, high = blocks.min(axis=1, keepdims=True), blocks.max(axis=1, keepdims=True)
    scale = (high - low) / 31
    numbers = np.rint((blocks - low) / np.where(scale, scale, 1)).astype(np.uint32)
    fifths = ((numbers >> 4) << np.arange(32, dtype=np.uint32)).sum(axis=1, dtype="<u4")
    fours = (numbers[:, :16] & 15) | (numbers[:, 16:] & 15) << 4
    return packed(scale.astype("<f2"), low.astype("<f2"), fifths[:, None], fours.astype("<u1"))


def packed(*columns):
    return np.hstack([np.ascontiguousarray(column).view("<u1") for column in columns]).tobytes()


ENCODERS = {
    "f32": lambda array: array.astype("<f4").tobytes(),
    "f16": lambda array: array.astype("<f2").tobytes(),
    "q8_0": q8_0,
    "q5_1": q5_1,
}


def with_idle_layer(checkpoint):
    """The same model with a decoder layer more, which adds nothing to what passes through it.

    whisper.cpp takes a model with two decoder layers for one of the first distilled ones and gives
    it no timestamps.
    """
    dims, state = checkpoint["dims"], checkpoint["model_state_dict"]
    last = dims["n_text_layer"]
    prefix = "decoder.blocks.0."
    silent = ("attn.out.weight", "attn.out.bias", "mlp.2.weight", "mlp.2.bias")
    idle = {
        f"decoder.blocks.{last}.{name.removeprefix(prefix)}": (
            torch.zeros_like(tensor) if name.endswith(silent) else tensor
        )
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    return {"dims": {**dims, "n_text_layer": last + 1}, "model_state_dict": {**state, **idle}}
