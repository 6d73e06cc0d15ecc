"""Redis is there, but not to be reached, or another server takes its place."""

from __future__ import annotations

import shutil

import pytest

from tests.faults.networks import WatchedRedis, proxy
from tests.faults.processes import until
from tests.faults.yard import opened

SLOW = pytest.mark.slow


@pytest.fixture
def way(yard):
    with proxy(yard.redis.port) as made:
        yield made


@SLOW
def test_a_worker_that_is_cut_off_loses_its_job_and_does_no_harm_when_it_is_back(yard, way):
    one = yard.ask("one.wav", 200, "pace=0.2")
    cut_off = yard.start(home=yard.home.with_name("cut-off"), url=way.url)
    yard.until_at(one, "transcribe", done_s=50)
    way.go_silent()
    other = yard.start()
    until(lambda: yard.ledger.record(one.id).state == "done", "nobody took over")
    way.speak()
    until(lambda: "put down: the job is lost" in yard.log(), "nobody told the one that was cut off")
    assert cut_off.term() == 0
    assert other.term() == 0
    yard.check()
    assert yard.ledger.record(one.id).attempts == 2


@SLOW
def test_connections_that_a_router_forgot_are_given_up_in_time(yard, way):
    one = yard.ask("one.wav", 200, "pace=0.2")
    yard.start(url=way.url)
    yard.until_at(one, "transcribe", done_s=50)
    way.go_silent()
    way.speak_to_new_ones()
    yard.ask("two.wav", 30)
    until(
        lambda: all(yard.ledger.record(job.id).state == "done" for job in yard.asked),
        "the worker does not come back",
        120,  # some time-outs of 10 s, one after the other
    )
    yard.check()


@SLOW
def test_a_replica_that_takes_the_masters_place_goes_on_with_the_jobs(tmp_path):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with opened(tmp_path, redis=WatchedRedis(tmp_path)) as yard:
        one = yard.ask("one.wav", 300, "pace=0.3")
        yard.ask("two.wav", 30)
        yard.start()
        yard.until_at(one, "transcribe", done_s=50)
        yard.redis.kill_master()
        until(lambda: "The work goes on" in yard.log(), "nobody noticed")
        yard.until_ended()
        yard.check()
