"""What every command of the terminal shares: settings, a console, an ending with the right code.

Goes in: a command's work and its flags. Comes out: an exit code, and no traceback for what can
happen. Does not know: any command.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from models.engines.shared import HEARING
from pipeline.errors import MachineError, TranscribeError
from workers import settings as environment
from workers.interruption import Interruption
from workers.lanes import FILE
from workers.options import DisplayOptions, display_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from workers.settings import Settings

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
NOBODY_READS = 141  # 128 + SIGPIPE
LINGER_S = 0.3  # what an engine gets to end in order
EXIT_CODES = (
    "Exit codes: 0 all done, 1 our bug, 2 the input's fault, 3 the machine's (tools, disk, model, "
    "memory), 4 busy, 130 interrupted. Of several files the worst one counts."
)


class WithDefault(click.Group):
    """A group whose default command takes what names neither a command nor an option of its own."""

    default = ""
    also_alone = False  # without arguments the default command runs, too, instead of the help

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front."""
        own = {*self.commands, *ctx.help_option_names, "--version"}
        if args[0] not in own if args else self.also_alone:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class Session:
    """What one command was started with."""

    settings: Settings
    display: DisplayOptions
    console: Console
    interruption: Interruption

    def say(self, text: str, style: str | None = None) -> None:
        """A remark for a person, unless it was to be quiet."""
        from workers.progress import say

        if not self.display.quiet:
            say(self.console, text, style)

    def warn(self, text: str) -> None:
        """Something that somebody has to see to; it is said however quiet the command is to be."""
        if self.display.quiet:
            self.complain(text)
        else:
            self.say(text, "yellow")

    def complain(self, text: str) -> None:
        """A failure; it is said however quiet the command is to be."""
        from rich.console import Console

        from workers.progress import say

        say(Console(stderr=True), text, "red")


def guarded(work: Callable[[Session], int], flags: dict[str, Any], stopped: str) -> None:
    """Run, and end with the right code: no traceback for what can happen."""
    from rich.console import Console

    from workers.progress import say

    display = display_of(flags)
    on_stderr = display.as_json or display.quiet
    interruption = Interruption()
    interruption.install()
    try:
        environment.order_gpus()
        session = Session(environment.load(), display, Console(stderr=on_stderr), interruption)
        code = work(session)
    except TranscribeError as error:
        if display.verbose:
            Console(stderr=True).print_exception()
        say(Console(stderr=True), str(error), "red")
        code = error.exit_code
    except KeyboardInterrupt:
        say(Console(stderr=True), f"Stopped. {stopped}")
        code = INTERRUPTED
    except (BrokenPipeError, SystemExit):  # rich leaves when nobody reads any more
        code = NOBODY_READS
    except OSError as error:  # the terminal, the current folder, the home
        say(Console(stderr=True), f"{error.strerror}: {error.filename or 'output'}.", "red")
        code = MachineError.exit_code
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit, although an engine may still be busy with what nobody waits for any more.

    It is in native code then, which would find the interpreter gone: so nothing is taken down.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # what is asked for is being done
        signal.signal(number, signal.SIG_IGN)
    busy = [thread for thread in threading.enumerate() if thread.name in (HEARING, FILE)]
    until_s = time.monotonic() + LINGER_S
    for thread in busy:
        thread.join(max(0.0, until_s - time.monotonic()))
    # `python -m` ends by a signal, whatever its code, if an interruption was raised in exec("…"),
    # as dataclasses use it (unhandled_keyboard_interrupt in CPython's pythonrun.c)
    if code == INTERRUPTED or any(thread.is_alive() for thread in busy):
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
