"""One Celery worker, as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.codec import dumps
from workers.crew import Orders

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(redis_server, tmp_path):
    """Start a crew that has its orders; every process of it is gone afterwards."""
    started = []

    def begin(stage):
        crew = subprocess.Popen(
            [sys.executable, "-m", "workers.crew"],
            cwd=ROOT,
            env={**os.environ, "TRANSCRIBE_REDIS_URL": redis_server.url},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )
        started.append(crew)
        crew.stdin.write(dumps(Orders(stage, "worker", tmp_path)).encode() + b"\n")
        return crew

    yield begin
    for crew in started:
        crew.kill()
        crew.wait()
        crew.stdin.close()


def test_a_crew_dies_at_once_when_its_fleet_is_gone(start):
    crew = start("speech")
    crew.stdin.close()
    assert crew.wait(60) == -signal.SIGKILL


def test_what_is_loaded_before_the_fork_holds_no_library_that_would_not_survive_it():
    script = """
import sys, celery, celery.apps.worker, workers.crew
from workers.app import new_app
new_app("redis://127.0.0.1:1/0").Worker
heavy = {"torch", "numpy", "numba", "whisper", "silero_vad"}
print(*sorted(heavy.intersection(sys.modules)))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert ended.stdout.split() == []
