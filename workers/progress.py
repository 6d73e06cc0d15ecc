"""What a person sees while files are worked on.

Goes in: the stages, progress and notes of files, several at a time. Comes out: moving bars on a
terminal, plain lines elsewhere, or nothing but failures. Does not know: what the stages do.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from pipeline.source import display

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console, RenderableType
    from rich.progress import Progress

    from pipeline.protocols import Listener
    from pipeline.types import Outcome, Stage
    from workers.batch import Request
    from workers.options import DisplayOptions

LINE_EVERY_S = 30.0  # how often a long stage says something where no bar can be drawn
STYLES = {"done": "green", "skipped": "yellow", "failed": "red"}


class Display(Protocol):
    """Shows a batch: one listener a file, then its outcome."""

    def listen(self, request: Request) -> Listener:
        """A listener for the next file."""
        ...

    def show(self, request: Request, outcome: Outcome) -> None:
        """Say how a file ended."""
        ...


def nothing() -> tuple[str, ...]:
    """No lines."""
    return ()


@contextmanager
def displayed(
    console: Console, options: DisplayOptions, below: Callable[[], Iterable[str]] = nothing
) -> Iterator[Display]:
    """The display that fits the console and the flags.

    On a terminal, the lines of `below` stand under the bars; another thread asks for them.
    """
    if options.quiet:
        yield Silence(console)
    elif console.is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.text import Text

        columns = (
            TextColumn("  {task.fields[stage]:<10}", style="cyan"),
            BarColumn(),
            TextColumn("{task.fields[pace]:<22}"),
            TextColumn("{task.description}", style="dim", markup=False),
        )

        class BarsAndLines(Progress):
            def get_renderables(self) -> Iterator[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                for line in below():
                    yield Text(line, style="dim", overflow="ellipsis", no_wrap=True)

        with BarsAndLines(*columns, console=console, transient=True) as progress:
            yield Bars(progress, verbose=options.verbose)
    else:
        yield Lines(console, time.monotonic, verbose=options.verbose)


@contextmanager
def downloads(
    console: Console, options: DisplayOptions
) -> Iterator[Callable[[int, int | None], None]]:
    """A function that is told (bytes done, bytes in all) and shows them."""
    if options.quiet:
        yield lambda _done, _total: None
    elif console.is_terminal:
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        columns = (BarColumn(), DownloadColumn(), SpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("", visible=False)
            yield lambda done, total: progress.update(
                task, completed=done, total=total, visible=done != total
            )
    else:
        yield _DownloadLines(console, time.monotonic)


class _DownloadLines:
    """A line now and then, for logs and pipes."""

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        self._console = console
        self._now = now
        self._said_s = now()

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        if self._now() - self._said_s >= LINE_EVERY_S:
            self._said_s = self._now()
            of = f" of {total_bytes / 1e6:,.0f}" if total_bytes else ""
            say(self._console, f"downloading: {done_bytes / 1e6:,.0f}{of} MB")


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print text as it is: no markup, no colours of rich's own, no wrapping."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """1:02:03, 2:03."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"


def sentence(outcome: Outcome) -> str:
    """One line that says how a file ended."""
    if outcome.state != "done":
        return f"{outcome.state}: {outcome.reason}"
    files = ", ".join(display(path) for path in outcome.outputs)
    if outcome.summary_failure:
        files += f"; no summary: {outcome.summary_failure}"
    if not outcome.duration_s or not outcome.took_s:
        return files
    speed = outcome.duration_s / outcome.took_s
    return f"{files}  ({clock(outcome.duration_s)} in {clock(outcome.took_s)}, {speed:.0f}x)"


class Pace:
    """Speed and time left of one stage."""

    def __init__(self, total_s: float | None, now: Callable[[], float]) -> None:
        self._total_s = total_s
        self._now = now
        self._began_s = now()
        self._first_s: float | None = None  # a continued stage does not begin at 0

    def text(self, done_s: float) -> str:
        """Such as " 43%  38x  0:12 left", as far as it is known."""
        if self._first_s is None:
            self._first_s = done_s
        elapsed_s = self._now() - self._began_s
        speed = (done_s - self._first_s) / elapsed_s if elapsed_s > 0 else 0.0
        parts = []
        if self._total_s:
            parts.append(f"{min(1.0, done_s / self._total_s):4.0%}")
        if speed > 0:
            parts.append(f"{speed:.0f}x")
        if speed > 0 and self._total_s:
            parts.append(f"{clock(max(0.0, self._total_s - done_s) / speed)} left")
        return "  ".join(parts)


