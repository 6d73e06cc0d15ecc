"""The queue's doors: `enqueue` and `status`; `change_commands` has those that change jobs.

Goes in: arguments. Comes out: jobs in the ledger, tables, lines or JSON, and an exit code. Does
not know: how the ledger keeps jobs, who works on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from pipeline.source import display
from workers.change_commands import (
    cancel_command,
    forget_command,
    pause_command,
    resume_command,
    retry_command,
)
from workers.ledger_records import Priority, State
from workers.ledger_view import MANY
from workers.log import ID_CHARS
from workers.options import display_options, output_of, output_options, speech_of, speech_options
from workers.queue_access import found, open_queue, pause_of, unknown
from workers.session import EXIT_CODES, Session, guarded
from workers.summary_options import wish_of, wish_option

if TYPE_CHECKING:
    from workers.enqueue import Registered
    from workers.ledger import Ledger
    from workers.status_table import JobStatus, Status

SHOWN = 20  # jobs of each state in a table
ORDER: tuple[State, ...] = ("running", "queued", "failed", "dead", "cancelled", "done")


class Given(click.ParamType[str]):
    """A path, a pattern or an address; an empty one is mostly an empty shell variable."""

    name = "file or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Give it as it is."""
        return str(value) if value else self.fail("an empty name", param, ctx)


@click.command("enqueue", epilog=EXIT_CODES)
@click.argument("sources", nargs=-1, required=True, type=Given(), metavar="FILE_OR_URL...")
@click.option("--recursive", "-r", is_flag=True, help="Take the media in folders, too.")
@click.option(
    "--priority",
    type=click.Choice(get_args(Priority)),
    default="normal",
    show_default=True,
    help="All of a higher one come first.",
)
@click.option("--wait", is_flag=True, help="Show the work, and end as `run` does.")
@wish_option
@speech_options
@output_options
@display_options
def enqueue_command(
    sources: tuple[str, ...],
    recursive: bool,  # noqa: FBT001  - click's way
    priority: Priority,
    wait: bool,  # noqa: FBT001  - click's way
    **flags: Any,
) -> None:
    """Leave files to the workers; gives an id for each.

    The same job twice is one job. How a machine is used, its worker is told.
    """

    def work(session: Session) -> int:
        from workers.batch import worst
        from workers.enqueue import Wanted, asked, register

        queue = open_queue(session)
        speech, output = speech_of(flags, session.settings), output_of(flags)
        wanted = Wanted(speech, output, priority, Path.cwd(), wish_of(flags))
        registered = []
        for one in register(asked(sources, wanted, recursive=recursive), queue.ledger):
            _tell_registered(one, session, is_last=not wait)
            registered.append(one)
        if any(one.is_new for one in registered):
            queue.wake(("convert",))
        codes = [one.exit_code for one in registered]
        if wait:
            codes += _wait_for(registered, queue.ledger, session)
        return worst(codes) or max(codes, default=0)

    guarded(work, flags, "What was enqueued stays so: transcribe status shows it.")


def _tell_registered(one: Registered, session: Session, *, is_last: bool) -> None:
    from pipeline.codec import dumps

    if session.display.as_json and (is_last or one.id is None):
        click.echo(dumps(one))
    elif one.id is None:
        session.complain(one.reason or "")
    elif is_last and not session.display.quiet:
        is_known = "" if one.is_new else f"  (known, {one.state})"
        click.echo(f"{one.id[:ID_CHARS]}  {display(one.source)}{is_known}")


def _wait_for(registered: list[Registered], ledger: Ledger, session: Session) -> list[int]:
    """Show the work, and give the exit codes."""
    from pipeline.codec import dumps
    from workers.follow import follow
    from workers.progress import displayed

    names = {
        one.id: Path(one.source.partition("://")[2] or one.source) for one in registered if one.id
    }
    codes = []
    with displayed(session.console, session.display) as shown:
        for outcome in follow(names, ledger, shown, pause_of(session)):
            if session.display.as_json:
                click.echo(dumps(outcome))
            codes.append(outcome.exit_code)
    return codes


@click.command("status", epilog=EXIT_CODES)
@click.argument("job", required=False, metavar="[ID]")
@click.option("--watch", "-w", is_flag=True, help="Go on showing it until Ctrl-C.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(ORDER), help="Only jobs in this state."
)
@click.option("--failed", is_flag=True, help="Every file that failed, and why; also without queue.")
@click.option(
    "--limit", type=click.IntRange(1), default=SHOWN, show_default=True, help="Jobs of each state."
)
@display_options
def status_command(
    job: str | None,
    watch: bool,  # noqa: FBT001  - click's way
    states: tuple[State, ...],
    failed: bool,  # noqa: FBT001  - the same
    limit: int,
    **flags: Any,
) -> None:
    """Show the queue, or one job with all that happened to it.

    The first characters of an id are enough.
    """

    def work(session: Session) -> int:
        from workers.status_table import show, show_changes

        if failed:
            return _show_failed(limit, session)
        ledger, as_json = open_queue(session).ledger, session.display.as_json

        def look() -> Status | JobStatus:
            return _one(job, ledger) if job else _several(states or ORDER, limit, ledger)

        if watch:
            show_changes(look, session.console, pause_of(session), as_json=as_json)
        show(look(), session.console, as_json=as_json)
        return 0

    guarded(work, flags, "The work goes on.")


def _show_failed(limit: int, session: Session) -> int:
    from pipeline.codec import dumps
    from pipeline.store import Store
    from workers.failures import failures, table

    ledger = open_queue(session).ledger if session.settings.redis_url else None
    found = failures(Store(session.settings.home), ledger, limit)
    if session.display.as_json:
        for one in found:
            click.echo(dumps(one))
    else:
        session.console.print(table(found))
    return 0


def _one(given: str, ledger: Ledger) -> JobStatus:
    from workers.status_table import JobStatus

    job_id = found(given, ledger)
    record = ledger.record(job_id)
    if record is None:
        raise unknown(given)
    return JobStatus(record, ledger.history(job_id), ledger.counts().now_s)


def _several(states: tuple[State, ...], limit: int, ledger: Ledger) -> Status:
    from workers.status_table import Status, forecast

    counts = ledger.counts()
    running = ledger.records(("running",), MANY)
    wanted = [state for state in ORDER if state in states]
    jobs = tuple(job for state in wanted for job in ledger.records((state,), limit))
    return Status(counts, forecast(counts, running), jobs)


QUEUE_COMMANDS = (
    enqueue_command,
    status_command,
    retry_command,
    cancel_command,
    forget_command,
    pause_command,
    resume_command,
)
