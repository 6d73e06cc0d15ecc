"""The door of transcripts that exist: `summarise`.

Goes in: transcripts. Comes out: summaries beside them. Does not know: how they are made.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import TranscribeError
from pipeline.iso639 import short_code
from pipeline.source import display
from workers.batch import MEDIA_SUFFIXES
from workers.options import GivenPath, display_options, machine_of, machine_options
from workers.session import EXIT_CODES, Session, guarded
from workers.summary_options import summary_of, summary_options
from workers.watch.sidecars import is_language

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pipeline.protocols import Engines
    from pipeline.summaries.options import SummaryOptions
    from pipeline.types import Outcome
    from workers.batch import Request
    from workers.progress import Display


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is wanted of every file."""

    options: SummaryOptions
    folder: Path | None  # None: beside the transcript
    overwrite: bool


@click.command("summarise", epilog=EXIT_CODES)
@click.argument("files", nargs=-1, required=True, type=GivenPath(), metavar="TRANSCRIPT...")
@click.option(
    "--output-dir", "-o", type=GivenPath(), metavar="DIR", help="Instead of beside the transcript."
)
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@summary_options
@machine_options
@display_options
def summarise_command(files: tuple[Path, ...], **flags: Any) -> None:
    """Sum up transcripts: SRT, VTT or JSON.

    TALK.en.srt gives TALK.summary.md, TALK.summary.json and TALK.chapters.json.
    """  # fmt: skip

    def work(session: Session) -> int:
        return _summarise(files, flags, session)

    guarded(work, flags, "Nothing half-written is left.")


def _summarise(files: tuple[Path, ...], flags: dict[str, Any], session: Session) -> int:
    from models.pool import Pool
    from pipeline.codec import dumps
    from workers.batch import Request, failed, worst
    from workers.progress import displayed, downloads

    folder: Path | None = flags["output_dir"]
    wish = _Wish(summary_of(flags), folder and folder.absolute(), flags["overwrite"])
    codes = []
    with downloads(session.console, session.display) as progress:
        machine = machine_of(flags, session.settings)
        pool = Pool(machine, session.say, progress, heed=session.interruption.check)
        with displayed(session.console, session.display) as shown:
            for path in files:
                request = Request(path)
                try:
                    outcome = _one(request, wish, pool, shown, session)
                except TranscribeError as error:
                    outcome = failed(path, error)
                shown.show(request, outcome)
                if session.display.as_json:
                    click.echo(dumps(outcome))
                codes.append(outcome.exit_code)
    return worst(codes)


def _one(
    request: Request, wish: _Wish, engines: Engines, shown: Display, session: Session
) -> Outcome:
    """Sum up one transcript. Raises TranscribeError."""
    from pipeline.files import ensure_writable
    from pipeline.summaries.job import Told
    from pipeline.summaries.reading import read_transcript
    from pipeline.summaries.summarise import summarise
    from pipeline.summaries.writing import summary_targets, write_summary
    from pipeline.types import Outcome
    from workers.interruption import Heedful

    path = request.path.absolute()
    stem, language = stem_of(path)
    listener = Heedful(shown.listen(request), session.interruption)
    spoken = read_transcript(path, media_beside(path, stem))
    spoken = replace(spoken, language=spoken.language or language)
    targets = summary_targets(wish.folder or path.parent, stem, wish.options.formats)
    if not wish.overwrite and all(map(os.path.exists, targets.values())):
        return Outcome(path, "skipped", tuple(targets.values()), reason=_there(targets.values()))
    ensure_writable(wish.folder or path.parent)
    listener.stage("summarise", spoken.duration_s)
    told = Told(listener, spoken.duration_s)
    with engines.text(wish.options.llm) as engine:
        summary = summarise(spoken, engine, wish.options, told, told.heed)
    written = write_summary(summary, targets, replace=wish.overwrite)
    return Outcome(path, "done", written, language=spoken.language, duration_s=spoken.duration_s)


def _there(paths: Iterable[Path]) -> str:
    return f"{', '.join(map(display, paths))} exist: --overwrite makes them again."


def stem_of(path: Path) -> tuple[str, str | None]:
    """`talk.en.srt` is of `talk`, and English."""
    stem, _, tag = path.stem.rpartition(".")
    return (stem, short_code(tag)) if stem and is_language(tag) else (path.stem, None)


def media_beside(path: Path, stem: str) -> str | None:
    """The name of the media file that a transcript belongs to, if it lies beside it."""
    names = (stem + suffix for suffix in sorted(MEDIA_SUFFIXES))
    return next((name for name in names if path.with_name(name).is_file()), None)
