"""The queue in Prometheus' words.

Goes in: the ledger's counts. Comes out: metrics, on a port when asked. Does not know: how they are
counted, who looks.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import MachineError, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from workers.ledger_records import Counts


@contextmanager
def served(port: int, counts: Callable[[], Counts]) -> Iterator[int]:
    """Answer on this port, asking for fresh counts each time, for as long as the `with` lasts.

    Gives the port; 0 takes one that is free. Raises MachineError when it cannot be had.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(_Collector(counts))
    try:
        server, _ = start_http_server(port, registry=registry)
    except OSError as error:
        raise MachineError(
            f"Port {port} cannot be used for metrics ({error.strerror}): give another --metrics."
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


class _Collector:
    """Asks the ledger whenever somebody looks."""

    def __init__(self, counts: Callable[[], Counts]) -> None:
        self._counts = counts

    def describe(self) -> tuple[Metric, ...]:
        """Nothing, so that registering asks nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics; only that it is away when the ledger is."""
        from prometheus_client.core import GaugeMetricFamily

        try:
            counts = self._counts()
        except QueueUnavailable:
            yield GaugeMetricFamily("transcribe_queue_up", "1: Redis answers.", 0)
            return
        yield GaugeMetricFamily("transcribe_queue_up", "1: Redis answers.", 1)
        yield from families(counts)


def families(counts: Counts) -> Iterator[Metric]:
    """The metrics, named by Prometheus' rules: base units, counters end in _total."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    jobs = GaugeMetricFamily("transcribe_jobs", "Jobs by state.", labels=["state"])
    for state, number in counts.by_state:
        jobs.add_metric([state], number)
    yield jobs
    ready = GaugeMetricFamily(
        "transcribe_jobs_ready", "Jobs that a worker could take now.", labels=["stage"]
    )
    for stage, number in counts.ready:
        ready.add_metric([stage], number)
    yield ready
    attempts = CounterMetricFamily(
        "transcribe_attempts",
        "Attempts at a stage of a job, by how they ended.",
        labels=["outcome"],
    )
    for outcome, number in counts.attempts:
        attempts.add_metric([outcome], number)
    yield attempts
    for name, text, value in _gauges(counts):
        yield GaugeMetricFamily(name, text, value)
    for name, text, value in _counters(counts):
        yield CounterMetricFamily(name, text, value)


def _gauges(counts: Counts) -> Iterator[tuple[str, str, float]]:
    oldest_s = counts.oldest_ready_s
    age_s = 0.0 if oldest_s is None else max(0.0, counts.now_s - oldest_s)
    yield "transcribe_queue_age_seconds", "How long the oldest ready job has waited.", age_s
    yield "transcribe_waiting_media_seconds", "Sound that waits.", counts.waiting_media_s
    yield "transcribe_jobs_newer", "Jobs of a newer version, left alone here.", counts.newer
    yield "transcribe_paused", "1: no job is begun.", float(counts.paused)
    if counts.media_done_s > 0:
        factor = counts.work_done_s / counts.media_done_s
        yield "transcribe_real_time_factor", "Seconds of work for a second of media.", factor


def _counters(counts: Counts) -> Iterator[tuple[str, str, float]]:
    yield "transcribe_media_seconds", "Media that is done.", counts.media_done_s
    yield "transcribe_work_seconds", "Time that it took.", counts.work_done_s
