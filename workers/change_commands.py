"""`retry`, `cancel`, `forget`, `pause`, `resume`.

Goes in: ids or states. Comes out: changed jobs, one line or JSON object each. Does not know: how
the ledger changes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import BadOption
from workers.ledger_view import ENDED
from workers.log import ID_CHARS
from workers.options import display_options
from workers.queue_access import found, open_queue
from workers.session import EXIT_CODES, Session, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workers.ledger import Ledger
    from workers.ledger_records import QueueStage, State
    from workers.options import Command

SHOWN = 20  # jobs that are told one by one; of more, their number says more
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
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
FORGET = Change(lambda ledger, ids: ledger.forget(ids), ENDED, "forgotten")


class Age(click.ParamType[float]):
    """A time that has passed: a number and a unit."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Give the seconds."""
        if isinstance(value, float):
            return value
        parts = re.fullmatch(r"(\d{1,6})([smhdw])", str(value))
        if parts is None:
            self.fail(f"{value!r} is no age: write it like 30d, 12h or 90m.", param, ctx)
        return float(int(parts[1]) * _UNITS_S[parts[2]])


@dataclass(frozen=True, slots=True)
class Meant:
    """Which jobs a command is to change."""

    ids: tuple[str, ...]  # as they were typed
    states: tuple[State, ...]  # all jobs in these
    ended_for_s: float | None  # only those that ended so long ago


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
@click.option(
    "--ended-before",
    "ended_for_s",
    type=Age(),
    metavar="AGE",
    help="All that ended so long ago: 30d, 12h. With --state, only those of that state.",
)
@display_options
def forget_command(**flags: Any) -> None:
    """Take ended jobs out of the queue's books; their subtitles stay."""
    _change(FORGET, flags)


def _change(change: Change, flags: dict[str, Any]) -> None:
    """Change the jobs that the flags tell, and say what came of each."""

    def work(session: Session) -> int:
        from workers.batch import worst

        meant = _meant(change, flags)
        queue = open_queue(session)
        ids = _ids(meant, queue.ledger)
        if not ids:
            is_old = "" if meant.ended_for_s is None else ", and ended so long ago"
            session.say(f"No job is {_either(change)}{is_old}.")
        changed = set(change.apply(queue.ledger, ids))
        if changed:
            queue.wake(change.wakes)
        results = [_came_of(job_id, change, changed, queue.ledger) for job_id in ids]
        _tell_changes(results, change, session)
        return worst(one.exit_code for one in results)

    guarded(work, flags, HALF_DONE)


def _meant(change: Change, flags: dict[str, Any]) -> Meant:
    """Raises BadOption where no job is meant, or it is not clear which."""
    ended_for_s = flags.get("ended_for_s")
    everything = flags["everything"] or (ended_for_s is not None and not flags["states"])
    meant = Meant(flags["ids"], change.applies_to if everything else flags["states"], ended_for_s)
    if not (meant.ids or meant.states):
        raise BadOption("Which jobs? Give their ids, --state or --all.")
    if meant.ids and ended_for_s is not None:
        raise BadOption("An id means one job, --ended-before means many: give one of them.")
    return meant


def _ids(meant: Meant, ledger: Ledger) -> tuple[str, ...]:
    before_s = None
    if meant.ended_for_s is not None:
        before_s = ledger.counts().now_s - meant.ended_for_s
    named = (found(given, ledger) for given in meant.ids)
    return tuple(dict.fromkeys((*named, *ledger.ids(meant.states, before_s))))


def _came_of(job_id: str, change: Change, changed: set[str], ledger: Ledger) -> Changed:
    if job_id in changed:
        return Changed(job_id, changed=True)
    record = ledger.record(job_id)
    state = record.state if record else "gone"
    told = f"{job_id[:ID_CHARS]} is {state}"
    reason = f"{told}: only jobs that are {_either(change)} can be {change.told}."
    return Changed(job_id, changed=False, reason=reason, exit_code=BadOption.exit_code)


def _tell_changes(results: Sequence[Changed], change: Change, session: Session) -> None:
    from pipeline.codec import dumps

    if session.display.as_json:
        for one in results:
            click.echo(dumps(one))
        return
    changed = [one for one in results if one.changed]
    if len(changed) > SHOWN:
        session.say(f"{len(changed)} jobs {change.told}")
    else:
        for one in changed:
            session.say(f"{one.id[:ID_CHARS]}  {change.told}")
    for one in results:
        if one.reason:
            session.complain(one.reason)


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
