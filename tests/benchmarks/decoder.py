"""Time of a decoder's step: `python -m tests.benchmarks.decoder`.

Goes in: sizes (tiny, base and small unless given), `--threads N`, `--rounds N`. Comes out: tables.
Does not know: what the models say; they have random weights of true dimensions. Decoders take
turns, and the best of many steps counts, by the wall clock and by the processor's time: on a busy
machine only the latter means something, and only for one thread.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from whisper.decoding import PyTorchInference
from whisper.model import ModelDimensions, Whisper

from models.engines.decode import quiet
from models.engines.decoder import Decoder, fastest
from models.engines.decoder_modules import ModuleDecoder
from models.quantise import quantise_layers
from models.registry import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROWS = (1, 4, 8, 16)
LENGTH = 40  # tokens before the step: the middle of half a minute of speech
WORDS = 80  # tokens of half a minute of speech
HEADS = 10  # that whisper aligns by, about as many as the published models have
BEAMS = 5


@dataclass(slots=True)
class Best:
    """The shortest of many runs, in ms."""

    wall_ms: float = math.inf
    cpu_ms: float = math.inf

    def run(self, work: Callable[[], object]) -> None:
        """Time it once."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.wall_ms = min(self.wall_ms, (time.perf_counter() - wall) * 1e3)
        self.cpu_ms = min(self.cpu_ms, (time.process_time() - cpu) * 1e3)

    def __str__(self) -> str:
        return f"{self.wall_ms:9.2f} /{self.cpu_ms:7.2f}"


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", default=("tiny", "base", "small"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with torch.inference_mode(), quiet():
        print(f"{given.threads} threads; ms by the wall clock / of processor time")
        for size in given.sizes:
            steps(size, given.rounds)


def steps(size: str, rounds: int) -> None:
    """One token more, for some rows; and what beams and word times add."""
    model = random_model(size)
    int8 = random_model(size)
    quantise_layers(int8, "int8")
    ours, reason = fastest(int8, max(ROWS), max(ROWS))
    floats = ModuleDecoder(model, max(ROWS), max(ROWS))
    features = torch.randn(model.dims.n_audio_ctx, model.dims.n_audio_state)
    for decoder in (ours, floats):
        for place in range(max(ROWS)):
            decoder.hear([place], [features])
    print(f"\n{size}: a step after {LENGTH} tokens\n({reason})")
    print(f"{'rows':>6}{'int8':>18}{'float32':>18}{'openai-whisper':>18}{'ratio':>8}")
    for rows in ROWS:
        works = (
            one_step(ours, rows, range(rows)),
            one_step(floats, rows, range(rows)),
            openai_step(random_model(size), features, rows),
        )
        mine, own, theirs = take_turns(works, rounds)
        print(
            f"{rows:6}{mine!s:>18}{own!s:>18}{theirs!s:>18}{theirs.wall_ms / mine.wall_ms:7.1f}x",
            flush=True,
        )
    given = [50258] + [1000] * (WORDS - 1)
    works = (
        one_step(ours, BEAMS, [0] * BEAMS),
        lambda: ours.hear([0], [features]),
        lambda: ours.begin(0, [0], [given[:4]], (0, 3))[0],
        lambda: ours.align(0, 0, given, 50257),
    )
    labels = (f"{BEAMS} beams", "hear a window", "begin a row", f"align {WORDS} tokens")
    for label, best in zip(labels, take_turns(works, rounds), strict=True):
        print(f"{label:>22}{best}")


def take_turns(works: Iterable[Callable[[], object]], rounds: int) -> list[Best]:
    """The best of each, after one run that does not count."""
    works = list(works)
    found = [Best() for _ in works]
    for work in works:
        work()
    for _ in range(rounds):
        for best, work in zip(found, works, strict=True):
            best.run(work)
    return found


def one_step(decoder: Decoder, rows: int, places: Iterable[int]) -> Callable[[], object]:
    """The same step again and again."""
    tokens, positions, heard = [1000] * rows, [LENGTH] * rows, list(places)
    return lambda: decoder.step(tokens, positions, heard)


def openai_step(model: Whisper, features: torch.Tensor, rows: int) -> Callable[[], object]:
    """whisper's own, which appends to its cache: a step longer every time."""
    heard = features[None].repeat(rows, 1, 1)
    tokens = torch.full((rows, LENGTH), 1000)
    inference = PyTorchInference(model, LENGTH)
    inference.logits(tokens, heard)
    longer = torch.full((rows, LENGTH + 1), 1000)
    return lambda: inference.logits(longer, heard)


def random_model(size: str) -> Whisper:
    """A published model's dimensions, and as many heads to align by as it has."""
    torch.manual_seed(0)
    dims = find(size).dimensions
    model = Whisper(ModelDimensions(**{name: getattr(dims, name) for name in dims.__slots__}))
    heads = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    heads.view(-1)[-HEADS:] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model


if __name__ == "__main__":
    main()
