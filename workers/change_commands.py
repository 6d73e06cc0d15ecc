"""`retry`, `cancel`, `forget`, `pause`, `resume`.

Goes in: ids or states. Comes out: changed jobs, one line or JSON object each. Does not know: how
the ledger changes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import BadOption
from workers.log import ID_CHARS
from workers.options import display_options
from workers.queue_access import found, open_queue
from workers.session import EXIT_CODES, Session, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.ledger import Ledger
    from workers.ledger_records import QueueStage, State
    from workers.options import Command

MANY = 1_000_000  # jobs: all that there may be
HALF_DONE = "What was changed stays so: transcribe status shows it."


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of one job. This is what `--json` prints."""

    id: str
    changed: bool
    reason: str | None = None  # why not
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A way to change jobs."""

    apply: Callable[[Ledger, Sequence[str]], tuple[str, ...]]
    applies_to: tuple[State, ...]
    told: str  # of a job that was changed
    wakes: tuple[QueueStage, ...] = ()


RETRY = Change(
    lambda ledger, ids: ledger.retry(ids),
    ("failed", "dead", "cancelled"),
    "queued again",
    wakes=("convert", "speech"),
)
CANCEL = Change(lambda ledger, ids: ledger.cancel(ids), ("queued", "running"), "cancelled")
FORGET = Change(
    lambda ledger, ids: ledger.forget(ids), ("done", "failed", "dead", "cancelled"), "forgotten"
)


def _which_jobs(change: Change) -> Callable[[Command], Command]:
    """Jobs by their ids, or all in a state."""

    def decorate(command: Command) -> Command:
        states = change.applies_to
        every = click.option(
            "--all", "everything", is_flag=True, help=f"All that are {_either(change)}."
        )
        some = click.option(
            "--state", "states", multiple=True, type=click.Choice(states), help="All in this state."
        )
        return click.argument("ids", nargs=-1, metavar="[ID]...")(every(some(command)))

    return decorate


def _either(change: Change) -> str:
    return f"{', '.join(change.applies_to[:-1])} or {change.applies_to[-1]}"


@click.command("retry", epilog=EXIT_CODES)
@_which_jobs(RETRY)
@display_options
def retry_command(**flags: Any) -> None:
    """Take up jobs again that failed, died or were cancelled.

    They go on where they were, with fresh attempts.
    """
    _change(RETRY, flags)


@click.command("cancel", epilog=EXIT_CODES)
@_which_jobs(CANCEL)
@display_options
def cancel_command(**flags: Any) -> None:
    """Stop jobs, also running ones, within seconds.

    What is done of them is kept: `transcribe retry` goes on there.
    """
    _change(CANCEL, flags)


@click.command("forget", epilog=EXIT_CODES)
@_which_jobs(FORGET)
@display_options
def forget_command(**flags: Any) -> None:
    """Take ended jobs out of the queue's books; their subtitles stay."""
    _change(FORGET, flags)


def _change(change: Change, flags: dict[str, Any]) -> None:
    """Change the jobs that the flags tell, and say what came of each."""

    def work(session: Session) -> int:
        from workers.batch import worst

        states = change.applies_to if flags["everything"] else flags["states"]
        if not (flags["ids"] or states):
            raise BadOption("Which jobs? Give their ids, --state or --all.")
        queue = open_queue(session)
        ids = dict.fromkeys(found(given, queue.ledger) for given in flags["ids"])
        ids |= dict.fromkeys(job.id for job in queue.ledger.records(states, MANY))
        if not ids:
            session.say(f"No job is {_either(change)}.")
        changed = set(change.apply(queue.ledger, tuple(ids)))
        if changed:
            queue.wake(change.wakes)
        codes = []
        for job_id in ids:
            one = _came_of(job_id, change, changed, queue.ledger)
            _tell_changed(one, change, session)
            codes.append(one.exit_code)
        return worst(codes)

    guarded(work, flags, HALF_DONE)


def _came_of(job_id: str, change: Change, changed: set[str], ledger: Ledger) -> Changed:
    if job_id in changed:
        return Changed(job_id, changed=True)
    record = ledger.record(job_id)
    state = record.state if record else "gone"
    told = f"{job_id[:ID_CHARS]} is {state}"
    reason = f"{told}: only jobs that are {_either(change)} can be {change.told}."
    return Changed(job_id, changed=False, reason=reason, exit_code=BadOption.exit_code)


def _tell_changed(one: Changed, change: Change, session: Session) -> None:
    from pipeline.codec import dumps

    if session.display.as_json:
        click.echo(dumps(one))
    elif one.reason:
        session.complain(one.reason)
    else:
        session.say(f"{one.id[:ID_CHARS]}  {change.told}")


@click.command("pause")
@display_options
def pause_command(**flags: Any) -> None:
    """Begin nothing new; what is being worked on goes on to its end."""

    def work(session: Session) -> int:
        open_queue(session).ledger.pause()
        session.say("Paused: transcribe resume lets the queue go on.")
        return 0

    guarded(work, flags, HALF_DONE)


@click.command("resume")
@display_options
def resume_command(**flags: Any) -> None:
    """Let a paused queue go on."""

    def work(session: Session) -> int:
        queue = open_queue(session)
        queue.ledger.resume()
        queue.wake(("convert", "speech"))
        session.say("The queue goes on.")
        return 0

    guarded(work, flags, HALF_DONE)
