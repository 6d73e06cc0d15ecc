"""All parts of `transcribe watch`, put together.

Goes in: what was asked for. Comes out: an exit code, when watching ends. Does not know: flags.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from pipeline.codec import dumps
from pipeline.ffmpeg import Tools
from pipeline.source import display
from pipeline.store import Store
from workers.batch import Machinery, worst
from workers.progress import displayed, downloads
from workers.watch.deciding import Decider
from workers.watch.ending import Endings
from workers.watch.events import Events
from workers.watch.folder_settings import SettingsFiles
from workers.watch.local import work_here
from workers.watch.notices import Notices
from workers.watch.queued import QueuedOptions, QueuedWork
from workers.watch.screen import Screen
from workers.watch.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.pool import Pool, PoolOptions
    from pipeline.types import Outcome
    from workers.progress import Display
    from workers.queue_access import Queue
    from workers.session import Session
    from workers.watch.deciding import Policy
    from workers.watch.ending import EndingOptions
    from workers.watch.notices import Teller
    from workers.watch.rhythm import WatchOptions
    from workers.watch.roots import Root

PARTING_S = 20.0  # for notices, when it ends


@dataclass(frozen=True, slots=True)
class Watch:
    """All that `watch` was asked for."""

    roots: tuple[Root, ...]
    options: WatchOptions
    policy: Policy
    ending: EndingOptions
    tellers: tuple[Teller, ...]
    machine: PoolOptions
    queue: Queue | None  # None: the work is done here


def run(watch: Watch, session: Session) -> int:
    """Watch until that is over; the exit code tells the worst."""
    tell = session.say if session.display.verbose else None
    log = _print if session.display.as_json else None
    screen, tools = Screen(len(watch.roots), session.warn, tell, log), Tools()
    store = Store(session.settings.home)
    with ExitStack() as ends:
        pool = None if watch.queue else _pool(watch, session, ends)
        shown = ends.enter_context(displayed(session.console, session.display, screen.lines))
        notices = Notices(watch.tellers, session.warn)
        ends.callback(notices.close, PARTING_S)
        events = Events()
        ends.callback(events.close)
        watcher = Watcher(
            watch.roots,
            watch.options,
            Decider(watch.policy, store, tools),
            SettingsFiles(),
            Endings(watch.ending, store, notices, session.say, session.warn),
            events,
            screen,
        )
        machinery = Machinery(store, pool, tools) if pool else None
        for outcome in _outcomes(watch, watcher, machinery, shown, session):
            screen.ended(outcome)
    if screen.left and not tell:
        session.say(
            f"{screen.left} left alone: subtitles are there, or it failed before; "
            "--verbose tells which"
        )
    for left in watcher.picture().waiting:
        session.say(f"{display(left.path)} is left for the next time: {left.reason}")
    return worst(screen.codes)


def _print(outcome: Outcome) -> None:
    click.echo(dumps(outcome))


def _pool(watch: Watch, session: Session, ends: ExitStack) -> Pool:
    """The models, the first of which is fetched now, not when a file comes."""
    from models.pool import Pool

    progress = ends.enter_context(downloads(session.console, session.display))
    pool = Pool(watch.machine, session.say, progress, heed=session.interruption.check)
    pool.prepare(watch.policy.speech)
    return pool


def _outcomes(
    watch: Watch,
    watcher: Watcher,
    machinery: Machinery | None,
    shown: Display,
    session: Session,
) -> Iterator[Outcome]:
    if watch.queue is None:
        assert machinery, "there is a pool where there is no queue"
        return work_here(watcher, machinery, shown, session.interruption)

    def pause(seconds: float) -> None:
        session.interruption.check()
        time.sleep(seconds)

    options = QueuedOptions(retry_failed=watch.options.retry_failed)
    return QueuedWork(watcher, watch.queue, shown, session.warn, pause, options).outcomes()
