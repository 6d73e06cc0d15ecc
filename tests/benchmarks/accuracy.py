"""Word error rate and cue times of the whole program with the demo model: `make accuracy`.

Goes in: the bundled recordings and what is truly said in them. Comes out: a table, or with --json
an object. Does not know: how the words were found.

    python -m tests.benchmarks.accuracy [--json] [--quantisations]

With --quantisations, one after the other: how much each of them costs.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path

import srt

from models.demo import EPISODE, EPISODE_REFERENCE, clips
from models.pool import Pool, PoolOptions
from pipeline.ffmpeg import Tools
from pipeline.run import run
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, OutputOptions, Quantisation, SpeechOptions, Stage

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


def measure(quantisation: Quantisation = "auto") -> tuple[Accuracy, Accuracy]:
    """The bundled episode, and the bundled clips taken together."""
    with tempfile.TemporaryDirectory() as folder:
        episode = cues_of(EPISODE, Path(folder), quantisation)
        heard = [cues_of(clip.path, Path(folder), quantisation) for clip in clips()]
    truth = [tuple(Said(s.start_s, s.end_s, s.text) for s in clip.segments) for clip in clips()]
    episode_truth = read_srt(EPISODE_REFERENCE.read_text(encoding="utf-8"))
    return (
        compare(quantisation, "episode", [episode_truth], [episode]),
        compare(quantisation, "clips", truth, heard),
    )


def cues_of(media: Path, folder: Path, quantisation: Quantisation) -> tuple[Said, ...]:
    """The cues that the program writes for one recording."""
    pool = Pool(PoolOptions(weights_dir=folder), lambda _: None)
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
    truth: list[tuple[Said, ...]],
    heard: list[tuple[Said, ...]],
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
    if "--json" in sys.argv:
        rows = [asdict(row) for quantisation in wanted for row in measure(quantisation)]
        print(json.dumps(rows, indent=1))
        return
    columns = f"{'words':>7}{'WER':>8}{'sentences':>11}{'matched':>9}{'start error':>22}"
    print(f"{'':10}{'':9}{columns}")
    for row in chain.from_iterable(map(measure, wanted)):
        error = f"{row.start_error_median_s:.3f} / {row.start_error_p95_s:.3f} s"
        print(
            f"{row.quantisation:10}{row.recordings:9}{row.words:7}{row.word_error_rate:8.2%}"
            f"{row.sentences:11}{row.starts_matched:9}{error:>22}",
            flush=True,
        )


if __name__ == "__main__":
    main()
