"""Wall clocks that jump or differ: leases go by Redis' clock, waits by clocks that never jump."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.processes import RedisServer, until
from tests.faults.yard import opened

SLOW = pytest.mark.slow
SOURCE = Path(__file__).with_name("clock.c")
HOUR_S = 3600


class Clock:
    """A wall clock of one's own, for processes that are started with its environment."""

    def __init__(self, folder, library):
        self._path = folder / f"clock-{len(list(folder.glob('clock-*')))}"
        self.environment = {"LD_PRELOAD": str(library), "FAULTS_CLOCK": str(self._path)}
        self.jump(0)

    def jump(self, hours):
        """From now on it is ahead of the true one by so much; it is read where it is written."""
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("l", hours * HOUR_S))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("a C compiler on Linux is needed to make a clock")
    made = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, SOURCE], check=True)
    return made


@pytest.fixture
def new_clock(tmp_path, library):
    return lambda: Clock(tmp_path, library)


@pytest.fixture
def clock(new_clock):
    return new_clock()


@SLOW
@pytest.mark.parametrize("hours", [1, -1])
def test_a_workers_clock_that_jumps_changes_nothing(yard, clock, hours):
    one = yard.ask("one.wav", 200, "pace=0.2")
    yard.start(environment=clock.environment)
    yard.until_at(one, "transcribe", done_s=50)
    assert says_hours(clock) == 0
    clock.jump(hours)
    assert says_hours(clock) == hours
    two = yard.ask("two.wav", 60)
    yard.until_ended()
    yard.check()
    assert [yard.ledger.record(job.id).attempts for job in (one, two)] == [1, 1]


def says_hours(clock):
    """How far ahead a process of this clock is."""
    command = [sys.executable, "-c", "import time; print(time.time())"]
    said = subprocess.run(
        command, env={**os.environ, **clock.environment}, capture_output=True, check=True
    )
    return round((float(said.stdout) - time.time()) / HOUR_S)


@SLOW
def test_two_machines_whose_clocks_differ_share_the_work(yard, new_clock):
    jobs = [yard.ask(f"{number}.wav", 60 + number, "pace=0.2") for number in range(4)]
    for hours in (-1, 1):
        clock = new_clock()
        clock.jump(hours)
        yard.start(environment=clock.environment)
    yard.until_ended()
    yard.check()
    assert all(yard.ledger.record(one.id).attempts == 1 for one in jobs)


@contextmanager
def yard_with_redis_by(clock, folder):
    with opened(folder, redis=RedisServer(folder, clock.environment)) as yard:
        yield yard
        print(yard.log())


@SLOW
def test_redis_clock_set_back_costs_nothing(clock, tmp_path):
    with yard_with_redis_by(clock, tmp_path) as yard:
        one = yard.ask("one.wav", 200, "pace=0.2")
        fleet = yard.start()
        yard.until_at(one, "transcribe", done_s=50)
        fleet.kill_everything()
        clock.jump(-1)  # the lease now ends an hour after it should
        yard.start()
        yard.until_ended()
        yard.check()


@SLOW
def test_redis_clock_set_forward_doubles_nothing(clock, tmp_path):
    with yard_with_redis_by(clock, tmp_path) as yard:
        one = yard.ask("one.wav", 200, "pace=0.2")
        yard.start(processes=2)
        yard.until_at(one, "transcribe", done_s=50)
        before_s = yard.ledger.counts().now_s
        clock.jump(1)
        until(lambda: yard.ledger.counts().now_s > before_s + 3000, "Redis did not notice")
        yard.until_ended()
        yard.check()
