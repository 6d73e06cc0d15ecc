"""Random kills, with a seed; `make chaos` does a thousand of them."""

from __future__ import annotations

from tests.faults.chaos import Chaos
from tests.faults.yard import opened

KILLS = 12


def test_random_kills_lose_nothing_and_double_nothing(tmp_path):
    with opened(tmp_path, attempts=100) as yard:
        report = Chaos(yard, seed=5).run(KILLS)
        print(*report.lines(), sep="\n")
    assert sum(report.kills.values()) == KILLS
