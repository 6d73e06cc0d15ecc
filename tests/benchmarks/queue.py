"""What the queue costs: `make bench-queue`, also with QUEUE_BENCH="--files 40 --rounds 3".

Goes in: numbers of files, jobs and rounds. Comes out: a table, and the same as JSON on the last
line. Does not know: why. The model is the demo model; Redis is one of its own, with its log on the
disk as `transcribe doctor` wants it. Of what is timed more than once, the fastest counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from models.demo import EPISODE
from models.engines.scripted import ScriptedDetector, ScriptedEngine, ScriptedEngines
from pipeline.ffmpeg import Tools
from pipeline.run import run
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, OutputOptions, Source, Span, SpeechOptions
from tests.workers.conftest import running
from workers.app import Bell, new_app
from workers.ledger import Ledger
from workers.ledger_records import Entry
from workers.tasks import WorkOptions, Workplace, drain

LENGTH_S = 8.0  # of a file: one window
OPTIONS = ("--model", "demo", "--language", "en", "--quiet")
CLAIMS = 1000
EMPTY_FILES = 10_000
DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")


class Bench:
    """A folder, a Redis, and the program in both."""

    def __init__(self, folder: Path, server) -> None:
        self.folder = folder
        self.redis = server.client
        self.url = server.url
        self.ledger = Ledger(server.client)

    def transcribe(self, *arguments: str) -> float:
        """Run the program with a fresh home; gives the seconds."""
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        ours = {"TRANSCRIBE_HOME": str(home), "TRANSCRIBE_REDIS_URL": self.url}
        began_s = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "workers.cli", *arguments],
            env={**os.environ, **ours},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        return time.monotonic() - began_s


@contextmanager
def opened():
    """A bench with an empty Redis."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        socket = ("--port", "0", "--unixsocket", str(folder / "s"), "--dir", name)
        with running(f"unix://{folder / 's'}", *socket, *DURABLE) as server:
            yield Bench(folder, server)


