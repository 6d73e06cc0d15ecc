"""How the queue looks in a terminal.

Goes in: counts and records of the ledger. Comes out: tables and lines. Does not know: Redis, who
asked.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pipeline.source import display
from workers.log import ID_CHARS
from workers.progress import clock
from workers.remote import address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, JustifyMethod, RenderableType
    from rich.table import Table

    from workers.ledger_records import Counts, Line, Record


_STYLES = {
    "queued": "dim",
    "running": "cyan",
    "done": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "yellow",
}
_WIDTH = 100  # characters; a table that is cut is worse than lines that wrap
_COLUMNS = ("id", "file", "state", "stage", "done", "speed", "left", "worker", "tries", "why")
_NUMBERS = ("done", "speed", "left", "tries")
_CUT = ("file", "worker", "why")


@dataclass(frozen=True, slots=True)
class Forecast:
    """When all that waits will be done."""

    media_s: float  # that is still to be heard
    takes_s: float | None  # None: nobody can tell
    reason: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one running job goes."""

    speed: float  # seconds of media a second
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """The queue at one moment. This is what `status --json` prints."""

    counts: Counts
    forecast: Forecast
    jobs: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job and all that happened to it. This is what `status ID --json` prints."""

    job: Record
    history: tuple[Line, ...]
    now_s: float


def forecast(counts: Counts, running: tuple[Record, ...]) -> Forecast:
    """What is left, divided by how fast one job went until now and by how many run now."""
    left_s = counts.waiting_media_s + sum(map(rest_s, running))
    if left_s <= 0:
        return Forecast(0.0, 0.0, "nothing waits")
    if counts.paused:
        return Forecast(left_s, None, "paused: transcribe resume lets it go on")
    if not running:
        return Forecast(left_s, None, "nothing is being worked on: start transcribe worker")
    if counts.work_done_s <= 0 or counts.media_done_s <= 0:
        return Forecast(left_s, None, "no job is done yet")
    speed = counts.media_done_s / counts.work_done_s * len(running)
    at_once = "one at a time" if len(running) == 1 else f"{len(running)} at once"
    return Forecast(left_s, left_s / speed, f"{at_once}, at {speed:.1f}x")


def rest_s(record: Record) -> float:
    """The media of a running job that nobody has heard yet."""
    heard_s = record.done_s if record.pipeline_stage == "transcribe" else 0.0
    return max(0.0, record.length_s - heard_s)


def pace(record: Record, now_s: float) -> Pace | None:
    """Speed and time left of the stage that a running job is in; None where nothing tells."""
    began_s = record.stage_began_s or record.started_s
    gained_s = record.done_s - record.taken_up_s  # what an earlier attempt heard makes no speed
    if record.state != "running" or began_s is None or now_s <= began_s or gained_s <= 0:
        return None
    speed = gained_s / (now_s - began_s)
    left_s = None if record.total_s is None else max(0.0, record.total_s - record.done_s) / speed
    return Pace(speed, left_s)


def show(status: Status | JobStatus, console: Console, *, as_json: bool) -> None:
    """Print it once."""
    if as_json:
        click.echo(json.dumps(asdict(status), default=str))  # paths are all that JSON lacks
        return
    console.width = max(console.width, _WIDTH)
    console.print(picture(status))


def show_changes(
    look: Callable[[], Status | JobStatus],
    console: Console,
    pause: Callable[[], None],
    *,
    as_json: bool,
) -> None:
    """Show it again and again, in place on a terminal, until `pause` raises KeyboardInterrupt."""
    from rich.live import Live

    if as_json or not console.is_terminal:
        while True:
            show(look(), console, as_json=as_json)
            pause()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            live.update(picture(look()), refresh=True)
            pause()


def picture(status: Status | JobStatus) -> RenderableType:
    """The table of jobs, and under it what is to be known of all of them; or all of one job."""
    from rich.console import Group
    from rich.text import Text

    if isinstance(status, JobStatus):
        return Text("\n".join(job_lines(status)))
    lines = Text("\n".join(totals(status)))
    return Group(jobs_table(status), Text(), lines) if status.jobs else lines


def jobs_table(status: Status) -> Table:
    """One row a job; where they do not fit, names and reasons are cut."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in _COLUMNS:
        justify: JustifyMethod = "right" if title in _NUMBERS else "left"
        table.add_column(title, justify=justify, no_wrap=title not in _CUT)
    for record in status.jobs:
        cells = (Text(cell, no_wrap=True, overflow="ellipsis") for cell in _row(record, status))
        table.add_row(*cells, style=_STYLES[record.state])
    return table


