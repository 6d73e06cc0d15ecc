"""Random kills over running fleets, with a seed that tells them again.

Goes in: a yard, a seed, a number of kills. Comes out: a report, after the oracle has looked at
every job. Does not know: what the jobs are.

One supervisor is spared, so that its memory and its descriptors can be watched, as Redis' are;
its crews and workers are killed like all others.

    python -m tests.faults.chaos --kills 1000 --seed 7
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.gauge import Gauge
from tests.faults.oracle import ENDED, processes_of
from tests.faults.processes import PATIENCE_S, kill, until
from tests.faults.yard import opened
from workers.ledger import PREFIX

FLEETS = 2
AHEAD = 4  # jobs that are always open
SCRIPTS = ("pace=0.1", "pace=0.3", "pace=0.6")
LENGTHS_S = (20, 45, 90, 180)
LEASE_S = 1.5
VICTIMS = ("worker", "crew", "fleet", "everything")
WEIGHTS = (80, 12, 5, 3)
SPARES = ("worker", "crew")  # these victims leave the supervisor alive
MOST_KEYS = 20  # that are of no job and do not expire
OFTEN_ENOUGH = 200  # kills: with fewer, what is loaded once looks like growth
JOB_BYTES = 8000  # what Redis may keep of a job until it is forgotten


@dataclass(slots=True)
class Report:
    """What was done and seen."""

    seed: int
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VICTIMS, 0))
    jobs: int = 0
    restarts_s: list[float] = field(default_factory=list)  # from a kill to the job's next claim
    gauges: tuple[Gauge, ...] = ()
    job_bytes: float = 0.0  # what Redis keeps of a job
    left_bytes: int = 0  # what it keeps when all jobs are forgotten
    took_s: float = 0.0

    def lines(self):
        """For a person."""
        kills = ", ".join(f"{number} {victim}" for victim, number in self.kills.items())
        yield (
            f"seed {self.seed}: {sum(self.kills.values())} kills ({kills}), {self.jobs} jobs, "
            f"{self.took_s:.0f} s"
        )
        yield "lost 0, doubled 0, half 0: the oracle found all six promises kept"
        if times := sorted(self.restarts_s):
            half, most = times[len(times) // 2], times[int(len(times) * 0.95)]
            yield (
                f"from a kill to the job's next claim: p50 {half:.1f} s, p95 {most:.1f} s "
                f"({len(times)} jobs, lease {LEASE_S} s)"
            )
        yield from (gauge.line() for gauge in self.gauges)
        yield (
            f"Redis keeps {self.job_bytes:.0f} bytes of a job until it is forgotten, "
            f"then {self.left_bytes} bytes in all"
        )


class Chaos:
    """The one who kills."""

    def __init__(self, yard, seed):
        self._yard = yard
        self._random = Random(seed)
        self._report = Report(seed)
        self._fleets = []
        self._spared = None  # the fleet whose supervisor is watched
        self._orphaned = {}  # job: (fence when its worker was killed, when)

    def run(self, kills):
        """Kill so often, then let everything be done, then ask the oracle."""
        report, began_s = self._report, time.monotonic()
        self._fill_fleets()
        self._spared = self._fleets[0]
        gauges = (
            Gauge("the supervisor", self._spared.pid),
            Gauge("Redis", self._yard.redis.process.pid),
        )
        report.gauges = gauges
        while sum(report.kills.values()) < kills:
            self._fill_up()
            self._strike()
            self._wait(self._random.uniform(0.05, 0.5))
            for gauge in gauges:
                gauge.read()
        self._fill_up()
        until(self._all_ended, "jobs do not end", PATIENCE_S * 4)
        self._yard.check()
        report.jobs = len(self._yard.asked)
        report.job_bytes = self._forget_all()
        report.took_s = time.monotonic() - began_s
        if kills >= OFTEN_ENOUGH:
            for gauge, jobs_bytes in zip(gauges, (0, report.jobs * JOB_BYTES), strict=True):
                gauge.ensure_flat(jobs_bytes)
        return report

    def _forget_all(self):
        """Whatever is left then is of no job, and would grow for ever; gives a job's share."""
        redis, ids = self._yard.redis.client, [one.id for one in self._yard.asked]
        names = [f"{PREFIX}{kind}:{one}" for one in ids for kind in ("job", "wish", "history")]
        taken_bytes = sum(redis.memory_usage(name) for name in names)
        assert len(self._yard.ledger.forget(ids)) == len(ids)
        left = [key for key in redis.scan_iter(f"{PREFIX}*") if redis.ttl(key) == -1]
        assert len(left) < MOST_KEYS, left
        self._report.left_bytes = sum(redis.memory_usage(key) for key in left)
        return taken_bytes / len(ids)

    def _fill_up(self):
        """As many fleets and open jobs as there are to be."""
        self._fill_fleets()
        counts = dict(self._yard.ledger.counts().by_state)
        for _ in range(AHEAD - counts.get("queued", 0) - counts.get("running", 0)):
            number = len(self._yard.asked)
            script, length_s = self._random.choice(SCRIPTS), self._random.choice(LENGTHS_S)
            self._yard.ask(f"{number}.wav", length_s + number / 1000, script)

    def _fill_fleets(self):
        self._fleets = [one for one in self._fleets if one.process.poll() is None]
        while len(self._fleets) < FLEETS:
            self._fleets.append(self._yard.start(lease_s=LEASE_S, processes=2))

    def _strike(self):
        victim = self._random.choices(VICTIMS, WEIGHTS)[0]
        fleet = self._random.choice(
            [one for one in self._fleets if one is not self._spared or victim in SPARES]
        )
        running = self._running()
        pids = {
            "worker": lambda: list(running.values()) or fleet.workers(),
            "crew": fleet.crews,
            "fleet": lambda: [fleet.pid],
            "everything": lambda: [fleet.pid, *fleet.crews(), *fleet.workers()],
        }[victim]()
        if not pids:  # not yet, or not any more
            return
        chosen = pids if victim == "everything" else [self._random.choice(pids)]
        for pid in chosen:
            kill(pid)
        if victim == "worker":
            for job, owner in running.items():
                if owner == chosen[0]:
                    self._orphaned[job] = (self._fence(job), time.monotonic())
        self._report.kills[victim] += 1

    def _running(self):
        """Jobs, and the living processes that are at them."""
        alive = set(processes_of(self._yard.home))
        records = self._yard.ledger.records(["running"], 100)
        owners = {one.id: int(one.owner.rpartition("-")[2]) for one in records}
        return {job: owner for job, owner in owners.items() if owner in alive}

    def _wait(self, seconds):
        """Look meanwhile who came back."""
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            self._look()
            time.sleep(0.05)

    def _look(self):
        for job, (fence, struck_s) in list(self._orphaned.items()):
            if self._fence(job) > fence:
                self._report.restarts_s.append(time.monotonic() - struck_s)
                del self._orphaned[job]

    def _fence(self, job):
        """It grows with every claim."""
        return int(self._yard.redis.client.hget(f"{PREFIX}job:{job}", "fence"))

    def _all_ended(self):
        self._look()
        self._fill_fleets()
        return all(self._yard.ledger.record(one.id).state in ENDED for one in self._yard.asked)


def main():
    """Run it as a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder), attempts=1000) as yard:
        for line in Chaos(yard, wanted.seed).run(wanted.kills).lines():
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
