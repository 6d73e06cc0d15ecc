"""Random kills over running fleets, with a seed that tells them again.

Goes in: a yard, a seed, a number of kills. Comes out: a report, after the oracle has looked at
every job. Does not know: what the jobs are.

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

from tests.faults.oracle import ENDED
from tests.faults.yard import PATIENCE_S, kill, opened, until
from workers.ledger import PREFIX

FLEETS = 2
AHEAD = 4  # jobs that are always open
SCRIPTS = ("pace=0.1", "pace=0.3", "pace=0.6")
LENGTHS_S = (20, 45, 90, 180)
LEASE_S = 1.5
VICTIMS = ("worker", "crew", "fleet", "everything")
WEIGHTS = (80, 12, 5, 3)


@dataclass(slots=True)
class Report:
    """What was done and seen."""

    seed: int
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VICTIMS, 0))
    jobs: int = 0
    restarts_s: list[float] = field(default_factory=list)  # from a kill to the job's next claim

    def lines(self):
        """For a person."""
        yield f"seed {self.seed}: {sum(self.kills.values())} kills ({self.kills}), {self.jobs} jobs"
        yield "lost 0, doubled 0, half 0: the oracle found all six promises kept"
        if times := sorted(self.restarts_s):
            half, most = times[len(times) // 2], times[int(len(times) * 0.95)]
            yield (
                f"from a kill to the job's next claim: p50 {half:.1f} s, p95 {most:.1f} s "
                f"({len(times)} jobs, lease {LEASE_S} s)"
            )


class Chaos:
    """The one who kills."""

    def __init__(self, yard, seed):
        self._yard = yard
        self._random = Random(seed)
        self._report = Report(seed)
        self._fleets = []
        self._orphaned = {}  # job: (fence when its worker was killed, when)

    def run(self, kills):
        """Kill so often, then let everything be done, then ask the oracle."""
        while sum(self._report.kills.values()) < kills:
            self._fill_up()
            self._strike()
            self._wait(self._random.uniform(0.05, 0.5))
        self._fill_up()
        until(self._all_ended, "jobs do not end", PATIENCE_S * 4)
        self._yard.check()
        self._report.jobs = len(self._yard.asked)
        return self._report

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
        fleet = self._random.choice(self._fleets)
        victim = self._random.choices(VICTIMS, WEIGHTS)[0]
        running = {
            one.id: int(one.owner.rpartition("-")[2])
            for one in self._yard.ledger.records(["running"], 100)
        }
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