class Bars:
    """Moving bars on a terminal, and above them what has come of each file."""

    def __init__(self, progress: Progress, *, verbose: bool) -> None:
        self._progress = progress
        self._verbose = verbose
        self._listeners: dict[Request, _BarListener] = {}

    def listen(self, request: Request) -> Listener:
        """Another bar."""
        listener = _BarListener(self._progress, display(request.path))
        self._listeners[request] = listener
        return listener

    def show(self, request: Request, outcome: Outcome) -> None:
        """Replace the bar by the file's notes and its ending."""
        listener = self._listeners.pop(request)
        self._progress.remove_task(listener.task)
        console = self._progress.console
        say(console, display(request.path), "bold")
        for note in listener.notes:
            if self._verbose or _is_for_all(note):
                say(console, f"  {note}", "dim")
        say(console, f"  {sentence(outcome)}", STYLES[outcome.state])


class _BarListener:
    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._pace = Pace(None, time.monotonic)
        self.notes: list[str] = []
        self.task = progress.add_task(name, stage="", pace="", visible=False)

    def stage(self, stage: Stage, total_s: float | None) -> None:
        self._pace = Pace(total_s, time.monotonic)
        self._progress.reset(self.task, total=total_s, stage=stage, pace="", visible=True)

    def progress(self, done_s: float) -> None:
        self._progress.update(self.task, completed=done_s, pace=self._pace.text(done_s))

    def note(self, text: str) -> None:
        self.notes.append(text)


class Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self, console: Console, now: Callable[[], float], *, verbose: bool) -> None:
        self._console = console
        self._now = now
        self._verbose = verbose

    def listen(self, request: Request) -> Listener:
        """Every line begins with the file's name."""
        return _LineListener(self._console, display(request.path), self._now, self._verbose)

    def show(self, request: Request, outcome: Outcome) -> None:  # noqa: ARG002  - the protocol's
        """One line; a failure's reason names the file itself."""
        name = "" if outcome.state == "failed" else f"{display(outcome.source)}: "
        say(self._console, f"{name}{sentence(outcome)}")


class _LineListener:
    def __init__(
        self,
        console: Console,
        name: str,
        now: Callable[[], float],
        verbose: bool,  # noqa: FBT001
    ) -> None:
        self._console = console
        self._name = name
        self._now = now
        self._verbose = verbose
        self._begin("probe", None)

    def _begin(self, stage: Stage, total_s: float | None) -> None:
        self._stage = stage
        self._pace = Pace(total_s, self._now)
        self._said_s = self._now()

    def stage(self, stage: Stage, total_s: float | None) -> None:
        self._begin(stage, total_s)
        if self._verbose:
            say(self._console, f"{self._name}: {stage}")

    def progress(self, done_s: float) -> None:
        pace = self._pace.text(done_s)
        if self._now() - self._said_s >= LINE_EVERY_S:
            self._said_s = self._now()
            say(self._console, f"{self._name}: {self._stage} {pace.strip()}")

    def note(self, text: str) -> None:
        if self._verbose or _is_for_all(text):
            say(self._console, f"{self._name}: {text}")


class Silence:
    """Nothing but failures."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def listen(self, request: Request) -> Listener:  # noqa: ARG002  - the protocol's
        """A listener that keeps silent."""
        return _Deaf()

    def show(self, request: Request, outcome: Outcome) -> None:  # noqa: ARG002  - the protocol's
        """One line, if it failed, or its summary did."""
        if outcome.state == "failed":
            say(self._console, str(outcome.reason))
        elif outcome.summary_failure:
            name = display(outcome.source)
            say(self._console, f"{name} has no summary: {outcome.summary_failure}")


class _Deaf:
    def stage(self, stage: Stage, total_s: float | None) -> None: ...

    def progress(self, done_s: float) -> None: ...

    def note(self, text: str) -> None: ...


def _is_for_all(note: str) -> bool:
    """A traceback is only for those who ask for it."""
    return "\n" not in note
