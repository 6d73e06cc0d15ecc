"""Summaries, after subtitles are out.

Goes in: outcomes of jobs that want one. Comes out: the same with the summary's files, or with the
reason why there is none. Does not know: how a summary is made.
"""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.errors import TranscribeError
from pipeline.source import display
from pipeline.summaries.job import summarise_job
from pipeline.types import Outcome
from workers.interruption import Heedful

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pipeline.protocols import Listener
    from pipeline.types import Job, Stage
    from workers.batch import Machinery, Request
    from workers.interruption import Interruption
    from workers.progress import Display


NO_SUMMARY = "no summary: "  # before the reason, in the ledger


def with_summary(outcome: Outcome, job: Job, machinery: Machinery, listener: Listener) -> Outcome:
    """A job's outcome with its summary; whatever happens to that, the subtitles are out."""
    if job.summary is None or outcome.state == "failed":
        return outcome
    try:
        files = summarise_job(job, outcome.outputs, machinery.store, machinery.engines, listener)
    except TranscribeError as error:
        return without_summary(outcome, error)
    except Exception as error:  # noqa: BLE001  - our bug in one summary must not stop the others
        listener.note(traceback.format_exc())
        return without_summary(
            outcome, TranscribeError(f"internal error, please report it ({error!r}).")
        )
    return replace(outcome, outputs=(*outcome.outputs, *files))


def without_summary(outcome: Outcome, error: TranscribeError) -> Outcome:
    """The subtitles are out, and this is why no summary is."""
    return replace(
        outcome,
        summary_failure=str(error),
        error=type(error).__name__,
        exit_code=error.exit_code,
    )


def summarised(
    ended: Iterable[tuple[Request, Outcome]],
    job: Callable[[Request], Job],
    machinery: Machinery,
    shown: Display,
    interruption: Interruption,
) -> Iterator[tuple[Request, Outcome]]:
    """Sum up one file after the other, now that all are heard, and show what came of it."""
    try:
        for request, outcome in ended:
            if outcome.state == "failed":
                yield request, outcome
                continue
            listener = _Aware(shown.listen(request), interruption)
            try:
                found = with_summary(outcome, job(request), machinery, listener)
            except TranscribeError as error:  # the media are gone by now
                found = without_summary(outcome, error)
            shown.show(request, part_of(found, outcome, is_new=listener.has_begun))
            yield request, found
    finally:
        machinery.engines.rest()


class _Aware(Heedful):
    """Knows whether anything was begun: what is there already has no stages."""

    has_begun = False

    def stage(self, stage: Stage, total_s: float | None) -> None:
        """Remember, then pass on."""
        self.has_begun = True
        super().stage(stage, total_s)


def part_of(outcome: Outcome, heard: Outcome, *, is_new: bool = True) -> Outcome:
    """What there is to say of the summary alone: without what was said when it was heard."""
    if outcome.summary_failure:
        name = display(outcome.source)
        reason = f"{name} has no summary: {outcome.summary_failure}"
        return Outcome(outcome.source, "failed", reason=reason)
    files = tuple(path for path in outcome.outputs if path not in heard.outputs)
    return Outcome(outcome.source, "done", files) if is_new else there(outcome.source, files)


def there(source: Path, files: Iterable[Path]) -> Outcome:
    """A summary that exists stays as it is, as subtitles do."""
    outputs = tuple(files)
    exist, them = ("exists", "it") if len(outputs) == 1 else ("exist", "them")
    reason = f"{', '.join(map(display, outputs))} {exist}: --overwrite makes {them} again."
    return Outcome(source, "skipped", outputs, reason=reason)
