"""Word error rate and cue times of the whole program with the demo model: `make accuracy`.

Goes in: the bundled recordings and what is truly said in them. Comes out: a table, or with --json
an object. Does not know: how the words were found.

    python -m tests.benchmarks.accuracy [--json] [--quantisations] [--voices]

With --quantisations, one after the other: how much each of them costs. With --voices, also 250
sentences by voices that the demo model was trained with, and 250 by others: they are spoken by
espeak-ng, flite and festival with the voices that `make demo-model` names, once.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import tempfile
import wave
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import srt

from models.demo import EPISODE, EPISODE_REFERENCE, clips
from models.demo.training.evaluate import recordings_of
from models.demo.training.speech import RATE_HZ, Audio
from models.demo.training.synth import make_pool
from models.pool import Pool, PoolOptions
from pipeline.ffmpeg import Tools
from pipeline.run import run
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, OutputOptions, Quantisation, SpeechOptions, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

QUANTISATIONS: tuple[Quantisation, ...] = ("float32", "bfloat16", "float16", "int8", "int4")


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence and when it was said."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well one set of recordings was heard."""

    quantisation: Quantisation
    recordings: str
    words: int
    word_error_rate: float
    sentences: int
    starts_matched: int  # sentences whose first word begins a cue
    start_error_median_s: float
    start_error_p95_s: float


class Unheard:
    """A listener that nobody listens to."""

    def stage(self, stage: Stage, total_s: float | None) -> None: ...

    def progress(self, done_s: float) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Recordings:
    """Media, and what is truly said in each."""

    name: str
    media: tuple[Path, ...]
    truth: tuple[tuple[Said, ...], ...]


def bundled() -> tuple[Recordings, Recordings]:
    """The bundled episode, and the bundled clips taken together."""
    episode = read_srt(EPISODE_REFERENCE.read_text(encoding="utf-8"))
    truth = (tuple(Said(s.start_s, s.end_s, s.text) for s in clip.segments) for clip in clips())
    return (
        Recordings("episode", (EPISODE,), (episode,)),
        Recordings("clips", tuple(clip.path for clip in clips()), tuple(truth)),
    )


def voices(pool: Path, folder: Path) -> Iterator[Recordings]:
    """Held-out sentences by voices that were heard in training, and by others."""
    for _ in make_pool(pool, 0, os.cpu_count() or 1):
        pass
    for part in ("seen", "unseen"):
        found = list(recordings_of(pool / part))
        media = [folder / f"{part}-{number}.wav" for number in range(len(found))]
        for path, recording in zip(media, found, strict=True):
            write_wav(path, recording.audio)
        truth = ([Said(s.start_s, s.end_s, s.text) for s in one.truth] for one in found)
        yield Recordings(part, tuple(media), tuple(map(tuple, truth)))


def write_wav(path: Path, samples: Audio) -> None:
    """16 bits, 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def measure(
    quantisation: Quantisation = "auto", recordings: Iterable[Recordings] | None = None
) -> Iterator[Accuracy]:
    """How well each is heard, the bundled ones unless others are given."""
    with tempfile.TemporaryDirectory() as folder:
        pool = Pool(PoolOptions(weights_dir=Path(folder)), lambda _: None)
        for one in recordings or bundled():
            heard = [cues_of(media, Path(folder), quantisation, pool) for media in one.media]
            yield compare(quantisation, one.name, one.truth, heard)


def cues_of(media: Path, folder: Path, quantisation: Quantisation, pool: Pool) -> tuple[Said, ...]:
    """The cues that the program writes for one recording."""
    job = Job(
        take(media),
        SpeechOptions(model="demo", quantisation=quantisation),
        OutputOptions(output_dir=folder / "out"),
    )
    outcome = run(job, Store(folder / "home"), pool, Tools(), Unheard())
    return read_srt(outcome.outputs[0].read_text(encoding="utf-8"))


def read_srt(text: str) -> tuple[Said, ...]:
    """The cues of an SRT file."""
    return tuple(
        Said(cue.start.total_seconds(), cue.end.total_seconds(), cue.content.replace("\n", " "))
        for cue in srt.parse(text)
    )


def compare(
    quantisation: Quantisation,
    name: str,
    truth: Sequence[tuple[Said, ...]],
    heard: Sequence[tuple[Said, ...]],
) -> Accuracy:
    """Word error rate over all recordings, and how far the starts of sentences are off."""
    import jiwer
    from whisper.normalizers import EnglishTextNormalizer

    normalise = EnglishTextNormalizer()
    said = [normalise(" ".join(s.text for s in recording)) for recording in truth]
    wrote = [normalise(" ".join(s.text for s in recording)) for recording in heard]
    errors_s = [error for pair in zip(truth, heard, strict=True) for error in start_errors_s(*pair)]
    return Accuracy(
        quantisation=quantisation,
        recordings=name,
        words=sum(len(text.split()) for text in said),
        word_error_rate=jiwer.wer(said, wrote),
        sentences=sum(map(len, truth)),
        starts_matched=len(errors_s),
        start_error_median_s=statistics.median(errors_s),
        start_error_p95_s=statistics.quantiles(errors_s, n=20)[-1],
    )


def start_errors_s(truth: tuple[Said, ...], heard: tuple[Said, ...]) -> list[float]:
    """For each sentence whose first word begins a cue: how far apart the two starts are."""
    said, starts = words_of(truth)
    wrote, cue_starts = words_of(heard)
    matcher = SequenceMatcher(None, said, wrote, autojunk=False)
    pairs = (
        (block.a + i, block.b + i)
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    )
    return [
        abs(starts[mine] - cue_starts[theirs])
        for mine, theirs in pairs
        if mine in starts and theirs in cue_starts
    ]


def words_of(texts: tuple[Said, ...]) -> tuple[list[str], dict[int, float]]:
    """All words, and the start of each text under the index of its first word."""
    words: list[str] = []
    starts = {}
    for text in texts:
        starts[len(words)] = text.start_s
        words += re.findall(r"[\w']+", text.text.lower())
    return words, starts


def main() -> None:
    """Print the table, each line as soon as it is known."""
    wanted = QUANTISATIONS if "--quantisations" in sys.argv else ("auto",)
    with tempfile.TemporaryDirectory() as folder:
        spoken = voices(Path("build/demo-pool"), Path(folder)) if "--voices" in sys.argv else ()
        recordings = (*bundled(), *spoken)
        rows = chain.from_iterable(measure(quantisation, recordings) for quantisation in wanted)
        if "--json" in sys.argv:
            print(json.dumps(list(map(asdict, rows)), indent=1))
        else:
            show(rows)


def show(rows: Iterable[Accuracy]) -> None:
    """A line each."""
    columns = f"{'words':>7}{'WER':>8}{'sentences':>11}{'matched':>9}{'start error':>22}"
    print(f"{'':10}{'':9}{columns}")
    for row in rows:
        error = f"{row.start_error_median_s:.3f} / {row.start_error_p95_s:.3f} s"
        print(
            f"{row.quantisation:10}{row.recordings:9}{row.words:7}{row.word_error_rate:8.2%}"
            f"{row.sentences:11}{row.starts_matched:9}{error:>22}",
            flush=True,
        )


if __name__ == "__main__":
    main()
