"""A yard to break things in: a Redis of its own, media, fleets that can be killed.

Goes in: a folder. Comes out: jobs that are asked for, processes, the oracle's word on them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.ffmpeg import Tools
from pipeline.run import run
from pipeline.source import take
from pipeline.store import Store
from pipeline.types import Job, OutputOptions, SpeechOptions
from tests.faults.oracle import ENDED, Asked, check, processes_of
from tests.faults.processes import FleetProcess, RedisServer, kill, until
from tests.faults.scripted_crew import PacedEngines
from tests.faults.sounds import FFMPEG, write_sound
from workers.ledger import Ledger
from workers.ledger_records import Entry

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NO_TOOLS = "there is none"  # in place of ffmpeg's script
OPTIONS = {
    "stages": ["convert", "speech"],
    "processes": 1,
    "lease_s": 1.5,
    "beat_s": 0.1,
    "slice_s": 600.0,
    "grace_s": 5.0,
    "margin_s": 10.0,
    "burst": False,
    "stall_s": 120.0,
    "crew": "scripted",  # or "real": with models
}


class Silent:
    """A listener that nobody asks."""

    def stage(self, stage, total_s):
        pass

    def progress(self, done_s):
        pass

    def note(self, text):
        pass


class Yard:
    """Everything that a fault needs."""

    def __init__(self, folder, redis, attempts=3):
        self.home = folder / "home"
        self.media = folder / "media"
        self.undisturbed = folder / "undisturbed"
        for made in (self.home, self.media):
            made.mkdir(exist_ok=True)  # a disk of its own may be mounted there
        self.redis = redis
        self.ledger = Ledger(redis.client, attempts=attempts)
        self.asked = []
        self._folder = folder
        self._fleets = []

    def ask(self, name, length_s, script="", **wishes):
        """Enqueue a hum of this length whose engine goes by the script."""
        path = self.media / name
        write_sound(path, length_s)
        return self.ask_for(path, length_s, script, **wishes)

    def ask_for(
        self,
        path,
        length_s,
        script="",
        ends=("done",),
        priority="normal",
        output_dir=None,
        subtitles=None,
    ):
        """Enqueue a file; what an undisturbed run writes is found out unless it is given."""
        job = job_for(path, script, output_dir)
        (accepted,) = self.ledger.accept([Entry(job, priority, length_s)])
        name = f"{path.stem}.en.srt"
        if subtitles is None:
            written = self._undisturbed(job)
            name, subtitles = written.name, written.read_bytes()
        one = Asked(
            id=accepted.id,
            media=path,
            content=path.read_bytes(),
            srt=(output_dir or path.parent) / name,
            subtitles=subtitles,
            length_s=length_s,
            ends=ends,
        )
        self.asked.append(one)
        return one

    def expect(self, one, **changes):
        """Something else of a job than was expected when it was asked for."""
        self.asked[self.asked.index(one)] = changed = replace(one, **changes)
        return changed

    def allow(self, attempts):
        """Jobs that are asked for from now on may be tried so often."""
        self.ledger = Ledger(self.redis.client, attempts=attempts)

    def _undisturbed(self, job):
        """What a run writes that nobody disturbs, and no script slows."""
        folder = self.undisturbed / str(len(self.asked))  # no name is another's there
        quiet = replace(job.speech, initial_prompt=None)
        job = replace(job, output=replace(job.output, output_dir=folder), speech=quiet)
        store = Store(self._folder / "other-home")
        return run(job, store, PacedEngines(bool), Tools(), Silent()).outputs[0]

    def start(
        self,
        home=None,
        convert_speed=None,
        ffmpeg=None,
        ffprobe=None,
        environment=(),
        log=None,
        url=None,
        root=ROOT,
        **changes,
    ):
        """A fleet; its ffmpeg converts so many seconds in one, or is this shell script.

        So is its ffprobe.
        """
        home = home or self.home
        if convert_speed is not None:
            ffmpeg = f'exec {FFMPEG} -readrate {convert_speed} "$@"'
        environment = {
            **os.environ,
            "PATH": self._tools(ffmpeg=ffmpeg, ffprobe=ffprobe),
            "TRANSCRIBE_HOME": str(home),
            "TRANSCRIBE_REDIS_URL": url or self.redis.url,
            "PYTHONPATH": str(root),
            **dict(environment),
        }
        with (log or self._folder / "log").open("ab") as complaints:
            process = subprocess.Popen(
                [sys.executable, HERE / "scripted_fleet.py", json.dumps({**OPTIONS, **changes})],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,
            )
        fleet = FleetProcess(process, home)
        self._fleets.append(fleet)
        return fleet

    def _tools(self, **scripts):
        """A PATH on which these scripts are the tools; or the usual one, or one of nothing."""
        folder = Path(tempfile.mkdtemp(prefix="tools-", dir=self._folder))
        if NO_TOOLS in scripts.values():
            return str(folder)
        for name, script in scripts.items():
            if script is not None:
                (folder / name).write_text(f"#!/bin/sh\n{script}\n")
                (folder / name).chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"

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
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""

    def end(self):
        for fleet in self._fleets:
            for pid in processes_of(fleet.home):
                kill(pid, signal.SIGCONT)
                kill(pid)
            fleet.process.wait()


@contextmanager
def opened(folder, attempts=3, redis=None):
    """A yard in this folder; at the end nothing of it runs any more."""
    redis = redis or RedisServer(folder)
    made = Yard(folder, redis, attempts)
    try:
        redis.start()
        yield made
    finally:
        made.end()
        redis.kill()
        redis.client.close()


def job_for(path, script="", output_dir=None):
    """What is asked for a file."""
    speech = SpeechOptions(language="en", initial_prompt=script or None)
    return Job(take(path), speech, OutputOptions(output_dir=output_dir))
