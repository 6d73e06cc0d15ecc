"""The watched folder's door: `watch`.

Goes in: folders and flags. Comes out: outcomes as they come, for as long as it is let. Does not
know: how files are found, decided about, or worked on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from pipeline.errors import BadOption
from workers.ledger_records import Priority
from workers.options import (
    GivenPath,
    display_options,
    machine_of,
    machine_options,
    output_of,
    output_options,
    speech_of,
    speech_options,
)
from workers.session import EXIT_CODES, Session, guarded
from workers.summary_options import summary_of, wish_option
from workers.watch.deciding import EXISTING, Policy
from workers.watch.rhythm import WatchOptions
from workers.watch.settling import SettleOptions

if TYPE_CHECKING:
    from pathlib import Path

    from workers.watch.ignoring import IgnoreOptions
    from workers.watch.notices import Teller
    from workers.watch.wiring import Watch

WATCH, SETTLE = WatchOptions(), SettleOptions()  # the defaults
# what transcribe.toml may say, unless a flag does
_FOLDERS_MAY = ("model", "wish", "language", "task", "initial_prompt", "formats", "name",
                "output_dir", "priority", "summary")  # fmt: skip


@click.command("watch", epilog=EXIT_CODES)
@click.argument("folders", nargs=-1, required=True, type=GivenPath(), metavar="DIR...")
@click.option("--local", is_flag=True, help="Work in this process, although a queue is set up.")
@click.option("--once", is_flag=True, help="End when all that is there is done, as for cron.")
@click.option(
    "--existing",
    type=click.Choice(EXISTING),
    default="skip",
    show_default=True,
    help="Where subtitles in that language are there: skip the file, replace what has "
    "our file's name, or write beside it.",
)
@click.option("--embedded", is_flag=True, help="Subtitles inside of the media count as well.")
@click.option(
    "--after",
    metavar="ACTION",
    help="What becomes of media whose subtitles are done: move:DIR or delete; else they stay.",
)
@click.option("--on-done", metavar="COMMAND", help="Run for every file that has ended.")
@click.option(
    "--webhook",
    metavar="URL",
    help="Tell this address of every file that has ended; signed with TRANSCRIBE_WEBHOOK_SECRET.",
)
@click.option("--error-files", is_flag=True, help="Write NAME.error.txt beside what failed.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed before, now.")
@click.option(
    "--priority",
    type=click.Choice(get_args(Priority)),
    default="normal",
    show_default=True,
    help="In the queue: all of a higher one come first.",
)
@click.option(
    "--every",
    type=click.FloatRange(0.1),
    default=WATCH.every_s,
    show_default=True,
    metavar="SECONDS",
    help="From one look at all folders to the next.",
)
@click.option(
    "--events/--no-events",
    default=True,
    show_default=True,
    help="Look sooner when the system tells that something happened.",
)
@click.option(
    "--quiet-time",
    type=click.FloatRange(0),
    default=SETTLE.quiet_s,
    show_default=True,
    metavar="SECONDS",
    help="A file that changed within this time is not complete.",
)
@click.option("--extensions", metavar="LIST", help="Which files are media, such as mp3,mkv.")
@wish_option
@speech_options
@output_options
@machine_options
@display_options
@click.pass_context
def watch_command(context: click.Context, /, folders: tuple[Path, ...], **flags: Any) -> None:
    """Write subtitles of whatever is dropped into folders.

    With TRANSCRIBE_REDIS_URL, the queue's workers do the work, else this process does. A folder's
    transcribe.toml may say how its files are to be done.
    """  # fmt: skip
    given = frozenset(
        name for name in _FOLDERS_MAY
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    )  # fmt: skip

    def work(session: Session) -> int:
        from workers.watch.wiring import run

        return run(_asked(folders, flags, given, session), session)

    guarded(work, flags, "What is not done is found again next time.")


def _asked(
    folders: tuple[Path, ...], flags: dict[str, Any], given: frozenset[str], session: Session
) -> Watch:
    """What the flags say. Raises BadOption, QueueUnavailable."""
    from workers.queue_access import open_queue
    from workers.watch.after import parse
    from workers.watch.ending import EndingOptions
    from workers.watch.roots import roots_of
    from workers.watch.wiring import Watch

    settings = session.settings
    after = parse(flags["after"]) if flags["after"] else None
    kept = (settings.home, after.folder) if after and after.folder else (settings.home,)
    policy = Policy(
        speech_of(flags, settings),
        output_of(flags),
        flags["priority"],
        flags["existing"],
        heeds_embedded=flags["embedded"],
        given=given,
        summary=summary_of(flags) if flags["summary"] else None,
        summaries=summary_of(flags),
    )
    options = WatchOptions(
        every_s=flags["every"],
        settle=SettleOptions(quiet_s=flags["quiet_time"]),
        once=flags["once"],
        retry_failed=flags["retry_failed"],
        events=flags["events"],
    )
    is_queued = settings.redis_url is not None and not flags["local"]
    return Watch(
        roots=roots_of(folders, _ignoring(flags["extensions"], kept)),
        options=options,
        policy=policy,
        ending=EndingOptions(after, flags["error_files"]),
        tellers=_tellers(flags, session),
        machine=machine_of(flags, settings),
        queue=open_queue(session) if is_queued else None,
    )


def _ignoring(extensions: str | None, kept: tuple[Path, ...]) -> IgnoreOptions:
    from workers.watch.ignoring import IgnoreOptions

    if extensions is None:
        return IgnoreOptions(excluded=kept)
    words = (word.strip().lower().lstrip(".") for word in extensions.split(","))
    suffixes = frozenset(f".{word}" for word in words if word)
    if not suffixes:
        raise BadOption(f"--extensions {extensions!r} names none: write them as mp3,mkv.")
    return IgnoreOptions(suffixes, excluded=kept)


def _tellers(flags: dict[str, Any], session: Session) -> tuple[Teller, ...]:
    from workers.watch.notices import command
    from workers.watch.webhook import Webhook, WebhookOptions
    from workers.web import WebOptions

    tellers: list[Teller] = []
    if flags["on_done"]:
        tellers.append(command(flags["on_done"]))
    if flags["webhook"]:
        secret = session.settings.webhook_secret
        if secret is None:
            raise BadOption(
                "--webhook: what is sent has to be signed: set TRANSCRIBE_WEBHOOK_SECRET to a "
                "secret that the receiver knows, too."
            )
        web = WebOptions(own_networks=session.settings.own_networks)
        tellers.append(Webhook(flags["webhook"], secret, WebhookOptions(web=web)))
    return tuple(tellers)
