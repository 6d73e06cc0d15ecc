"""Stopping when somebody asks for it.

Goes in: SIGINT or SIGTERM. Comes out: KeyboardInterrupt, soon. Does not know: what is stopped.

Python loses an exception that a signal raises inside a foreign callback (numba compiling, a fork
hook: "Exception ignored in …"). So the wish is remembered and raised again at the next stage or
progress report, which every second of work brings.

While torch is imported it has to wait: C++ that meets an exception there ends the process.
"""

from __future__ import annotations

import signal
import sys
from _thread import interrupt_main
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from pipeline.protocols import Listener
    from pipeline.types import Stage


_AGAIN_S = 0.05


class Interruption:
    """Whether somebody asked this process to stop."""

    def __init__(self) -> None:
        self._wanted = False

    def install(self) -> None:
        """Listen to Ctrl-C and to service managers."""
        signal.signal(signal.SIGINT, self.arrive)
        signal.signal(signal.SIGTERM, self.arrive)

    def arrive(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self._wanted = True
        if _is_half_imported("torch"):
            again = Timer(_AGAIN_S, interrupt_main, (number,))
            again.daemon = True
            again.start()
            return
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt again if the first one was lost."""
        if self._wanted:
            raise KeyboardInterrupt


def _is_half_imported(module: str) -> bool:
    """As importlib has it."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


class Heedful:
    """A listener that passes on what it hears, unless the work is to stop."""

    def __init__(self, listener: Listener, interruption: Interruption) -> None:
        self._listener = listener
        self._check = interruption.check

    def stage(self, stage: Stage, total_s: float | None) -> None:
        """Check, then pass on."""
        self._check()
        self._listener.stage(stage, total_s)

    def progress(self, done_s: float) -> None:
        """Check, then pass on."""
        self._check()
        self._listener.progress(done_s)

    def note(self, text: str) -> None:
        """Check, then pass on."""
        self._check()
        self._listener.note(text)
