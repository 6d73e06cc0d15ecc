"""The terminal's door: `transcribe FILE…`.

Goes in: arguments. Comes out: an exit code, and lines or JSON. Does not know: how it is done.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.types import OutputOptions, SpeechOptions
from pipeline.version import __version__
from workers.doctor import doctor_command
from workers.model_commands import models_group
from workers.options import (
    GivenPath,
    display_options,
    machine_of,
    machine_options,
    output_of,
    output_options,
    speech_of,
    speech_options,
    whisper_spelling,
)
from workers.queue_commands import QUEUE_COMMANDS
from workers.session import EXIT_CODES, Session, WithDefault, guarded
from workers.summarise_command import summarise_command
from workers.summary_options import wish_of, wish_option
from workers.watch_command import watch_command
from workers.worker_command import worker_command

if TYPE_CHECKING:
    from models.pool import PoolOptions
    from pipeline.summaries.options import SummaryOptions
    from workers.batch import Request

FIRST_CUES = 5  # shown by `transcribe demo`


class RunByDefault(WithDefault):
    """`transcribe FILE` means `transcribe run FILE`."""

    default = "run"


@click.group(
    cls=RunByDefault,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "token_normalize_func": whisper_spelling,
    },
    epilog=EXIT_CODES,
)
@click.version_option(__version__, prog_name="transcribe")
def main() -> None:
    """Turn media into subtitles, on this machine.

    `transcribe FILE...` is short for `transcribe run FILE...`, whose --help lists all options.
    """


@main.command("run", epilog=EXIT_CODES)
@click.argument("files", nargs=-1, required=True, type=GivenPath())
@click.option("--recursive", "-r", is_flag=True, help="Take the media in folders, too.")
@wish_option
@speech_options
@output_options
@machine_options
@display_options
def run_command(files: tuple[Path, ...], **flags: Any) -> None:
    """Write subtitles of FILES beside them.

    A run that was stopped goes on where it was when the same command is given again.
    """

    def work(session: Session) -> int:
        from workers.batch import expand

        machine, output = machine_of(flags, session.settings), output_of(flags)
        speech = speech_of(flags, session.settings)
        requests = tuple(expand(files, recursive=flags["recursive"]))
        return _work_through(requests, speech, output, machine, session, wish_of(flags))

    guarded(work, flags, "Nothing is lost: the same command goes on from here.")


@main.command("demo")
@machine_options
@display_options
def demo_command(**flags: Any) -> None:
    """Transcribe the bundled episode with the bundled model: nothing is downloaded."""

    def work(session: Session) -> int:
        from models.demo import EPISODE
        from workers.batch import Request

        folder = session.settings.home / "demo"
        speech = SpeechOptions(model="demo")
        output = OutputOptions(output_dir=folder, overwrite=True)
        machine = machine_of(flags, session.settings)
        with tempfile.TemporaryDirectory() as home:  # so that it is worked on every time
            fresh = replace(session, settings=replace(session.settings, home=Path(home)))
            code = _work_through((Request(EPISODE),), speech, output, machine, fresh)
        if code == 0:
            srt = (folder / f"{EPISODE.stem}.en.srt").read_text(encoding="utf-8")
            session.say("\n" + "\n\n".join(srt.split("\n\n")[:FIRST_CUES]) + "\n\n…")
        return code

    guarded(work, flags, "The demo begins anew next time.")


@main.command("clean")
@click.option("--all", "everything", is_flag=True, help="Also what could still be continued.")
@display_options
def clean_command(everything: bool, **flags: Any) -> None:  # noqa: FBT001  - click's way
    """Remove what is kept of finished files; subtitles and media are not touched."""

    def work(session: Session) -> int:
        from pipeline.store import Store
        from workers.remote_clean import clean_remote

        home = session.settings.home
        freed_bytes = Store(home).clean(everything=everything)
        freed_bytes += clean_remote(home, everything=everything)
        session.say(f"{freed_bytes / 1e6:.1f} MB freed")
        return 0

    guarded(work, flags, "The rest is still there.")


def _work_through(
    requests: tuple[Request, ...],
    speech: SpeechOptions,
    output: OutputOptions,
    machine: PoolOptions,
    session: Session,
    summary: SummaryOptions | None = None,
) -> int:
    """Work on the files, all of them before the first summary; the exit code tells the worst."""
    from models.pool import Pool
    from pipeline.codec import dumps
    from pipeline.ffmpeg import Tools
    from pipeline.source import take
    from pipeline.store import Store
    from pipeline.types import Job
    from workers.batch import Machinery, any_is_there, outcomes, placed, worst
    from workers.progress import displayed, downloads
    from workers.summaries import summarised

    def job(request: Request) -> Job:
        return Job(take(request.path), speech, placed(output, request), summary)

    codes = []
    with downloads(session.console, session.display) as progress:
        pool = Pool(machine, session.say, progress, heed=session.interruption.check)
        if any_is_there(requests):
            pool.prepare(speech)  # now, not after an hour of conversion
        machinery = Machinery(Store(session.settings.home), pool, Tools())
        with displayed(session.console, session.display) as shown:
            heed = session.interruption
            ended = outcomes(requests, speech, output, machinery, shown, heed)
            if summary:
                ended = summarised(tuple(ended), job, machinery, shown, heed)
            for _, outcome in ended:
                if session.display.as_json:
                    click.echo(dumps(outcome))
                codes.append(outcome.exit_code)
    return worst(codes)


for command in (
    watch_command,
    summarise_command,
    *QUEUE_COMMANDS,
    worker_command,
    models_group,
    doctor_command,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
