"""A crew whose engine says what the file's prompt tells it, slowly, and that can die at any point.

Goes in: orders on stdin, as for `workers.crew`. Comes out: the same, without a model.

The initial prompt of a job is its script: words, separated by spaces, in any order:
    pace=0.1          seconds a window takes
    poison            the process dies by SIGSEGV whenever it hears the file
    fail=<error>      the engine raises this error of pipeline.errors
A file `die-<point>` in the home makes the first process that comes to this point die there.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from models.engines.scripted import ScriptedDetector, ScriptedEngine, spoken
from pipeline import errors, files
from pipeline.types import Span
from workers import crew, ledger

SPANS = tuple(Span(second, second + 18.0) for second in range(1, 3600, 20))


def said(window):
    """What is heard in any file: where it was heard."""
    return spoken(window, f"at {window.start_s:.0f} seconds")


def script_of(options):
    """The words of a job's prompt."""
    words = (options.initial_prompt or "").split()
    return {name: value for name, _, value in (word.partition("=") for word in words)}


class PacedEngine(ScriptedEngine):
    """Takes its time, or dies."""

    def __init__(self, heed):
        super().__init__(said)
        self._heed = heed

    def transcribe(self, clips):
        for clip in clips:
            script = script_of(clip.options)
            if "poison" in script:
                os.kill(os.getpid(), signal.SIGSEGV)
            if "fail" in script:
                raise getattr(errors, script["fail"])("as the script wants it.")
            self._wait(float(script.get("pace", 0)))
            yield from super().transcribe([clip])

    def _wait(self, seconds):
        ends = Event()
        for _ in range(int(seconds / 0.02)):
            ends.wait(0.02)
            self._heed()


class PacedEngines:
    """A `pipeline.protocols.Engines`."""

    def __init__(self, heed):
        self._engine = PacedEngine(heed)

    @contextmanager
    def detector(self):
        yield ScriptedDetector(SPANS)

    @contextmanager
    def speech(self, options):
        yield self._engine

    @contextmanager
    def text(self, llm):
        yield None

    def rest(self): ...


def engines_for(orders, settings):
    arm(settings.home)
    return lambda note, heed: PacedEngines(heed)


# ── points to die at ─────────────────────────────────────────────────────────────────────────

POINTS = (
    "before-advance",  # converted, not told
    "after-advance",
    "before-publish",  # the subtitles are written under a hidden name
    "after-publish",  # they have their name, and nobody knows
    "before-finish",  # the folder knows
    "after-finish",  # the ledger knows
)


def arm(home):
    """Wrap what publishes and tells, so that the process may die before or after it."""
    _wrap(home, ledger.Ledger, "advance", "advance")
    _wrap(home, ledger.Ledger, "finish", "finish")
    _wrap(
        home, files, "_publish", "publish", is_wanted=lambda part, target: target.suffix == ".srt"
    )


def _wrap(home, owner, name, point, is_wanted=lambda *_: True):
    real = getattr(owner, name)

    def wrapped(*arguments):
        if is_wanted(*arguments):
            _die_at(home, f"before-{point}")
        result = real(*arguments)
        if is_wanted(*arguments):
            _die_at(home, f"after-{point}")
        return result

    setattr(owner, name, wrapped)


def _die_at(home, point):
    """Whoever wants a death here has left a file; it is taken away, so that it happens once."""
    order = Path(home) / f"die-{point}"
    try:
        order.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(crew.main(engines_for))
