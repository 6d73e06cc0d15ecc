"""A yard to break things in: a Redis of its own, media, fleets that can be killed.

Goes in: a folder. Comes out: jobs that are asked for, processes, the oracle's word on them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import wave
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from redis.exceptions import RedisError

from pipeline.ffmpeg import Tools
from pipeline.run import run
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, OutputOptions, SpeechOptions
from tests.faults.oracle import ENDED, Asked, check, processes_of
from tests.faults.scripted_crew import PacedEngines
from workers.connection import connect
from workers.ledger import Ledger
from workers.ledger_records import Entry

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE_S = 60.0
OPTIONS = {
    "stages": ["convert", "speech"],
    "processes": 1,
    "lease_s": 1.5,
    "slice_s": 600.0,
    "grace_s": 5.0,
    "margin_s": 10.0,
    "burst": False,
}


class Silent:
    """A listener that nobody asks."""

    def stage(self, stage, total_s):
        pass

    def progress(self, done_s):
        pass

    def note(self, text):
        pass


class RedisServer:
    """redis-server on a port of its own, with a file that survives it."""

    def __init__(self, folder):
        self.folder = folder
        self.port = _free_port()
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


class Yard:
    """Everything that a fault needs."""

    def __init__(self, folder, redis, attempts=3):
        self.home = folder / "home"
        self.media = folder / "media"
        self.undisturbed = folder / "undisturbed"
        for made in (self.home, self.media):
            made.mkdir()
        self.redis = redis
        self.ledger = Ledger(redis.client, attempts=attempts)
        self.asked = []
        self._folder = folder
        self._fleets = []

    def ask(self, name, length_s, script="", ends=("done",), priority="normal"):
        """Enqueue a file of this length whose engine goes by the script."""
        path = self.media / name
        _write_sound(path, length_s)
        job = Job(
            take(path), SpeechOptions(language="en", initial_prompt=script or None), OutputOptions()
        )
        (accepted,) = self.ledger.accept([Entry(job, priority, length_s)])
        one = Asked(
            id=accepted.id,
            media=path,
            content=path.read_bytes(),
            srt=path.with_name(f"{path.stem}.en.srt"),
            subtitles=self._undisturbed(job),
            length_s=length_s,
            ends=ends,
        )
        self.asked.append(one)
        return one

    def _undisturbed(self, job):
        """What a run writes that nobody disturbs, and no script slows."""
        output = replace(job.output, output_dir=self.undisturbed)
        quiet = replace(job.speech, initial_prompt=None)
        store = Store(self._folder / "other-home")
        outcome = run(
            replace(job, output=output, speech=quiet), store, PacedEngines(bool), Tools(), Silent()
        )
        return outcome.outputs[0].read_bytes()

    def start(self, home=None, convert_speed=None, **changes):
        """A fleet; its ffmpeg converts so many seconds in one where a speed is given."""
        home = home or self.home
        environment = {
            **os.environ,
            "PATH": f"{self._slow(convert_speed)}:{os.environ['PATH']}",
            "TRANSCRIBE_HOME": str(home),
            "TRANSCRIBE_REDIS_URL": self.redis.url,
            "PYTHONPATH": str(ROOT),
        }
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, HERE / "scripted_fleet.py", json.dumps({**OPTIONS, **changes})],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        fleet = FleetProcess(process, home)
        self._fleets.append(fleet)
        return fleet

    def _slow(self, speed):
        """A folder with an ffmpeg that takes its time."""
        folder = self._folder / f"speed-{speed}"
        folder.mkdir(exist_ok=True)
        if speed is not None:
            script = f'#!/bin/sh\nexec {shutil.which("ffmpeg")} -readrate {speed} "$@"\n'
            (folder / "ffmpeg").write_text(script)
            (folder / "ffmpeg").chmod(0o755)
        return folder

    def until_at(self, one, *stages, done_s=0.0):
        """Wait until the job is in one of these stages, and got so far in it."""

        def is_there():
            record = self.ledger.record(one.id)
            is_running = record.state == "running" and record.pipeline_stage in stages
            return is_running and record.done_s >= done_s

        until(is_there, f"{one.media.name} never got to {stages}")
        return self.ledger.record(one.id)

    def until_ended(self):
        """Wait until all jobs have."""
        until(
            lambda: all(self.ledger.record(one.id).state in ENDED for one in self.asked),
            "jobs do not end",
        )

    def check(self):
        """Stop whoever runs, and ask the oracle."""
        for fleet in self._fleets:
            if fleet.process.poll() is None:
                assert fleet.term() == 0, "I6: a fleet that was told to stop says that it failed"
        until(lambda: not processes_of(self.home), "I5: processes are left")
        check(self.asked, self.ledger, self.redis.client, self.home)

    def log(self):
        return (self._folder / "log").read_text()

    def end(self):
        for fleet in self._fleets:
            for pid in processes_of(fleet.home):
                kill(pid, signal.SIGCONT)
                kill(pid)
            fleet.process.wait()


@contextmanager
def opened(folder, attempts=3):
    """A yard in this folder; at the end nothing of it runs any more."""
    redis = RedisServer(folder)
    redis.start()
    made = Yard(folder, redis, attempts)
    try:
        yield made
    finally:
        made.end()
        redis.kill()


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


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _write_sound(path, length_s):
    """A quiet hum of its own for each length: no two files are the same sound."""
    times = np.arange(int(length_s * 8000)) / 8000
    samples = (1000 * np.sin(times * 200 * np.pi + length_s)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.tobytes())
