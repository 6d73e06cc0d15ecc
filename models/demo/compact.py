"""The compact form of a checkpoint whose vocabulary is mostly unused.

Goes in: `{"dims", "model_state_dict"}` as in OpenAI's `.pt` files. Comes out: a dict of the same
tensors, in which the token embedding is stored as its distinct rows, their row numbers and the one
row that all other tokens share; and back again, bit for bit. Does not know: what the tensors mean,
or who made them.

    python -m models.demo.compact demo.pt full.pt    # a file that whisper.load_model() loads
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FORMAT = "transcribe-demo-1"
EMBEDDING = "decoder.token_embedding.weight"


def pack(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The compact form of a checkpoint."""
    import torch

    others = dict(checkpoint["model_state_dict"])
    embedding = others.pop(EMBEDDING).contiguous()
    # Compared as integers, so that -0.0, 0.0 and NaN are kept apart and the round trip is exact.
    rows, kinds, counts = torch.unique(
        embedding.view(torch.int16), dim=0, return_inverse=True, return_counts=True
    )
    common = counts.argmax()
    used = (kinds != common).nonzero()[:, 0]
    return {
        "format": FORMAT,
        "dims": dict(checkpoint["dims"]),
        "tensors": others,
        "embedding_rows": used.to(torch.int32),
        "embedding_used": embedding[used],
        "embedding_rest": rows[common].view(embedding.dtype).clone(),
    }


def unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint that was packed, exactly."""
    if packed.get("format") != FORMAT:
        raise ValueError(f"not a {FORMAT} file: its format is {packed.get('format')!r}")
    dims = dict(packed["dims"])
    embedding = packed["embedding_rest"].repeat(dims["n_vocab"], 1)
    embedding[packed["embedding_rows"].long()] = packed["embedding_used"]
    return {"dims": dims, "model_state_dict": {**packed["tensors"], EMBEDDING: embedding}}


def save(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint in its compact form."""
    import torch

    torch.save(pack(checkpoint), path)


def load(path: Path) -> dict[str, Any]:
    """Read a compact file as the checkpoint that was packed; no code in it is run."""
    import torch

    return unpack(torch.load(path, map_location="cpu", weights_only=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the full file of a compact one."""
    parser = argparse.ArgumentParser(prog="models.demo.compact", description=main.__doc__)
    parser.add_argument("compact", type=Path, help="a compact checkpoint")
    parser.add_argument("full", type=Path, help="the OpenAI-style checkpoint to write")
    options = parser.parse_args(arguments)
    import torch

    torch.save(load(options.compact), options.full)
    return 0


if __name__ == "__main__":
    sys.exit(main())
