"""Tidies in a process that is killed at its nth step, or while whose media grows as it is copied.

Arguments: STEP|grow SOURCE ROOT FOLDER OUTPUT.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.source import take
from pipeline.types import Outcome
from workers.watch.after import After, tidy

STEPS = ("open", "os.", "shutil.", "fcntl.")  # what touches the disk, as Python's audit names it
KILLED = 99


def main():
    source, root, folder, output = map(Path, sys.argv[2:])
    job, outcome = take(source), Outcome(source, "done", (output,))
    seen = []

    def die(event, _):
        if event.startswith(STEPS):
            seen.append(event)
            if len(seen) == int(sys.argv[1]):
                os._exit(KILLED)

    def grow(event, arguments):
        if event == "shutil.copyfile" and arguments[0] == source:
            with source.open("ab") as file:
                file.write(b"more")

    sys.addaudithook(grow if sys.argv[1] == "grow" else die)
    tidy(outcome, job, root, After(folder))


if __name__ == "__main__":
    main()