def media(folder: Path, number: int) -> list[str]:
    """Short files, no two of which are the same sound."""
    folder.mkdir()
    paths = [folder / f"{index:03}.wav" for index in range(number)]
    for index, path in enumerate(paths):
        begin = ("-ss", str(index % 20 * LENGTH_S / 2), "-t", str(LENGTH_S + index // 20 / 10))
        command = ["ffmpeg", "-v", "error", *begin, "-i", str(EPISODE), "-ac", "1", str(path)]
        subprocess.run(command, check=True)
    return [str(path) for path in paths]


# ── a job here and there ─────────────────────────────────────────────────────────────────────


def overhead_ms(bench: Bench, files: list[str], rounds: int) -> dict[str, float]:
    """Milliseconds a file with an engine that takes no time, in this process, one after another."""
    engines = ScriptedEngines(ScriptedEngine(), ScriptedDetector((Span(1.0, 6.0),)))
    took_ms = {"run": [], "queue": []}
    for round_ in range(rounds):
        for how, work in (("run", ran), ("queue", drained)):
            home = bench.folder / f"{how}-{round_}"
            jobs = [job_of(path, home / "out") for path in files]
            began_s = time.monotonic()
            work(bench, jobs, engines, Store(home))
            took_ms[how].append(1000 * (time.monotonic() - began_s) / len(files))
    run_ms, queue_ms = min(took_ms["run"]), min(took_ms["queue"])
    return {
        "run_ms_a_job": run_ms,
        "queue_ms_a_job": queue_ms,
        "overhead_ms_a_job": queue_ms - run_ms,
    }


def ran(_: Bench, jobs: list[Job], engines: ScriptedEngines, store: Store) -> None:
    """As `transcribe run` does it."""
    for job in jobs:
        run(job, store, engines, Tools(), Silent())


def drained(bench: Bench, jobs: list[Job], engines: ScriptedEngines, store: Store) -> None:
    """Enqueue, then both stages."""
    bench.redis.flushall()
    bench.ledger.accept(Entry(job, "normal", LENGTH_S) for job in jobs)
    bell = Bell(new_app(bench.url), bench.redis)
    for stage in ("convert", "speech"):
        about = (stage, f"bench/{stage}-1", bench.ledger, bell, store, Tools())
        drain(Workplace(*about, lambda *_: engines, WorkOptions()))
    if bench.ledger.counts().by_state[2] != ("done", len(jobs)):
        sys.exit("not all jobs are done")


def job_of(path: str, folder: Path) -> Job:
    """Of one file."""
    return Job(take(Path(path)), SpeechOptions(language="en"), OutputOptions(output_dir=folder))


class Silent:
    """A listener that nobody asks."""

    def stage(self, stage: str, total_s: float | None) -> None:
        """Heard by nobody."""

    def progress(self, done_s: float) -> None:
        """Heard by nobody."""

    def note(self, text: str) -> None:
        """Heard by nobody."""


def programs_s(bench: Bench, files: list[str], rounds: int) -> dict[str, float]:
    """Seconds of `run` and of a worker with the demo model, from start to end."""
    run_s, queue_s = [], []
    for round_ in range(rounds):
        place = str(bench.folder / f"{round_}")  # what is there is not done again
        run_s.append(bench.transcribe("run", *OPTIONS, "--output-dir", f"{place}-run", *files))
        queue_s.append(queued_s(bench, (*OPTIONS, "--output-dir", f"{place}-queue"), files))
    return {"files": len(files), "run_s": min(run_s), "worker_s": min(queue_s)}


def queued_s(bench: Bench, options: tuple[str, ...], files: list[str]) -> float:
    """Of a worker, from its start until nothing is left."""
    bench.redis.flushall()
    bench.transcribe("enqueue", *options, *files)
    took_s = bench.transcribe("worker", "--burst", "--quiet")
    done = [job for job in bench.ledger.records(("done",), len(files)) if job.took_s]
    if len(done) != len(files) or any(job.reason for job in done):
        sys.exit(f"of {len(files)} jobs, {len(done)} are done, or some were skipped")
    return took_s


# ── many jobs ────────────────────────────────────────────────────────────────────────────────


def enqueue_rates(bench: Bench) -> dict[str, float]:
    """Files a second by the program, its start included."""
    folder = bench.folder / "many"
    folder.mkdir()
    for index in range(EMPTY_FILES):
        (folder / f"{index}.mp3").write_bytes(b"-")
    bench.redis.flushall()
    took_s = bench.transcribe("enqueue", *OPTIONS, "--recursive", str(folder))
    return {"enqueue_s_10000": took_s, "enqueue_files_a_second": EMPTY_FILES / took_s}


def with_many(bench: Bench, number: int) -> dict[str, float]:
    """Memory of Redis, and how long its answers take, with so many jobs."""
    bench.redis.flushall()
    before_bytes = bench.redis.info("memory")["used_memory"]
    accept_s = timed(lambda: bench.ledger.accept(map(entry, range(number))))
    memory_bytes = bench.redis.info("memory")["used_memory"] - before_bytes
    claims_ms = [
        1000 * timed(lambda: bench.ledger.claim("convert", "bench/convert-1", 3600))
        for _ in range(CLAIMS)
    ]
    return {
        "jobs": number,
        "accept_jobs_a_second": number / accept_s,
        "redis_mb": memory_bytes / 1e6,
        "redis_bytes_a_job": memory_bytes / number,
        "claim_ms_p50": statistics.median(claims_ms),
        "claim_ms_p95": statistics.quantiles(claims_ms, n=20)[-1],
        "counts_ms": 1000 * min(timed(bench.ledger.counts) for _ in range(10)),
        "status_s": min(bench.transcribe("status") for _ in range(3)),
        "cancel_all_s": bench.transcribe("cancel", "--all"),
        "forget_all_s": bench.transcribe("forget", "--ended-before", "0s"),
        "redis_mb_afterwards": (bench.redis.info("memory")["used_memory"] - before_bytes) / 1e6,
    }


def entry(index: int) -> Entry:
    """A job of a file that is not there."""
    source = Source(Path(f"/media/archive/some show/episode {index:06}.mp3"), 10**7, index)
    job = Job(source, SpeechOptions(language="en"), OutputOptions())
    return Entry(job, "normal", 600.0 + index % 100)


def timed(work) -> float:
    """Seconds."""
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s


def main() -> None:
    """Print a line a number, then all as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=100_000)
    asked = parser.parse_args()
    found: dict[str, float] = {}
    with opened() as bench:
        files = media(bench.folder / "media", asked.files)
        for part in (
            lambda: overhead_ms(bench, files, asked.rounds),
            lambda: programs_s(bench, files, asked.rounds),
            lambda: enqueue_rates(bench),
            lambda: with_many(bench, asked.jobs),
        ):
            for name, value in part().items():
                print(f"{name:<24} {value:12.2f}", flush=True)
                found[name] = round(value, 3)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
