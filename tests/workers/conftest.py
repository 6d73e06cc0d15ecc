"""A real Redis for the queue's tests; without one, skip at home and fail in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import RedisError

from workers.connection import connect

if TYPE_CHECKING:
    from redis import Redis

PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A server that answers, and a client of it."""

    url: str
    client: Redis
    process: subprocess.Popen


@contextmanager
def running(url, *arguments):
    """A redis-server with these arguments, found at the URL, until the `with` ends."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    process = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
    client = connect(url)
    try:
        wait_for(client, process)
        yield RedisServer(url, client, process)
    finally:
        client.close()
        process.kill()
        process.wait()


def wait_for(client, process):
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            client.ping()
        except RedisError:
            if process.poll() is not None or time.monotonic() > end_s:
                raise
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="session")
def _redis_for_all():
    # a socket's name must be short, and pytest's folders are not
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        socket = Path(folder) / "s"
        arguments = ("--port", "0", "--unixsocket", str(socket), "--dir", folder)
        with running(f"unix://{socket}", *arguments, "--save", "", "--appendonly", "no") as server:
            yield server


@pytest.fixture
def redis_server(_redis_for_all):
    """An empty server."""
    _redis_for_all.client.flushall()
    return _redis_for_all


@pytest.fixture
def start_redis(tmp_path):
    """Start a server with arguments of one's own, in a folder of its own, for a `with`."""

    def start(url, *arguments):
        return running(url, *arguments, "--dir", str(tmp_path))

    return start
