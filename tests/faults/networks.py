"""A way to Redis that can be cut without a word, and a Redis that is watched over.

Goes in: a port or a folder. Comes out: a URL, and what can be done to it. Does not know: the queue.
"""

from __future__ import annotations

import select
import socket
import subprocess
from contextlib import contextmanager, suppress
from threading import Event, Thread

from redis.exceptions import RedisError

from tests.faults.processes import free_port, until
from workers.connection import connect


class Proxy:
    """Carries bytes from and to a port, until it goes silent: nothing is read, nothing closed."""

    def __init__(self, port):
        self._target = ("127.0.0.1", port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        self._speaks = Event()
        self._speaks.set()
        self._closed = Event()
        self._generation = 0  # of connections; those of an earlier one stay silent
        Thread(target=self._accept, daemon=True).start()

    def go_silent(self):
        """New connections are taken, too, and get no answer."""
        self._speaks.clear()

    def speak(self):
        """What was held back goes on."""
        self._speaks.set()

    def speak_to_new_ones(self):
        """Connections of before stay silent for ever, as after a router forgot them."""
        self._generation += 1
        self._speaks.set()

    def close(self):
        self._closed.set()
        self._speaks.set()
        self._server.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                Thread(target=self._carry, args=(client, self._generation), daemon=True).start()

    def _carry(self, client, generation):
        with client, suppress(OSError), socket.create_connection(self._target) as redis:
            ends = {client: redis, redis: client}
            while True:
                ready, _, _ = select.select(list(ends), [], [])
                self._speaks.wait()
                if generation != self._generation:
                    self._closed.wait()
                    return
                for end in ready:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)


@contextmanager
def proxy(port):
    """A way to this port."""
    made = Proxy(port)
    try:
        yield made
    finally:
        made.close()


class WatchedRedis:
    """A master, a replica and a sentinel, each a real server."""

    def __init__(self, folder):
        self._folder = folder
        self._ports = [free_port() for _ in range(3)]
        self._processes = []
        self.url = f"sentinel://127.0.0.1:{self._ports[2]}/films/0"
        self.client = connect(self.url)

    def start(self):
        master, replica, sentinel = self._ports
        self._serve("master", master)
        self._serve("replica", replica, "--replicaof", "127.0.0.1", str(master))
        config = self._folder / "sentinel.conf"
        config.write_text(
            f"port {sentinel}\ndir {self._folder}\n"
            f"sentinel monitor films 127.0.0.1 {master} 1\n"
            "sentinel down-after-milliseconds films 500\nsentinel failover-timeout films 3000\n"
        )
        self._run(str(config), "--sentinel")
        until(lambda: self._answers(self.client.wait, 1, 1000), "the replica does not follow")
        watcher = connect(f"redis://127.0.0.1:{sentinel}")
        until(
            lambda: self._answers(lambda: watcher.sentinel_slaves("films")),
            "the sentinel knows of no replica",
        )
        watcher.close()

    def kill_master(self):
        """What it acknowledged so far has reached the replica."""
        self.client.wait(1, 5000)
        self._processes[0].kill()
        self._processes[0].wait()
        until(lambda: self._answers(self.client.ping), "no other takes its place")

    def kill(self):
        for process in self._processes:
            process.kill()
            process.wait()

    def _serve(self, name, port, *options):
        folder = self._folder / name
        folder.mkdir()
        durable = ("--appendonly", "yes", "--save", "", "--repl-diskless-sync-delay", "0")
        self._run("--port", str(port), "--dir", str(folder), *durable, *options)
        server = connect(f"redis://127.0.0.1:{port}/0")
        until(lambda: self._answers(server.ping), f"the {name} does not start")
        server.close()

    def _run(self, *arguments):
        command = ["redis-server", *arguments]
        self._processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    @staticmethod
    def _answers(ask, *arguments):
        try:
            return ask(*arguments)
        except RedisError:
            return False
