"""What a summary asks of a language model: `python -m tests.benchmarks.summaries [--json FILE]`.

Goes in: lengths of recordings and of contexts. Comes out: a table of parts, merges and counts of
tokens, what they cover, the fullest question, and what our own code takes for each call.
Does not know: real models. A scripted engine answers at once, by the schema, and counts five
letters for a token; what it does takes time too, which is measured apart and taken off.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.summarise import summarise
from pipeline.summaries.writing import SUFFIXES, render
from tests.benchmarks.watch import peak_mb
from tests.pipeline.summaries.scripted_engine import Memory, ScriptedEngine, is_merge
from tests.pipeline.summaries.talks import talk

MINUTES = (10, 180, 720)
CONTEXTS = (4096, 8192, 32_768)
COLUMNS = (
    "minutes", "context", "calls", "planned", "parts", "merges", "counts", "covered_%",
    "fullest_%", "plan_ms", "ms_a_call", "points", "chapters",
)  # fmt: skip


@dataclass
class TimedEngine(ScriptedEngine):
    """Notes how long it was at work itself."""

    own_s: float = 0.0
    first_asked_s: float | None = None
    fullest_tokens: int = 0

    def count_tokens(self, request):
        began_s = time.perf_counter()
        try:
            return super().count_tokens(request)
        finally:
            self.own_s += time.perf_counter() - began_s

    def answer(self, request, heed):
        began_s = time.perf_counter()
        self.first_asked_s = self.first_asked_s or began_s
        try:
            answer = super().answer(request, heed)
            used_tokens = answer.prompt_tokens + request.max_answer_tokens
            self.fullest_tokens = max(self.fullest_tokens, used_tokens)
            return answer
        finally:
            self.own_s += time.perf_counter() - began_s


def measured(minutes: int, context_tokens: int) -> dict[str, float]:
    """One summary, and what it took."""
    said = talk(minutes)
    engine, memory = TimedEngine(context_tokens), Memory()
    began_s = time.perf_counter()
    summary = summarise(said, engine, SummaryOptions(style="meeting"), memory, lambda: None)
    for kind in SUFFIXES:
        render(kind, summary)
    ours_s = time.perf_counter() - began_s - engine.own_s
    merges = sum(map(is_merge, engine.asked))
    covered = summary.coverage
    return dict(
        zip(
            COLUMNS,
            (
                minutes,
                context_tokens,
                len(engine.asked),
                memory.progress[0][1],
                len(engine.asked) - merges,
                merges,
                engine.counted,
                100 * covered.covered_s / covered.speech_s,
                round(100 * engine.fullest_tokens / context_tokens, 1),
                round(1000 * (engine.first_asked_s - began_s), 1),
                round(1000 * ours_s / len(engine.asked), 2),
                len(summary.points),
                len(summary.chapters),
            ),
            strict=True,
        )
    )


def extractive(minutes: int) -> str:
    """The same without a model."""
    said = talk(minutes)
    began_s = time.perf_counter()
    summary = summarise(said, None, SummaryOptions(), Memory(), lambda: None)
    took_s = time.perf_counter() - began_s
    found = f"{len(summary.points)} points, {len(summary.chapters)} chapters"
    return f"{minutes} minutes, extractive: {took_s:.2f} s, {found}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    measured(10, 4096)  # what is imported late
    rows = [measured(minutes, context) for minutes in MINUTES for context in CONTEXTS]
    print("  ".join(COLUMNS))
    for row in rows:
        cells = (f"{row[name]:g}".rjust(len(name)) for name in COLUMNS)
        print("  ".join(cells))
    for minutes in MINUTES:
        print(extractive(minutes))
    print(f"peak memory: {peak_mb():.0f} MB")
    if wanted.json:
        wanted.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
