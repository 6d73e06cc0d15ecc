"""Crews are started, kept up and ended; the queue is kept moving. The crews here are scripts."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from pipeline.types import Job, OutputOptions, Source, SpeechOptions
from workers.app import Bell, new_app, queue_of
from workers.crew import Orders
from workers.fleet import Fleet, FleetOptions, is_idle
from workers.ledger import Ledger
from workers.ledger_records import Counts, Entry
from workers.ledger_view import PREFIX

# A crew reads its orders and does one thing; one of them tells the fleet to stop.
BEGIN = """
import os, signal, sys, time
from pathlib import Path
folder, url = Path(sys.argv[1]), sys.argv[2]
orders, fleet = os.read(0, 9999).decode(), os.getppid()

def until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)

def stop():
    os.kill(fleet, signal.SIGTERM)
    time.sleep(60)
"""


@pytest.fixture
def ledger(redis_server):
    return Ledger(redis_server.client)


@pytest.fixture
def run_fleet(redis_server, ledger, tmp_path):
    """Run crews with this script until the fleet ends."""

    def run(script, *stages, **options):
        bell = Bell(new_app(redis_server.url), redis_server.client)
        orders = [Orders(stage, "fleet", tmp_path) for stage in stages]
        times = {"look_s": 0.02, "restart_s": 0.05, "grace_s": 10.0, "margin_s": 0.0, **options}
        command = (sys.executable, "-c", BEGIN + script, str(tmp_path), redis_server.url)
        Fleet("fleet", orders, ledger, bell, FleetOptions(**times), command).run()

    return run


def job(tmp_path, number=1):
    source = Source(tmp_path / f"{number}.wav", 1000, number)
    return Entry(Job(source, SpeechOptions(), OutputOptions()), "normal", 10.0)


def test_each_crew_is_given_its_own_orders(run_fleet, tmp_path):
    script = """
(folder / ("speech" if '"speech"' in orders else "convert")).touch()
until(lambda: len(list(folder.iterdir())) == 2)
if "speech" in orders: stop()
time.sleep(60)
"""
    run_fleet(script, "convert", "speech")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["convert", "speech"]


def test_a_crew_that_dies_is_started_again(run_fleet, tmp_path):
    script = """
(folder / str(os.getpid())).touch()
if len(list(folder.iterdir())) < 3: sys.exit(1)
stop()
"""
    run_fleet(script, "speech")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_fleet_that_stops_says_so_in_the_ledger(run_fleet, ledger):
    run_fleet("stop()", "speech")
    assert ledger.is_stopping("fleet")
    assert not ledger.is_stopping("another")


def test_a_crew_that_does_not_end_is_killed_with_its_children_after_the_grace(run_fleet, tmp_path):
    script = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    (folder / "child").write_text(str(os.getpid()))
    time.sleep(60)
until((folder / "child").exists)
stop()
"""
    began_s = time.monotonic()
    run_fleet(script, "speech", grace_s=0.2)
    assert 0.2 <= time.monotonic() - began_s < 30
    child = int((tmp_path / "child").read_text())
    while is_alive(child):  # the signal is on its way
        assert time.monotonic() - began_s < 30


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ready_jobs_wake_whoever_is_idle_with_one_message(
    run_fleet, ledger, redis_server, tmp_path
):
    ledger.accept([job(tmp_path, number) for number in range(5)])
    script = f"""
from redis import Redis
redis = Redis.from_url(url)
until(lambda: redis.llen("{PREFIX}{queue_of("convert")}"))
stop()
"""
    run_fleet(script, "speech")
    assert redis_server.client.llen(PREFIX + queue_of("convert")) == 1
    assert redis_server.client.llen(PREFIX + queue_of("speech")) == 0


def test_a_job_whose_worker_is_gone_becomes_ready(run_fleet, ledger, tmp_path):
    (accepted,) = ledger.accept([job(tmp_path)])
    ledger.claim("convert", "gone/1", 0.05)
    script = f"""
from redis import Redis
redis = Redis.from_url(url)
until(lambda: redis.zcard("{PREFIX}running") == 0)
stop()
"""
    run_fleet(script, "speech")
    assert ledger.record(accepted.id).state == "queued"


