"""`transcribe worker`: this machine works on the queue.

Goes in: flags. Comes out: a fleet that runs until it is told to stop. Does not know: how it works.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from workers.beat import BeatOptions
from workers.crew import Orders
from workers.fleet import Fleet, FleetOptions
from workers.ledger_records import QUEUE_STAGES, QueueStage
from workers.log import LogOptions, install, process_log
from workers.options import machine_of, machine_options
from workers.session import Session, guarded
from workers.tasks import WorkOptions
from workers.web import WebOptions

if TYPE_CHECKING:
    from models.pool import PoolOptions
    from workers.settings import Settings

FLEET, BEAT = FleetOptions(), BeatOptions()  # the defaults
LEASES_OF_PATIENCE = 3  # with a crew that takes no job although some are ready
CORES_PER_CONVERSION = 4  # the others hear
MOST_CONVERSIONS = 8


class Stages(click.ParamType[tuple[QueueStage, ...]]):
    """Names of stages, with commas between them."""

    name = "stages"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[QueueStage, ...]:
        """Give the stages, in their order."""
        if isinstance(value, tuple):
            return value
        named = {part.strip() for part in str(value).split(",")}
        if unknown := named.difference(QUEUE_STAGES):
            self.fail(
                f"{', '.join(sorted(unknown))}: choose of {', '.join(QUEUE_STAGES)}.", param, ctx
            )
        return tuple(stage for stage in QUEUE_STAGES if stage in named)


@click.command("worker", epilog="Exit codes: 0 stopped as asked, 2 bad options, 3 no Redis.")
@click.option(
    "--queues",
    "-Q",
    type=Stages(),
    default=",".join(QUEUE_STAGES),
    show_default=True,
    metavar="LIST",
    help="Which stages this machine works on; text is summaries.",
)
@click.option(
    "--concurrency",
    "-c",
    type=click.IntRange(1),
    metavar="N",
    help="Conversions side by side; else a quarter of the cores. Speech has one process "
    "a GPU, or one.",
)
@click.option("--burst", is_flag=True, help="Stop when the queue is empty.")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0),
    default=FLEET.grace_s,
    show_default=True,
    metavar="SECONDS",
    help="For running jobs to be done when it is to stop; the others are given back.",
)
@click.option(
    "--lease",
    "lease_s",
    type=click.FloatRange(1),
    default=BEAT.lease_s,
    show_default=True,
    metavar="SECONDS",
    help="After so long without a sign of life a job is another worker's.",
)
@click.option(
    "--metrics",
    "port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Serve Prometheus metrics there.",
)
@machine_options
@click.option("--quiet", "-q", is_flag=True, help="Log failures only.")
@click.option("--verbose", "-v", is_flag=True, help="Log Celery's messages, too.")
@click.option("--json", "as_json", is_flag=True, help="Log one JSON object a line.")
def worker_command(**flags: Any) -> None:
    """Work on what `transcribe enqueue` has put into the queue.

    TERM or Ctrl-C stops it in order: jobs are finished, or go on later where they stopped.
    """

    def work(session: Session) -> int:
        _work(session, flags)
        return 0

    guarded(work, flags, "Other workers go on with what it had.")


def _work(session: Session, flags: dict[str, Any]) -> None:
    from workers.app import Bell, new_app, redis_url
    from workers.connection import connect, problems
    from workers.ledger import Ledger
    from workers.metrics import served

    log = LogOptions(flags["as_json"], flags["verbose"], flags["quiet"])
    install(log, "worker")
    url = redis_url(session.settings.redis_url)
    redis = connect(url)
    ledger = Ledger(redis)
    for problem in problems(redis):
        process_log().warning("%s", problem)
    name = fleet_name()
    orders = _orders(name, flags, session.settings, log)
    options = FleetOptions(
        burst=flags["burst"],
        grace_s=flags["grace_s"],
        patience_s=max(FLEET.patience_s, LEASES_OF_PATIENCE * flags["lease_s"]),
        recover_s=flags["lease_s"] / 3,  # the time between two beats, if not more
    )
    fleet = Fleet(name, orders, ledger, Bell(new_app(url), redis), options)
    process_log().info("working: %s", ", ".join(one.name for one in orders) or "nobody")
    with served(flags["port"], ledger.counts) if flags["port"] else nullcontext():
        fleet.run()


def _orders(
    name: str, flags: dict[str, Any], settings: Settings, log: LogOptions
) -> tuple[Orders, ...]:
    """What each crew is to do."""
    machine = machine_of(flags, settings)
    every = Orders(
        stage="speech",
        worker=name,
        weights_dir=machine.weights_dir,
        device=machine.device,
        batch_size=machine.batch_size,
        threads=machine.threads,
        work=WorkOptions(
            BeatOptions(lease_s=flags["lease_s"], grace_s=flags["grace_s"]),
            web=WebOptions(settings.offline, settings.own_networks),
        ),
        log=log,
    )
    conversions = flags["concurrency"] or conversions_for(os.cpu_count() or 1)
    devices = devices_for(machine.device, _visible_gpus(machine))
    return crews(flags["queues"], every, conversions, devices)


def fleet_name() -> str:
    """A name that no other worker has, here or elsewhere, now or after a restart."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


def conversions_for(cores: int) -> int:
    """How many files are converted side by side where nobody says."""
    return max(1, min(MOST_CONVERSIONS, cores // CORES_PER_CONVERSION))


def devices_for(asked: str, gpus: int) -> tuple[str, ...]:
    """A device for each process that hears; none is named where it is torch's to choose."""
    if asked in ("auto", "cuda") and gpus > 1:
        return tuple(f"cuda:{index}" for index in range(gpus))
    return (asked,)


def crews(
    stages: tuple[QueueStage, ...], every: Orders, conversions: int, devices: tuple[str, ...]
) -> tuple[Orders, ...]:
    """One crew a stage; of those that hear, one a device."""
    found: list[Orders] = []
    for stage in stages:
        if stage == "speech":
            found += [replace(every, device=device) for device in devices]
        elif stage == "convert":  # the cores are for those who hear
            found.append(
                replace(every, stage=stage, device="cpu", threads=1, processes=conversions)
            )
        else:
            found.append(replace(every, stage=stage))
    return tuple(found)


def _visible_gpus(machine: PoolOptions) -> int:
    """How many GPUs CUDA shows; asked of NVML, since torch belongs into the children alone."""
    from models.nvml import NvmlError, cards_of, visible

    try:
        shown, _ = visible(cards_of(), machine.visible_gpus)
    except NvmlError:
        return 0
    return sum(card.problem is None for card in shown)
