"""A wish to stop is never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.interruption import Heedful, Interruption

ROOT = Path(__file__).parents[2]


class Ear:
    def __init__(self):
        self.heard = []

    def stage(self, stage, total_s):
        self.heard.append((stage, total_s))

    def progress(self, done_s):
        self.heard.append(done_s)

    def note(self, text):
        self.heard.append(text)


@pytest.mark.parametrize(
    "tell",
    [lambda ear: ear.stage("speech", 1.0), lambda ear: ear.progress(1), lambda ear: ear.note("")],
)
def test_a_lost_interrupt_is_raised_again_at_the_next_report(tell):
    ear, interruption = Ear(), Interruption()
    tell(Heedful(ear, interruption))
    with pytest.raises(KeyboardInterrupt):
        interruption.arrive(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        tell(Heedful(ear, interruption))
    assert len(ear.heard) == 1


STOPPED_INSIDE_EXEC = """
import sys
from workers.session import guarded
def work(session):
    exec("raise KeyboardInterrupt")
sys.argv = ["transcribe"]
guarded(work, {"quiet": True, "verbose": False, "as_json": False}, "The rest waits.")
"""


def test_an_interruption_inside_of_exec_has_the_exit_code_of_any_other(tmp_path):
    """`python -m` would kill itself by SIGINT, after all was put down in order."""
    (tmp_path / "stopped.py").write_text(STOPPED_INSIDE_EXEC)
    paths = f"{ROOT}:{tmp_path}"
    ended = subprocess.run(
        [sys.executable, "-m", "stopped"],
        cwd=ROOT, env={**os.environ, "TRANSCRIBE_HOME": str(tmp_path), "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (130, "Stopped. The rest waits.\n")


STOPPED_INSIDE_TORCH = """
import signal, sys, time
from workers.interruption import Interruption

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            signal.raise_signal(signal.SIGINT)

Interruption().install()
sys.meta_path.insert(0, Finder())
try:
    import torch
    print("imported")
    while True:
        time.sleep(0.01)
except KeyboardInterrupt:
    print("stopped")
"""


def test_an_interruption_waits_until_torch_is_imported():
    """Else its C++ may end the process by SIGABRT."""
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED_INSIDE_TORCH],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.stdout.split() == ["imported", "stopped"], ended.stderr
