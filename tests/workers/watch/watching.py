"""A watched folder with real files, a clock that is set by hand, and a worker that is told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.ffmpeg import Tools
from pipeline.store import Store
from pipeline.types import Outcome, OutputOptions, SpeechOptions
from workers.watch.deciding import Decider, Policy
from workers.watch.ending import EndingOptions, Endings
from workers.watch.folder_settings import SettingsFiles
from workers.watch.ignoring import IgnoreOptions
from workers.watch.notices import Notices
from workers.watch.rhythm import WatchOptions
from workers.watch.roots import roots_of
from workers.watch.screen import Screen
from workers.watch.watcher import Watcher

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self):
        return self.now_s


@dataclass
class Ears:
    """Events that happen when a test says so."""

    folders: list = field(default_factory=list)
    happened: bool = False
    why_not: str | None = None

    def watch(self, folders):
        self.folders = list(folders)

    def wait(self, timeout_s):
        happened, self.happened = self.happened, False
        return happened


@dataclass
class Teller:
    told: list = field(default_factory=list)

    def tell(self, outcome, pause):
        self.told.append(outcome)


class Yard:
    """`drop` files in, let time pass by `after`, and see what is handed out."""

    def __init__(
        self, tmp_path, *folders, options=None, policy=None, ending=None, ignoring=None, home="home"
    ):
        self.folders = folders or (tmp_path / "in",)
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folders[0]
        self.store = Store(tmp_path / home)
        self.options = options or WatchOptions()
        self.policy = policy or Policy(SpeechOptions(model="demo", language="en"), OutputOptions())
        self.ending = ending or EndingOptions()
        self.ignoring = ignoring or IgnoreOptions()
        self.clock, self.events, self.teller = Clock(), Ears(), Teller()
        self.remarks, self.warnings, self.left = [], [], []
        self.start()

    def start(self):
        """A watcher that knows nothing but the disk."""
        self.notices = Notices((self.teller,), self.warnings.append)
        self.screen = Screen(len(self.folders), self.warnings.append, self.left.append)
        self.watcher = Watcher(
            roots_of(self.folders, self.ignoring),
            self.options,
            Decider(self.policy, self.store, Tools()),
            SettingsFiles(),
            Endings(
                self.ending, self.store, self.notices, self.remarks.append, self.warnings.append
            ),
            self.events,
            self.screen,
            self.clock,
        )
        self.tasks = self.watcher.tasks()

    def drop(self, name, content="sound", folder=None):
        path = (folder or self.folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def now(self):
        """All that is handed out at this moment."""
        found = []
        for task in self.tasks:
            if task is None:
                break
            found.append(task)
        return found

    def after(self, seconds, step_s=0.5):
        """All that is handed out within this time."""
        found = self.now()
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s:
            self.clock.now_s = min(end_s, self.clock.now_s + step_s)
            found += self.now()
        return found

    def work(self, task):
        """Do what a worker does; gives the subtitle."""
        srt = task.look.path.with_name(f"{task.look.path.stem}.en.srt")
        srt.write_text(f"1\n00:00:00,000 --> 00:00:01,000\n{task.look.path.read_text()}\n")
        self.store.outputs.note((srt,), task.job.source, task.job.speech.task)
        self.watcher.ended(task, Outcome(task.look.path, "done", (srt,)))
        return srt

    def fail(self, task, error, exit_code=3):
        self.watcher.ended(
            task, Outcome(task.look.path, "failed", reason=f"{error}!", error=error,
                          exit_code=exit_code))  # fmt: skip

    def told(self):
        self.notices.close(5)
        return self.teller.told


def names(tasks):
    return [task.look.path.name for task in tasks]


def touch_back(path, seconds):
    """Give a file another time, as copies that keep times do."""
    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime - seconds))


def tree(folder: Path):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