def _row(record: Record, status: Status) -> tuple[str, ...]:
    now_s = status.counts.now_s
    going = pace(record, now_s)
    is_running = record.state == "running"
    return (
        record.id[:ID_CHARS],
        display(record.job.source.path.name),
        record.state,
        (record.pipeline_stage or record.stage) if is_running else record.stage,
        _percent(record) if is_running else "",
        f"{going.speed:.1f}x" if going else "",
        clock(going.left_s) if going and going.left_s is not None else "",
        record.owner or "",
        str(record.attempts or ""),
        _why(record, now_s),
    )


def _percent(record: Record) -> str:
    return f"{min(1.0, record.done_s / record.total_s):.0%}" if record.total_s else ""


def _why(record: Record, now_s: float) -> str:
    """Why a job failed, or waits although workers may be idle."""
    reason = display(record.reason or "")
    if record.due_s is None:
        return reason
    return f"again in {clock(max(0.0, record.due_s - now_s))}: {reason}"


def totals(status: Status) -> tuple[str, ...]:
    """How many jobs are in which state, how much is done, and when all will be."""
    counts = status.counts
    states = ", ".join(f"{number} {state}" for state, number in counts.by_state if number)
    lines = [states or "The queue is empty."]
    if counts.media_done_s > 0 and counts.work_done_s > 0:
        speed = counts.media_done_s / counts.work_done_s
        lines.append(
            f"done: {clock(counts.media_done_s)} of media in {clock(counts.work_done_s)} of work, "
            f"{speed:.1f}x"
        )
    if (ahead := status.forecast).media_s > 0:
        when = "no telling when" if ahead.takes_s is None else f"done in {clock(ahead.takes_s)}"
        lines.append(f"to do: about {clock(ahead.media_s)} of media, {when} ({ahead.reason})")
    if counts.oldest_ready_s is not None:
        waits_s = max(0.0, counts.now_s - counts.oldest_ready_s)
        lines.append(f"the longest wait by now: {clock(waits_s)}")
    if counts.paused:
        lines.append("Paused: nothing new is begun until transcribe resume.")
    if counts.newer:
        lines.append(
            f"{counts.newer} jobs are of a newer version, which this one leaves alone: update it."
        )
    return tuple(lines)


def job_lines(status: JobStatus) -> tuple[str, ...]:
    """All that is known of one job, and its history."""
    job = status.job
    facts = [
        ("job", job.id),
        ("file", display(address_of(job.job.source) or job.job.source.path)),
        ("state", f"{job.state}, {job.priority} priority"),
        ("stage", f"{job.stage}{_how_far(job, status.now_s)}"),
        ("worker", job.owner or ""),
        ("attempts", str(job.attempts)),
        ("asked for", _moment(job.queued_s)),
        ("started", _moment(job.started_s)),
        ("ended", _moment(job.ended_s)),
        ("reason", _why(job, status.now_s)),
        *(("output", display(path)) for path in job.outputs),
        *(("note", note) for note in job.notes),
    ]
    lines = [f"{what:<10} {told}" for what, told in facts if told]
    return (*lines, "", *(f"{_moment(line.at_s)}  {line.what}" for line in status.history))


def _how_far(job: Record, now_s: float) -> str:
    if job.state != "running" or job.pipeline_stage is None:
        return ""
    going = pace(job, now_s)
    left = f", {clock(going.left_s)} left" if going and going.left_s is not None else ""
    return f": {job.pipeline_stage} {_percent(job)}{left}"


def _moment(at_s: float | None) -> str:
    """On this machine's clock and in its time zone."""
    if at_s is None:
        return ""
    moment = datetime.fromtimestamp(at_s, UTC).astimezone()
    return moment.isoformat(sep=" ", timespec="seconds")
