"""A fleet with scripted crews and short times, as a process that can be killed.

Goes in: Redis' URL and the home in the environment, options as JSON on the command line. Comes
out: what `transcribe worker` gives.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.ffmpeg import Tools
from workers import settings
from workers.app import Bell, new_app
from workers.beat import BeatOptions
from workers.connection import connect
from workers.crew import Orders
from workers.fleet import CREW, Fleet, FleetOptions
from workers.ledger import Ledger
from workers.log import LogOptions, install
from workers.tasks import WorkOptions
from workers.worker_command import fleet_name

CREWS = {
    "scripted": (sys.executable, str(Path(__file__).with_name("scripted_crew.py"))),
    "real": CREW,
}


def main(options):
    """Run it."""
    log = LogOptions()
    install(log, "worker")
    found = settings.load()
    beat = BeatOptions(
        lease_s=options["lease_s"],
        beat_s=options["beat_s"],
        slice_s=options["slice_s"],
        grace_s=options["grace_s"],
    )
    work = WorkOptions(beat, waits_s=(0.1,), busy_s=0.3, unreachable_s=0.1)
    name = fleet_name()
    orders = tuple(
        Orders(
            stage,
            name,
            found.home,
            options["processes"],
            tools=Tools(stall_s=options["stall_s"]),
            work=work,
            log=log,
        )
        for stage in options["stages"]
    )
    redis = connect(found.redis_url)
    fleet = Fleet(
        name,
        orders,
        Ledger(redis),
        Bell(new_app(found.redis_url), redis),
        FleetOptions(
            burst=options["burst"],
            grace_s=options["grace_s"],
            margin_s=options["margin_s"],
            look_s=0.1,
            restart_s=0.5,
        ),
        CREWS[options["crew"]],
    )
    fleet.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