def test_a_crew_that_takes_nothing_though_jobs_are_ready_is_started_again(
    run_fleet, ledger, tmp_path
):
    ledger.accept([job(tmp_path)])
    script = """
(folder / str(os.getpid())).touch()
if len(list(folder.iterdir())) == 2: stop()
time.sleep(60)
"""
    run_fleet(script, "convert", patience_s=0.2)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("why_not", ["at work", "paused", "another stage"])
def test_a_crew_that_is_at_work_or_has_nothing_to_take_is_left_alone(
    run_fleet, ledger, tmp_path, why_not
):
    ledger.accept([job(tmp_path, number) for number in (1, 2)])
    if why_not == "paused":
        ledger.pause()
    patience_s = 3.0 if why_not == "at work" else 0.3  # to start and claim
    script = f"""
from redis import Redis
from workers.ledger import Ledger
(folder / str(os.getpid())).touch()
redis = Redis.from_url(url, decode_responses=True)
if "{why_not}" == "at work":
    Ledger(redis).claim("convert", f"fleet/convert-{{os.getpid()}}", 60)
time.sleep({2 * patience_s})
stop()
"""
    stage = "speech" if why_not == "another stage" else "convert"
    run_fleet(script, stage, patience_s=patience_s)
    assert len(list(tmp_path.iterdir())) == 1


FROZEN = """
from redis import Redis
from workers.ledger import Ledger
redis = Redis.from_url(url, decode_responses=True)
ledger = Ledger(redis)
if (child := os.fork()) == 0:
    ledger.claim("convert", f"fleet/convert-{os.getpid()}", 0.1)
    if "comes back" in sys.argv[3:]:
        until(lambda: ledger.claim("convert", f"fleet/convert-{os.getpid()}", 60))
    time.sleep(60)
"""


def test_a_process_whose_lease_ran_out_is_killed(run_fleet, ledger, tmp_path):
    """It is frozen, and holds the job's folder, so that nobody else could go on with it."""
    ledger.accept([job(tmp_path)])
    script = """
ended, status = os.waitpid(child, 0)
(folder / "ended").write_text(str(os.WTERMSIG(status)))
stop()
"""
    run_fleet(FROZEN + script, "convert", recover_s=0.1)
    assert (tmp_path / "ended").read_text() == "9"


def test_one_that_has_come_back_by_itself_is_left_alone(run_fleet, ledger, tmp_path):
    ledger.accept([job(tmp_path)])
    script = """
until(lambda: redis.hget("transcribe:attempts", "retried"))
until(lambda: redis.zcard("transcribe:running"))
time.sleep(0.6)
(folder / "ended").write_text(str(os.waitpid(child, os.WNOHANG)[0]))
stop()
"""
    run_fleet(FROZEN.replace("sys.argv[3:]", "'comes back'") + script, "convert", recover_s=0.3)
    assert (tmp_path / "ended").read_text() == "0"


def test_burst_ends_at_once_when_nothing_is_to_be_done(run_fleet):
    run_fleet("time.sleep(60)", "speech", burst=True)


@pytest.mark.parametrize(
    ("states", "newer", "idle"),
    [
        ((), 0, True),
        ((("done", 7), ("failed", 1), ("dead", 1), ("cancelled", 1)), 0, True),
        ((("queued", 1),), 0, False),
        ((("running", 1),), 0, False),
        ((("queued", 2),), 2, True),
        ((("queued", 2), ("running", 1)), 2, False),
    ],
)
def test_a_queue_is_idle_when_nothing_waits_or_runs_that_can_be_done_here(states, newer, idle):
    counts = Counts(
        by_state=states,
        ready=(),
        newer=newer,
        paused=False,
        media_done_s=0.0,
        work_done_s=0.0,
        oldest_ready_s=None,
        now_s=0.0,
        waiting_media_s=0.0,
    )
    assert is_idle(counts) is idle
