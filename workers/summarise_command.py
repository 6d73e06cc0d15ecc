"""The door of transcripts that exist: `summarise`.

Goes in: transcripts. Comes out: summaries beside them. Does not know: how they are made.
"""

from __future__ import annotations

import os
import traceback
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from pipeline.errors import MachineError, TranscribeError
from pipeline.iso639 import short_code
from pipeline.source import display
from workers.batch import MEDIA_SUFFIXES
from workers.options import GivenPath, display_options, machine_of, machine_options
from workers.session import EXIT_CODES, Session, guarded
from workers.summaries import there
from workers.summary_options import summary_of, summary_options
from workers.watch.sidecars import is_language

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.outputs import Outputs
    from pipeline.protocols import Engines, Listener
    from pipeline.store import Store
    from pipeline.summaries.options import SummaryFormat, SummaryOptions
    from pipeline.types import Outcome, Source

_SUFFIXES = (".srt", ".vtt", ".json")  # of transcripts
_NO_TRANSCRIPT = "is a summary's file by its name, no transcript: rename it if it is one."


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

    guarded(work, flags, "Nothing is lost: the same command goes on from here.")


def _summarise(files: tuple[Path, ...], flags: dict[str, Any], session: Session) -> int:
    from models.pool import Pool
    from pipeline.codec import dumps
    from pipeline.store import Store
    from workers.batch import Request, worst
    from workers.interruption import Heedful
    from workers.progress import displayed, downloads

    folder: Path | None = flags["output_dir"]
    wish = _Wish(summary_of(flags), folder and folder.absolute(), flags["overwrite"])
    codes = []
    with downloads(session.console, session.display) as progress:
        machine = machine_of(flags, session.settings)
        pool = Pool(machine, session.say, progress, heed=session.interruption.check)
        store = Store(session.settings.home)
        with displayed(session.console, session.display) as shown, ExitStack() as ends:
            ends.callback(pool.rest)
            for path in dict.fromkeys(path.absolute() for path in files):
                request = Request(path)
                listener = Heedful(shown.listen(request), session.interruption)
                outcome = _attempted(path, wish, store, pool, listener)
                shown.show(request, outcome)
                if session.display.as_json:
                    click.echo(dumps(outcome))
                codes.append(outcome.exit_code)
    return worst(codes)


def _attempted(
    path: Path, wish: _Wish, store: Store, engines: Engines, listener: Listener
) -> Outcome:
    """The outcome of one transcript, whatever happens to it."""
    from workers.batch import failed

    try:
        return _one(path, wish, store, engines, listener)
    except MachineError as error:  # it does not say for which file
        return replace(failed(path, error), reason=f"{display(path)} has no summary: {error}")
    except TranscribeError as error:
        return failed(path, error)
    except Exception as error:  # noqa: BLE001  - our bug in one file must not stop the others
        listener.note(traceback.format_exc())
        reason = f"{display(path)}: internal error, please report it ({error!r})."
        return failed(path, TranscribeError(reason))


def _one(path: Path, wish: _Wish, store: Store, engines: Engines, listener: Listener) -> Outcome:
    """Sum up one transcript; what was answered before a crash is not asked again.

    Raises TranscribeError.
    """
    from pipeline.files import ensure_writable
    from pipeline.folder import Done, output_id
    from pipeline.summaries.job import STAYS, media_link, summed_up
    from pipeline.summaries.reading import read_transcript
    from pipeline.summaries.writing import write_summary
    from pipeline.types import Job, Outcome, OutputOptions, SpeechOptions

    if is_summary(path):
        return Outcome(path, "skipped", reason=f"{display(path)} {_NO_TRANSCRIPT}")
    stem, language = stem_of(path)
    folder, media = wish.folder or path.parent, media_of(path, stem, store.outputs)
    spoken = read_transcript(path, media_link(media, folder) if media else None)
    spoken = replace(spoken, language=spoken.language or language)
    targets = _targets(path, media, folder, wish.options.formats, store.outputs)
    if not wish.overwrite and all(map(os.path.lexists, targets.values())):
        return there(path, targets.values())
    ensure_writable(folder)
    job = Job(_source(path), SpeechOptions(), OutputOptions(), wish.options)
    with store.open_folder(job) as kept:  # though nothing is to be heard
        summary = summed_up(spoken, wish.options, engines, listener, kept.once)
        written = write_summary(summary, targets, replace=wish.overwrite)
        store.outputs.note(written, job.source, job.speech.task)
        kept.finish(Done(output_id(job), written))
        kept.forget("notes-*")
    for target in targets.values():
        if target not in written:
            listener.note(f"{display(target)} {STAYS}")
    return Outcome(path, "done", written, language=spoken.language, duration_s=spoken.duration_s)


