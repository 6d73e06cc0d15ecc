"""Makes the demo model: synthesise, train, measure.

In: options. Out: the checkpoint, its figures on the terminal. Does not know: how any step is done.
The only place of this package that prints.

    python -m models.demo.training [--minutes 91] [--pool FOLDER] [--out FILE]
    python -m models.demo.training --measure    # only the figures, of the file that is there
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from models.demo import CHECKPOINT
from models.demo.training.evaluate import evaluate, texts_in_silence
from models.demo.training.synth import make_pool
from models.demo.training.train import Recipe, train

CHUNKS = 147  # of 250 utterances: 23.3 hours
MINUTES = 91.0
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class _Options:
    pool: Path
    out: Path
    minutes: float
    chunks: int
    sentences: int | None
    measure: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps; those of the pool that are done are kept."""
    options = _parse(arguments)
    chunks = 0 if options.measure else options.chunks
    for done in make_pool(options.pool, chunks, PROCESSES):
        _say(f"synthesised chunk {done}")
    if not options.measure:
        _train(options)
    for row in evaluate(options.out, options.pool, options.sentences):
        figures = "  ".join(f"{name} {value:.4g}" for name, value in asdict(row.figures).items())
        _say(f"{row.recordings}, {row.condition}: {figures}")
    texts = texts_in_silence(options.out)
    _say(f"silence: {len(texts)} recordings with text {texts[:3]}")
    return 0


def _train(options: _Options) -> None:
    for progress in train(Recipe(options.pool, options.out, options.minutes, PROCESSES)):
        _say("  ".join(f"{name} {value:.4g}" for name, value in asdict(progress).items()))
    _say(f"wrote {options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


def _parse(arguments: Sequence[str] | None) -> _Options:
    parser = argparse.ArgumentParser(prog="models.demo.training", description=main.__doc__)
    parser.add_argument("--pool", type=Path, default=Path("build/demo-pool"))
    parser.add_argument("--out", type=Path, default=CHECKPOINT)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training")
    parser.add_argument("--chunks", type=int, default=CHUNKS, help="of 250 utterances each")
    parser.add_argument("--measure", action="store_true", help="do not train")
    parser.add_argument("--sentences", type=int, help="evaluate only so many of each part")
    return _Options(**vars(parser.parse_args(arguments)))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
