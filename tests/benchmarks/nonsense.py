"""What failing takes beside speech: `make nonsense`.

Goes in: sizes. Comes out: a table of processor time on one thread. Does not know: what is said.

A random checkpoint says 78 words a window, which counts as speech. Others say more, and the options
fail every text of theirs: at its end, or as soon as it is sure to fail. Whisper's six temperatures
with five samples each are allowed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from models.pool import Pool, PoolOptions
from pipeline.types import SAMPLE_RATE_HZ, SpeechOptions
from tests.benchmarks.peers.checkpoint import WORDS, random_checkpoint
from tests.benchmarks.peers.engines import clips

WINDOWS, BATCH, ROUNDS = 16, 8, 3
ENDLESS = 300  # words: more than fit
CALM = SpeechOptions(
    language="en",
    quantisation="int8",
    word_times=False,
    compression_ratio_limit=None,
    log_probability_limit=None,
    no_speech_limit=None,
)


def main() -> None:
    """Print a row for each size and kind of text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", default=["tiny", "base", "small"])
    print(f"{'model':8} {'text':34} {'s':>7} {'of speech':>9}")
    for size in parser.parse_args().sizes:
        with tempfile.TemporaryDirectory() as folder:
            speech_s = None
            for label, taken_s in rows(size, Path(folder)):
                speech_s = speech_s or taken_s
                print(f"{size:8} {label:34} {taken_s:7.2f} {taken_s / speech_s:9.2f}", flush=True)


def rows(size, folder):
    """Each kind of text, and seconds for all windows."""
    yield "speech, 78 words", hear(size, folder, WORDS, CALM)[0]
    for words in (160, ENDLESS):
        said = "without end" if words == ENDLESS else f"{words} words"
        _, likelihood = hear(size, folder, words, replace(CALM, temperatures=(0.0,)))
        by_a_hair = replace(CALM, log_probability_limit=likelihood + 0.01)
        yield f"{said}, fails at the end", hear(size, folder, words, by_a_hair)[0]
    unsure = replace(CALM, log_probability_limit=-1.0)
    yield "without end, sure to fail early", hear(size, folder, ENDLESS, unsure)[0]


def hear(size, folder, words, options):
    """Processor time, the best of several rounds, and the largest mean log probability."""
    path = folder / f"{words}.pt"
    if not path.exists():
        torch.save(random_checkpoint(size, words=words), path)
    where = PoolOptions(weights_dir=folder, device="cpu", threads=1, batch_size=BATCH)
    options = replace(options, model=str(path))
    noise = np.random.default_rng(0).standard_normal(WINDOWS * 30 * SAMPLE_RATE_HZ)
    sound, found_s, likelihood = (noise * 0.1).astype(np.float32), [], -np.inf
    with Pool(where, note=lambda _: None).speech(options) as engine:
        for _ in range(ROUNDS):
            start_s = time.process_time()
            heard = list(engine.transcribe(clips(sound, options)))
            found_s.append(time.process_time() - start_s)
            likelihood = max(
                segment.average_log_probability for one in heard for segment in one.segments
            )
    return min(found_s), likelihood


if __name__ == "__main__":
    main()
