"""The way to the queue, for every command that has one.

Goes in: a session. Comes out: the ledger, a way to wake workers, the job that somebody means. Does
not know: what a command does with them.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import BadOption, QueueUnavailable
from pipeline.source import display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redis import Redis

    from workers.ledger import Ledger
    from workers.ledger_records import QueueStage
    from workers.session import Session

EVERY_S = 0.5  # between two looks at the ledger


@dataclass(frozen=True, slots=True)
class Queue:
    """The ledger, and the server that it is on."""

    ledger: Ledger
    redis: Redis
    url: str

    def wake(self, stages: Iterable[QueueStage]) -> None:
        """Let workers look; where that fails, they look by themselves, only later."""
        from workers.app import Bell, new_app

        bell = Bell(new_app(self.url), self.redis)
        with suppress(QueueUnavailable):
            for stage in stages:
                bell.ring(stage)


def open_queue(session: Session) -> Queue:
    """Raises QueueUnavailable, within two seconds."""
    from workers.app import redis_url
    from workers.connection import FIRST_S, connect
    from workers.ledger import Ledger

    url = redis_url(session.settings.redis_url)
    with connect(url, FIRST_S) as hurried:  # now, not after a thousand files have been looked at
        Ledger(hurried).is_paused()
    redis = connect(url)
    return Queue(Ledger(redis), redis, url)


def found(given: str, ledger: Ledger) -> str:
    """The id that begins like this. Raises BadOption."""
    ids = ledger.find(given.lower())
    if len(ids) > 1:
        raise BadOption(f"{display(given)} begins the ids of {len(ids)} jobs: give more of it.")
    if not ids:
        raise unknown(given)
    return ids[0]


def unknown(given: str) -> BadOption:
    """What to say of an id that is none."""
    return BadOption(f"No job's id begins with {display(given)}: transcribe status shows them.")


def pause_of(session: Session) -> Callable[[], None]:
    """What to do between two looks at the ledger."""

    def pause() -> None:
        session.interruption.check()
        time.sleep(EVERY_S)

    return pause
