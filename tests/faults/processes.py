"""Redis and fleets as processes that can be killed, and how others are waited for.

Goes in: a folder, a process. Comes out: what can be done to it. Does not know: jobs.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from redis.exceptions import RedisError

from tests.faults.oracle import processes_of
from workers.connection import connect

PATIENCE_S = 60.0


class RedisServer:
    """redis-server on a port of its own, with a file that survives it."""

    def __init__(self, folder, environment=()):
        self.folder = folder
        self._environment = {**os.environ, **dict(environment)}
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None
        self.client = connect(self.url)

    def start(self):
        self.process = subprocess.Popen(
            [
                *("redis-server", "--port", str(self.port), "--dir", self.folder),
                *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                *("--maxmemory-policy", "noeviction", "--enable-debug-command", "yes"),
            ],
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )
        until(self._answers, "Redis does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _answers(self):
        try:
            return self.client.ping()
        except RedisError:
            return False


class FleetProcess:
    """A supervisor, as a process."""

    def __init__(self, process, home):
        self.process = process
        self.home = home

    @property
    def pid(self):
        return self.process.pid

    def crews(self):
        """The masters: group leaders among the supervisor's children."""
        return [pid for pid in children_of(self.pid) if os.getpgid(pid) == pid]

    def workers(self):
        """The children that work."""
        return [child for crew in self.crews() for child in children_of(crew)]

    def kill_everything(self):
        for pid in processes_of(self.home):
            kill(pid)
        self.process.wait()

    def term(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def until(condition, what, patience_s=PATIENCE_S):
    """Wait for something that another process does."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


def kill(pid, number=signal.SIGKILL):
    """A signal, if anybody is there to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def children_of(pid):
    """Living children, the oldest first."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in listed.split()]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
