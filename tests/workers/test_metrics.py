"""What Prometheus is told."""

from __future__ import annotations

import socket
import urllib.request
from dataclasses import replace

import pytest

from pipeline.errors import MachineError, QueueUnavailable
from workers.ledger_records import Counts
from workers.metrics import families, served

COUNTS = Counts(
    by_state=(("queued", 3), ("running", 1), ("done", 7)),
    ready=(("convert", 2), ("speech", 1)),
    newer=1,
    paused=True,
    media_done_s=3600.0,
    work_done_s=900.0,
    oldest_ready_s=1000.0,
    now_s=1030.5,
    waiting_media_s=120.0,
    attempts=(("done", 9), ("retried", 2), ("dead", 1)),
)


def text_of(counts):
    """As Prometheus reads it."""
    with served(0, counts) as port, urllib.request.urlopen(f"http://127.0.0.1:{port}") as answer:
        return answer.read().decode()


def values_of(counts):
    lines = [line for line in text_of(counts).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_every_number_of_the_queue_is_told():
    assert values_of(lambda: COUNTS) == {
        "transcribe_queue_up": 1,
        'transcribe_jobs{state="queued"}': 3,
        'transcribe_jobs{state="running"}': 1,
        'transcribe_jobs{state="done"}': 7,
        'transcribe_jobs_ready{stage="convert"}': 2,
        'transcribe_jobs_ready{stage="speech"}': 1,
        "transcribe_queue_age_seconds": 30.5,
        "transcribe_waiting_media_seconds": 120,
        "transcribe_jobs_newer": 1,
        "transcribe_paused": 1,
        "transcribe_real_time_factor": 0.25,
        "transcribe_media_seconds_total": 3600,
        "transcribe_work_seconds_total": 900,
        'transcribe_attempts_total{outcome="done"}': 9,
        'transcribe_attempts_total{outcome="retried"}': 2,
        'transcribe_attempts_total{outcome="dead"}': 1,
    }


def test_without_work_there_is_no_age_and_no_factor():
    counts = replace(COUNTS, oldest_ready_s=None, media_done_s=0.0)
    found = {family.name: family for family in families(counts)}
    assert found["transcribe_queue_age_seconds"].samples[0].value == 0
    assert "transcribe_real_time_factor" not in found


def test_while_redis_is_away_only_that_is_told():
    def away():
        raise QueueUnavailable("it is away")

    assert values_of(away) == {"transcribe_queue_up": 0}


def test_a_port_that_is_taken_is_told_in_words():
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        refused = pytest.raises(MachineError, match=f"Port {port} .* another --metrics")
        with refused, served(port, lambda: COUNTS):
            pass
