"""The program as a person starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "workers.cli")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def outcomes(self):
        """What --json gave, by the file's name."""
        found = [json.loads(line) for line in self.out.splitlines()]
        return {Path(outcome["source"]).name: outcome for outcome in found}


class Program:
    """Runs the program with a home of its own."""

    def __init__(self, home, folder):
        self.home = home
        self.folder = folder

    def environment(self, **changes):
        ours = {"TRANSCRIBE_HOME": str(self.home), "TRANSCRIBE_WEIGHTS": str(self.home / "w")}
        return {**os.environ, **ours, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **changes}

    def run(self, *arguments, within=(), **environment):
        """Start it, wait for its end. `within` is a command that it runs inside of."""
        ended = subprocess.run(
            [*within, *COMMAND, *map(os.fspath, arguments)],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=240,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    def start(self, *arguments):
        """Start it and leave it running; its lines come on stdout."""
        return subprocess.Popen(
            [*COMMAND, *map(os.fspath, arguments)],
            cwd=self.folder,
            env=self.environment(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )


@pytest.fixture(scope="session")
def new_program():
    return Program


@pytest.fixture
def program(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    return Program(tmp_path / "home", folder)
