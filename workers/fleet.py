"""A machine's workers: a crew for each stage, and what keeps the queue moving.

Goes in: orders for crews, the ledger, the bell. Comes out: running crews, until TERM, or until
nothing is left to do. Does not know: jobs, models, how a crew works.

Crews are process groups of their own: Ctrl-C and TERM reach this process alone, which then lets
them finish or give back what they have, and kills what is left when the grace is over.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

from pipeline.errors import QueueUnavailable
from workers.health import Health, Sight
from workers.log import process_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workers.app import Bell
    from workers.crew import Orders
    from workers.ledger import Ledger
    from workers.ledger_records import Counts

CREW = (sys.executable, "-m", "workers.crew")
STOPS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """How a fleet is looked after."""

    burst: bool = False  # end when nothing is left to do
    grace_s: float = 30.0  # for jobs to be finished or given back
    margin_s: float = 10.0  # more, for crews to end in order, before they are killed
    look_s: float = 1.0  # between two looks at crews and queue
    restart_s: float = 5.0  # a crew is started at most this often
    patience_s: float = 180.0  # with a crew that takes no job although some are ready
    recover_s: float = 20.0  # in which a process whose lease ran out may come back by itself


class Fleet:
    """Runs crews under one name, to which their claims belong."""

    def __init__(
        self,
        name: str,
        orders: Sequence[Orders],
        ledger: Ledger,
        bell: Bell,
        options: FleetOptions,
        command: Sequence[str] = CREW,
    ) -> None:
        self._name = name
        self._crews = [_Crew(one, command) for one in orders]
        self._ledger = ledger
        self._bell = bell
        self._options = options
        health = Health(name, ledger, options.recover_s)
        self._keeper = _Keeper(ledger, bell, health, options.look_s)

    def run(self) -> None:
        """Until TERM or Ctrl-C, or with `burst` until nothing is left. From the main thread only.

        A second signal ends the grace.
        """
        with _signals() as signalled:
            self._keeper.start()
            while not self._is_over():
                sight = self._keeper.sight
                for crew in self._crews:
                    crew.mind(sight, self._options.patience_s)
                    crew.keep_up(self._options.restart_s)
                if signalled(self._options.look_s):
                    break
            self._stop(signalled)
            self._keeper.end()

    def _is_over(self) -> bool:
        return self._options.burst and self._keeper.is_idle

    def _stop(self, signalled: Callable[[float], bool]) -> None:
        """Let go in order; whatever is left after the grace is killed."""
        within_s = self._options.grace_s + self._options.margin_s
        process_log().info("stopping, within %.0f s", within_s)
        with suppress(QueueUnavailable):  # then jobs run out of their grace, and their lease
            self._ledger.stop(self._name, within_s)
        for crew in self._crews:
            crew.ask_to_end()
        deadline_s = time.monotonic() + within_s
        while any(crew.is_alive for crew in self._crews) and time.monotonic() < deadline_s:
            if signalled(min(0.1, self._options.look_s)):
                break
        for crew in self._crews:
            crew.end()


class _Crew:
    """One Celery worker: a master, which leads the group of its children."""

    def __init__(self, orders: Orders, command: Sequence[str]) -> None:
        self._orders = orders
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = float("-inf")
        self._idle_s: float | None = None  # since when it takes nothing though jobs are ready

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep_up(self, restart_s: float) -> None:
        """Start it, again if it died, but not too often."""
        if self.is_alive or time.monotonic() - self._started_s < restart_s:
            return
        if self._process is not None:
            code = self._process.returncode
            process_log().error("%s died (%s) and is started again", self._orders.name, code)
            self.end()
        self._start()

    def _start(self) -> None:
        from pipeline.codec import dumps

        self._started_s = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # Celery's farewells; what matters is in the log
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died already
            self._process.stdin.write(dumps(self._orders).encode() + b"\n")  # and stays open

    def mind(self, sight: Sight, patience_s: float) -> None:
        """End whoever hangs: a process that lost its lease, or all when none takes a job.

        A frozen process would keep others from the job's folder, a frozen master all from work.
        """
        for pid in filter(self._leads, sight.lost):
            process_log().error("%s: process %d hangs and is killed", self._orders.name, pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._orders.stage not in sight.waiting or any(map(self._leads, sight.at_work)):
            self._idle_s = None
            return
        now_s = time.monotonic()
        self._idle_s = max(self._idle_s or now_s, self._started_s)
        if self.is_alive and now_s - self._idle_s > patience_s:
            process_log().error("%s takes no job and is started again", self._orders.name)
            self.end()
            self._process = self._idle_s = None

    def _leads(self, pid: int) -> bool:
        try:
            return self._process is not None and os.getpgid(pid) == self._process.pid
        except ProcessLookupError:
            return False

    def ask_to_end(self) -> None:
        """No new jobs; the running ones decide for themselves."""
        if self._process is not None and self.is_alive:
            self._process.terminate()

    def end(self) -> None:
        """Kill whoever of the group is left."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies only
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


class _Keeper:
    """The thread that looks after the queue: whoever is dead, due or forgotten becomes ready."""

    def __init__(self, ledger: Ledger, bell: Bell, health: Health, look_s: float) -> None:
        self._ledger = ledger
        self._bell = bell
        self._health = health
        self._look_s = look_s
        self._ended = Event()
        self._newer = 0
        self.is_idle = False
        self.sight = Sight()

    def start(self) -> None:
        """Look until `end`."""
        Thread(target=self._keep, name="keeper", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _keep(self) -> None:
        is_away = False
        while not self._ended.is_set():
            try:
                self._look()
                is_away = False
            except QueueUnavailable as error:
                if not is_away:  # once is enough
                    process_log().warning("%s", error)
                is_away = True
                self.sight = Sight()  # nobody can take a job
            self._ended.wait(self._look_s)

    def _look(self) -> None:
        if revived := self._ledger.reap():
            process_log().info("%d jobs are ready again", revived)
        counts = self._ledger.counts()
        for stage, ready in counts.ready:
            if ready and not counts.paused:
                self._bell.ring(stage)
        if counts.newer > self._newer:
            process_log().warning("%d jobs are of a newer version: update me", counts.newer)
        self._newer = counts.newer
        self.sight = self._health.look(counts)
        self.is_idle = is_idle(counts)


def is_idle(counts: Counts) -> bool:
    """Whether nothing is queued, delayed or running that this version could work on."""
    open_jobs = sum(number for state, number in counts.by_state if state in ("queued", "running"))
    return open_jobs <= counts.newer


@contextmanager
def _signals() -> Iterator[Callable[[float], bool]]:
    """Lend a function that waits, for so many seconds, for a wish to stop, and tells of one."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def arrive(*_: object) -> None:
        with suppress(BlockingIOError):  # the pipe is full of wishes
            os.write(write_end, b"!")

    def wait(seconds: float) -> bool:
        ready, _, _ = select.select([read_end], [], [], seconds)
        return bool(ready and os.read(read_end, 1))

    before = {number: signal.signal(number, arrive) for number in STOPS}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(read_end)
        os.close(write_end)