def _targets(
    path: Path,
    media: Path | None,
    folder: Path,
    formats: tuple[SummaryFormat, ...],
    outputs: Outputs,
) -> dict[SummaryFormat, Path]:
    """One path a format, none of them another transcript's: that of two.en.srt is not two.de.srt's.

    talk.en.vtt says what talk.en.srt says. A summary that was made with the subtitles of a media
    file may be made again from its transcript.
    """
    from pipeline.naming import stems
    from pipeline.summaries.writing import summary_targets

    twins = (path.with_suffix(suffix) for suffix in _SUFFIXES)
    owners = [path, *(twin for twin in twins if twin != path and _is_file(twin))]
    if media is not None:
        owners.insert(0 if outputs.is_ours(path) else len(owners), media)
    for stem in dict.fromkeys((stem_of(path)[0], *stems(path))):
        targets = summary_targets(folder, stem, formats)
        makers = (made.source.path for one in targets.values() if (made := outputs.made(one)))
        if any(maker not in owners and _is_file(maker) for maker in makers):
            continue
        if any(outputs.claim(targets.values(), owner) for owner in owners):
            return targets
    raise AssertionError("a hash of the full path is unique")


def media_of(path: Path, stem: str, outputs: Outputs) -> Path | None:
    """The media file that a transcript was made from, as far as we know, else one beside it."""
    made = outputs.made(path)
    is_known = made is not None and _is_file(made.source.path)
    return made.source.path if made and is_known else media_beside(path, stem)


def is_summary(path: Path) -> bool:
    """Whether a file is a summary's, by its name; `talk.chapters.mp4` may have a transcript."""
    from pipeline.summaries.writing import SUFFIXES

    is_named_so = path.name.lower().endswith(tuple(SUFFIXES.values()))
    return is_named_so and _is_file(path) and media_beside(path, path.stem) is None


def _source(path: Path) -> Source:
    """The transcript as it is; unlike media, it may be empty. Raises StorageFailed."""
    from pipeline.files import storage_errors
    from pipeline.types import Source

    with storage_errors(path):
        status = path.stat()
    return Source(path, status.st_size, status.st_mtime_ns)


def stem_of(path: Path) -> tuple[str, str | None]:
    """`talk.en.srt` is of `talk`, and English; `Dr.No.srt` is of `Dr.No.mkv`, if that is there."""
    stem, _, tag = path.stem.rpartition(".")
    is_tag = stem and is_language(tag) and media_beside(path, path.stem) is None
    return (stem, short_code(tag)) if is_tag else (path.stem, None)


def media_beside(path: Path, stem: str) -> Path | None:
    """The media file that a transcript belongs to, if it lies beside it; `talk.mp4` has its own."""
    suffixes = sorted(MEDIA_SUFFIXES)
    whole = [stem] if stem.lower().endswith(tuple(suffixes)) else []
    names = (*whole, *(stem + one for suffix in suffixes for one in (suffix, suffix.upper())))
    return next((path.with_name(name) for name in names if _is_file(path.with_name(name))), None)


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  - unlike Path.is_file, it never raises
