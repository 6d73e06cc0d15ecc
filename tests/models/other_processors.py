"""What a small int8 model hears by the kernels; run as a program, what another processor hears.

The environment tells numba which features there are. With "arm" the products of bytes are signed,
as Arm's, by a stand-in of two AVX2 instructions: zero lies elsewhere then, in every sum and buffer.
NUMBA_CACHE_DIR has to name a folder that is for nothing else.

    python -m tests.models.other_processors RESULT.npz [arm]
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from models.kernels import processors


def as_arm() -> None:
    """Let the kernels take a processor with AVX2 for one; before anything else imports them."""
    # what is compiled for the stand-in must not be kept where AVX2's is
    assert "NUMBA_CACHE_DIR" in os.environ, "a folder of its own is wanted"
    arm = next(row for row in processors.INSTRUCTIONS if row.bytes_by == "sdot")
    here = processors.CHOSEN
    processors.CHOSEN = replace(arm, lanes=here.lanes, rows=here.rows, columns=here.columns)

    from models.kernels import tiles

    def signed(build: Any, sums: Any, left: Any, right: Any) -> Any:
        """The sums with four signed products more each: what `sdot` gives."""
        for is_odd in (True, False):
            pair = []
            for words in (left, right):
                shorts = build.bitcast(words, tiles._SHORTS)
                shorts = shorts if is_odd else build.shl(shorts, tiles._EIGHT)
                pair.append(build.ashr(shorts, tiles._EIGHT))
            added = tiles._call(build, "llvm.x86.avx2.pmadd.wd", *pair, gives=tiles._WORDS)
            sums = build.add(sums, added)
        return sums

    tiles._DOTS["sdot"] = signed


@torch.inference_mode()
def heard() -> dict[str, np.ndarray]:
    """Encoded sound, logits of a beginning and of steps, and what words are aligned by."""
    from models.engines.encoder import FastEncoder
    from tests.models.test_decoder import FRAMES, int8_model, kernels, some_tokens

    mels = torch.randn(2, 80, 2 * FRAMES, generator=torch.Generator().manual_seed(3))
    encoder = FastEncoder(int8_model(), threads=2)
    assert "kernels for" in encoder.reason
    features = encoder(mels).clone()
    decoder = kernels(2, 12)
    decoder.hear([0, 1], list(features))
    begun = decoder.begin(0, [0, 1], some_tokens(2, 30), [0, 29]).clone()
    stepped = decoder.step([5, 6], [30, 30], [0, 1]).clone()
    aligned = decoder.align(2, 1, some_tokens(1, 20)[0], 50257)
    found = {
        "encoded": features,
        "begun": begun,
        "stepped": stepped,
        "likelihoods": aligned.probabilities.log(),
        "scores": aligned.scores,
    }
    return {name: tensor.numpy() for name, tensor in found.items()}


if __name__ == "__main__":
    if sys.argv[2:] == ["arm"]:
        as_arm()
    np.savez(sys.argv[1], **heard())
    print(processors.CHOSEN.name)
