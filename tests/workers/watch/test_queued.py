"""Watched files in a real ledger, with a worker that does what the test says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import QueueUnavailable
from pipeline.types import Outcome
from tests.workers.watch.watching import Yard
from workers.ledger import Ledger, job_id
from workers.progress import Silence
from workers.watch.queued import QueuedOptions, QueuedWork

LEASE_S = 60.0


class Flaky:
    """A ledger that is away when the test says so."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.is_away = False

    def __getattr__(self, name):
        if self.is_away:
            raise QueueUnavailable("The queue does not answer.")
        return getattr(self.ledger, name)


class Queue:
    """The part of `queue_access.Queue` that is used."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.woken = []

    def wake(self, stages):
        self.woken.append(tuple(stages))


class Mute:
    def print(self, *_, **__): ...


class House:
    """A yard, a queue, and `run` that lets both go on for some seconds."""

    def __init__(self, tmp_path, redis, **options):
        self.yard = Yard(tmp_path)
        self.ledger = Flaky(Ledger(redis))
        self.queue = Queue(self.ledger)
        self.options = QueuedOptions(**options)
        self.outcomes = []
        self.begin()

    def begin(self):
        self.work = QueuedWork(
            self.yard.watcher,
            self.queue,
            Silence(Mute()),
            self.yard.warnings.append,
            self.pause,
            self.options,
        )

    def restart(self):
        self.yard.start()
        self.begin()

    def pause(self, seconds):
        self.yard.clock.now_s += seconds
        if self.yard.clock.now_s > self.end_s:
            raise KeyboardInterrupt

    def run(self, seconds):
        self.end_s = self.yard.clock.now_s + seconds
        source = self.work.outcomes()
        with pytest.raises(KeyboardInterrupt):
            self.outcomes.extend(source)
        # what a generator was in the midst of is gone with it; the work itself is not
        self.yard.tasks = self.yard.watcher.tasks()

    def finish(self, state="done", **more):
        """Do one job as a worker does."""
        claim = self.ledger.claim("convert", "worker/1", LEASE_S)
        self.ledger.advance(claim, 1.0)
        claim = self.ledger.claim("speech", "worker/1", LEASE_S)
        path = claim.job.source.path
        srt = path.with_suffix(".en.srt")
        if state == "done":
            srt.write_text("text")
            more = {"outputs": (srt,), **more}
        self.ledger.finish(claim, Outcome(path, state, **more))

    def counts(self):
        return {state: number for state, number in self.ledger.counts().by_state if number}


@pytest.fixture
def house(tmp_path, redis_server):
    return House(tmp_path, redis_server.client)


def test_a_dropped_file_is_a_job_whose_end_is_heard_of(house):
    house.yard.drop("talk.mp3")
    house.run(20)
    assert house.counts() == {"queued": 1}
    assert house.queue.woken == [("convert",)]
    house.finish()
    house.run(10)
    (outcome,) = house.outcomes
    assert outcome.outputs[0].name == "talk.en.srt"
    house.run(60)
    assert house.counts() == {"done": 1}


def test_many_files_are_jobs_each_once(house):
    for number in range(1200):
        house.yard.drop(f"{number}.mp3")
    house.run(30)
    assert house.counts() == {"queued": 1200}


def test_a_watcher_that_was_killed_takes_up_what_it_left_in_the_queue(house):
    house.yard.drop("talk.mp3")
    house.run(20)
    house.restart()
    house.run(20)
    assert house.counts() == {"queued": 1}
    house.finish()
    house.run(20)
    assert len(house.outcomes) == 1


def test_two_watchers_of_one_folder_make_one_job(house, tmp_path, redis_server):
    other = House(tmp_path, redis_server.client)
    house.yard.drop("talk.mp3")
    house.run(20)
    other.run(20)
    assert house.counts() == {"queued": 1}
    house.finish()
    house.run(10)
    other.run(10)
    assert len(house.outcomes) == len(other.outcomes) == 1


def test_files_that_are_found_while_the_queue_is_away_wait_for_it(house):
    house.ledger.is_away = True
    house.yard.drop("talk.mp3")
    house.run(60)
    (warning,) = house.yard.warnings
    assert "does not answer" in warning
    house.ledger.is_away = False
    house.run(20)
    assert house.counts() == {"queued": 1}
    assert house.yard.warnings[1:] == ["The queue answers again."]


def test_a_ledger_that_was_wiped_gets_its_jobs_back(house, redis_server):
    house.yard.drop("talk.mp3")
    house.run(20)
    redis_server.client.flushall()
    house.run(30)
    assert house.counts() == {"queued": 1}


def test_a_failure_is_remembered_and_not_queued_again(house):
    house.yard.drop("talk.mp3")
    house.run(20)
    house.finish("failed", reason="no media", error="NotMedia", exit_code=2)
    house.run(60)
    assert house.counts() == {"failed": 1}
    ((_, failure),) = house.yard.store.failures()
    assert failure.reason == "no media"


@pytest.mark.parametrize("retry_failed", [False, True])
def test_what_failed_in_the_queue_by_another_watcher_is_queued_again_only_if_asked(
    tmp_path, redis_server, retry_failed
):
    house = House(tmp_path, redis_server.client, retry_failed=retry_failed)
    house.yard.drop("talk.mp3")
    house.run(20)
    house.finish("failed", reason="no media", error="NotMedia", exit_code=2)
    house.restart()  # it did not hear of the failure, and its home knows of none
    house.run(20)
    assert house.counts() == ({"queued": 1} if retry_failed else {"failed": 1})
    told = [one.reason for one in house.outcomes]
    assert told == ([] if retry_failed else ["no media"])
    assert told == [one.reason for one in house.yard.told()]


def test_a_job_that_somebody_cancelled_stays_cancelled(house):
    house.yard.drop("talk.mp3")
    house.run(20)
    (task,) = house.work._tasks.values()
    house.ledger.cancel([job_id(task.job)])
    house.run(60)
    house.restart()
    house.run(60)
    assert house.counts() == {"cancelled": 1}


def test_an_output_that_is_deleted_is_made_again_although_the_queue_knows_the_job_as_done(house):
    house.yard.drop("talk.mp3")
    house.run(20)
    house.finish()
    house.run(20)
    Path(house.outcomes[0].outputs[0]).unlink()
    house.run(30)
    assert house.counts() == {"queued": 1}


def test_a_name_that_is_not_utf_8_is_a_job_like_others(house):
    path = house.yard.drop(os.fsdecode(b"caf\xe9\n.mp3"))
    house.run(20)
    house.finish()
    house.run(20)
    assert [(one.source, one.state) for one in house.outcomes] == [(path, "done")]
