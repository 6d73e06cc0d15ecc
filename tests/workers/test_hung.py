"""A frozen process of Celery holds nothing up; everything is real but the engine."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from models.demo import EPISODE
from pipeline.source import take
from pipeline.types import Job, OutputOptions, SpeechOptions
from workers.app import Bell, new_app
from workers.beat import BeatOptions
from workers.crew import Orders
from workers.fleet import Fleet, FleetOptions
from workers.ledger import Ledger
from workers.ledger_records import Entry
from workers.tasks import WorkOptions

CREW = (sys.executable, str(Path(__file__).parents[1] / "faults" / "scripted_crew.py"))
pytestmark = pytest.mark.slow
PATIENCE_S = 60.0
LEASE_S = 2.0


@pytest.fixture
def ledger(redis_server):
    return Ledger(redis_server.client)


@pytest.fixture
def fleet(redis_server, ledger, tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSCRIBE_REDIS_URL", redis_server.url)
    monkeypatch.setenv("TRANSCRIBE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    work = WorkOptions(BeatOptions(LEASE_S, 0.1, grace_s=1.0), waits_s=(0.1,), busy_s=0.2)
    options = FleetOptions(grace_s=1.0, look_s=0.1, restart_s=0.2, patience_s=4.0, recover_s=0.5)
    bell = Bell(new_app(redis_server.url), redis_server.client)
    return Fleet(
        "host", [Orders("speech", "host", tmp_path, work=work)], ledger, bell, options, CREW
    )


def ask(ledger, folder, script=""):
    """A job of one stage."""
    speech = SpeechOptions(language="en", initial_prompt=script or None)
    job = Job(
        take(EPISODE),
        speech,
        OutputOptions(output_dir=folder, name=f"{len(script)}.{{stem}}.{{format}}"),
    )
    (accepted,) = ledger.accept([Entry(job, "normal", 10.0, stages=("speech",))])
    return accepted.id


def until(condition):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.02)


def children_of(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def crew():
    """The master's id, once it is there: it leads a group, and has a child."""
    found = []

    def is_there():
        found[:] = [pid for pid in children_of(os.getpid()) if os.getpgid(pid) == pid]
        found[:] = [pid for pid in found if children_of(pid)]
        return found

    until(is_there)
    return found[0]


def run(fleet, meanwhile):
    """Run the fleet until the other thread is done."""
    failures = []

    def beside():
        try:
            meanwhile()
        except BaseException as error:  # noqa: BLE001  - raised below
            failures.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=beside)
    thread.start()
    fleet.run()
    thread.join()
    for failure in failures:
        raise failure


def test_a_frozen_master_is_replaced_when_jobs_are_ready(fleet, ledger, tmp_path):
    def meanwhile():
        first = ask(ledger, tmp_path)
        until(lambda: ledger.record(first).state == "done")
        master = crew()
        os.kill(master, signal.SIGSTOP)
        second = ask(ledger, tmp_path, "pace=0")
        until(lambda: ledger.record(second).state == "done")
        assert crew() != master
        assert ledger.record(second).attempts == 1

    run(fleet, meanwhile)


def test_a_frozen_child_loses_its_job_and_its_place(fleet, ledger, tmp_path):
    def meanwhile():
        job = ask(ledger, tmp_path, "pace=0.3")
        until(lambda: ledger.record(job).pipeline_stage == "transcribe")
        master = crew()
        (child,) = children_of(master)
        os.kill(child, signal.SIGSTOP)
        until(lambda: ledger.record(job).state == "done")
        assert child not in children_of(master)
        assert ledger.record(job).attempts == 2  # the frozen one and the one that did it

    run(fleet, meanwhile)
