"""Whoever is killed, wherever: no job is lost, none is doubled, nothing half-done is left."""

from __future__ import annotations

import pytest

from tests.faults.processes import children_of, kill
from tests.faults.scripted_crew import POINTS

SLOW = pytest.mark.slow


def worker_of(yard, one):
    """The process that claimed the job."""
    return int(yard.ledger.record(one.id).owner.rpartition("-")[2])


def kill_worker(yard, fleet, one):
    kill(worker_of(yard, one))


def kill_crew(yard, fleet, one):
    victim = worker_of(yard, one)
    kill(next(crew for crew in fleet.crews() if victim in children_of(crew)))


def kill_fleet(yard, fleet, one):
    kill(fleet.pid)
    fleet.process.wait()
    yard.start()


def kill_everything(yard, fleet, one):
    fleet.kill_everything()
    yard.start()


STRIKES = (kill_worker, kill_crew, kill_fleet, kill_everything)
QUICK = (("transcribe", kill_crew), ("transcribe", kill_everything))
CASES = [
    pytest.param(stage, strike, marks=() if (stage, strike) in QUICK else SLOW)
    for stage in ("transcribe", "convert")
    for strike in STRIKES
]


@pytest.mark.parametrize(("stage", "strike"), CASES)
def test_a_job_whose_worker_is_killed_is_done_by_another(yard, stage, strike):
    one = yard.ask("long.wav", 200, "pace=0.5", priority="high")
    yard.ask("other.wav", 30)
    fleet = yard.start(convert_speed=30 if stage == "convert" else None)
    yard.until_at(one, stage, done_s=20.0)
    strike(yard, fleet, one)
    yard.until_ended()
    yard.check()
    attempts = [line for line in yard.ledger.history(one.id) if "attempt 2" in line.what]
    assert len(attempts) == 1
    if stage == "transcribe":
        assert "continued at" in yard.log()


@pytest.mark.parametrize(
    "point",
    [
        *POINTS[::3],
        *(pytest.param(point, marks=SLOW) for point in POINTS if point not in POINTS[::3]),
    ],
)
def test_a_worker_that_dies_while_it_tells_or_publishes_does_no_harm(yard, point):
    yard.ask("one.wav", 30)
    (yard.home / f"die-{point}").touch()
    yard.start()
    yard.until_ended()
    yard.check()
    assert not (yard.home / f"die-{point}").exists(), "nobody died"


def test_a_file_that_kills_every_worker_is_given_up_and_the_others_are_done(yard):
    poison = yard.ask("poison.wav", 30, "poison", ends=("dead",), priority="high")
    for name in ("a.wav", "b.wav"):
        yard.ask(name, 30 + len(yard.asked))
    yard.start(lease_s=0.6)
    yard.until_ended()
    yard.check()
    record = yard.ledger.record(poison.id)
    assert record.attempts == 3
    assert record.reason


def test_a_job_that_fails_by_the_machines_fault_is_tried_again_and_then_given_up(yard):
    one = yard.ask("one.wav", 30, "fail=ToolFailed", ends=("dead",))
    yard.start()
    yard.until_ended()
    yard.check()
    record = yard.ledger.record(one.id)
    assert record.attempts == 3
    assert record.error == "ToolFailed"
    assert "as the script wants it" in record.reason


def test_a_job_that_fails_by_the_inputs_fault_is_not_tried_again(yard):
    one = yard.ask("one.wav", 30, "fail=NotMedia", ends=("failed",))
    yard.start()
    yard.until_ended()
    yard.check()
    assert yard.ledger.record(one.id).error == "NotMedia"
