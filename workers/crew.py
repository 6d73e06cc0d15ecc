"""One Celery worker of a fleet: a master and its children, for one stage.

Goes in: orders on stdin, as a line of JSON; the line stays open for as long as the fleet lives.
Comes out: an exit code. Does not know: other stages, when it is started again.

    python -m workers.crew

The master loads no model: what torch has started does not survive a fork. A child makes what it
needs when it is woken first, and keeps it.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path  # noqa: TC003  - cattrs reads the fields' types
from threading import Thread
from typing import TYPE_CHECKING, Any

from pipeline.ffmpeg import Tools
from workers import settings as environment
from workers.health import owner_name
from workers.ledger_records import QueueStage  # noqa: TC001  - the same
from workers.ledger_view import PREFIX
from workers.log import LogOptions, install
from workers.tasks import NewEngines, WorkOptions, Workplace, drain

if TYPE_CHECKING:
    from celery import Celery

    from workers.settings import Settings

ORDERS_FD = 0  # stdin


@dataclass(frozen=True, slots=True)
class Orders:
    """What one crew is to do. It holds no secret, and survives JSON."""

    stage: QueueStage
    worker: str  # the fleet's name; what its processes claim is claimed under it
    weights_dir: Path
    processes: int = 1
    device: str = "auto"
    batch_size: int | None = None
    threads: int | None = None
    prefix: str = PREFIX
    attempts: int = 3
    tools: Tools = field(default_factory=Tools)
    work: WorkOptions = field(default_factory=WorkOptions)
    log: LogOptions = field(default_factory=LogOptions)

    @property
    def name(self) -> str:
        """Unlike that of any other crew."""
        device = self.device.replace(":", "") if ":" in self.device else ""
        return f"{self.stage}{'-' * bool(device)}{device}@{self.worker}"


EnginesFor = Callable[[Orders, "Settings"], NewEngines]


def main(engines_for: EnginesFor | None = None) -> int:
    """Work until the fleet says TERM, or is gone."""
    from pipeline.codec import loads

    orders = loads(_first_line(ORDERS_FD), Orders)
    Thread(target=_die_with_the_fleet, name="fleet", daemon=True).start()
    environment.order_gpus()
    install(orders.log, orders.stage)
    return _serve(orders, environment.load(), engines_for or _pool)


def _first_line(descriptor: int) -> bytes:
    """Read no further: the thread that waits for the end must not miss it."""
    line = bytearray()
    while not line.endswith(b"\n") and (byte := os.read(descriptor, 1)):
        line += byte
    return bytes(line)


def _die_with_the_fleet() -> None:
    """The other end of stdin is closed when the fleet dies, however it does."""
    while os.read(ORDERS_FD, 1024):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _serve(orders: Orders, settings: Settings, engines_for: EnginesFor) -> int:
    """Celery's worker, with the only task there is."""
    from celery.exceptions import SecurityWarning
    from celery.signals import setup_logging

    from workers.app import WAKE, new_app, queue_of, redis_url

    url = redis_url(settings.redis_url)
    app = new_app(url, orders.prefix)
    workplace = cache(partial(_workplace, orders, settings, app, url, engines_for))

    def wake(*_: Any, **__: Any) -> None:  # whatever another version says with it
        drain(workplace())

    app.task(name=WAKE)(wake)
    warnings.simplefilter("ignore", SecurityWarning)  # of root; messages are JSON and name a stage
    setup_logging.connect(_keep_our_log, weak=False)
    worker = app.Worker(
        hostname=orders.name,
        queues=[queue_of(orders.stage)],
        concurrency=orders.processes,
        pool_cls="prefork",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _keep_our_log(**_: Any) -> None:
    """Celery sets up none of its own when anybody listens to this signal."""


def _workplace(
    orders: Orders, settings: Settings, app: Celery, url: str, engines_for: EnginesFor
) -> Workplace:
    from pipeline.store import Store
    from workers.app import Bell
    from workers.connection import connect
    from workers.ledger import Ledger

    redis = connect(url)
    return Workplace(
        orders.stage,
        owner_name(orders.worker, orders.stage, os.getpid()),
        Ledger(redis, orders.prefix, orders.attempts),
        Bell(app, redis, orders.prefix),
        Store(settings.home),
        orders.tools,
        engines_for(orders, settings),
        orders.work,
    )


def _pool(orders: Orders, settings: Settings) -> NewEngines:
    """The models of this machine."""
    from models.fetch import FetchOptions
    from models.pool import Pool, PoolOptions

    options = PoolOptions(
        weights_dir=orders.weights_dir,
        device=orders.device,
        batch_size=orders.batch_size,
        threads=orders.threads,
        fetch=FetchOptions(settings.mirror, settings.offline),
        visible_gpus=settings.visible_gpus,
        llm=settings.llm,
        llm_key=settings.llm_key,
        llm_patience_s=settings.llm_patience_s,
    )
    return lambda note, heed: Pool(options, note, lambda *_: heed(), heed=heed)


if __name__ == "__main__":
    sys.exit(main())
