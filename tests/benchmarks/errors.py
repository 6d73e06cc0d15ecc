"""How far quantised encoders are from float32: `python -m tests.benchmarks.errors`.

Goes in: nothing. Comes out: the relative error of the encoded sound, for int8 and int4. Does not
know: what is heard in it.

The demo model hears its episode; random models of tiny's width have three channels that every layer
norm makes louder, as in trained models.
"""

from __future__ import annotations

import torch
from whisper.audio import N_SAMPLES
from whisper.model import ModelDimensions

from models.checkpoint import Checkpoint, build, read
from models.demo import EPISODE
from models.engines.encoder import FastEncoder
from models.engines.spectrum import log_mel
from models.registry import find
from models.weights import DEMO, Weights
from tests.benchmarks.peers.sound import samples_of
from tests.models.test_encoder import seeded

TINYS = ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 384, 6, 1)
KINDS = ("int8", "int4")


@torch.inference_mode()
def errors(checkpoint: Checkpoint, mels: torch.Tensor) -> list[float]:
    """Of the features of each kind, relative to those of float32."""
    exact = build(checkpoint, "float32", "cpu").encoder(mels)
    found = [FastEncoder(build(checkpoint, kind, "cpu"))(mels) for kind in KINDS]
    return [float((features - exact).norm() / exact.norm()) for features in found]


def main() -> None:
    """Print a row for each model."""
    mels = log_mel(samples_of(EPISODE)[:N_SAMPLES], TINYS.n_mels, torch.device("cpu"))[None]
    models = {"demo, speech": read(Weights(DEMO, None, find(DEMO)))}
    models |= {f"random, three channels {times} x": seeded(TINYS, times) for times in (1, 30, 100)}
    print(f"{'':32}", *(f"{kind:>6}" for kind in KINDS))
    for name, checkpoint in models.items():
        print(f"{name:32}", *(f"{error:6.3f}" for error in errors(checkpoint, mels)))


if __name__ == "__main__":
    main()
