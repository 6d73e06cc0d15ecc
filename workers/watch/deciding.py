"""What is to be done with a complete file.

Goes in: the file, what lies beside it, what its folder asks for. Comes out: a decision and its
reason. Does not know: what else waits, who will work. All that it goes by lies on the disk, so
another watcher, or this one after a crash, decides the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, get_args

from pipeline import naming
from pipeline.errors import TranscribeError
from pipeline.probe import embedded_subtitles, probe
from pipeline.source import display, take
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.writing import SUFFIXES
from pipeline.types import Job, Source
from workers.batch import Request, placed
from workers.watch.folder_settings import FolderSettings, applied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.ffmpeg import Tools
    from pipeline.folder import Failure
    from pipeline.store import Store
    from pipeline.types import OutputOptions, SpeechOptions
    from workers.ledger_records import Priority
    from workers.watch.records import Look
    from workers.watch.sidecars import Sidecar, Subtitles

Existing = Literal["skip", "replace", "beside"]
EXISTING: tuple[Existing, ...] = get_args(Existing)
BESIDE = "{stem}.transcribe.{language}.{format}"  # players show "transcribe" as the track's title
_SUBTITLES = ("srt", "vtt")  # of our formats


@dataclass(frozen=True, slots=True)
class Policy:
    """What is wanted of every file, unless its folder says otherwise."""

    speech: SpeechOptions
    output: OutputOptions
    priority: Priority = "normal"
    existing: Existing = "skip"  # where somebody else's subtitles in that language are there
    heeds_embedded: bool = False  # whether subtitles inside of the media count as well
    given: frozenset[str] = frozenset()  # fields that folders do not change
    summary: SummaryOptions | None = None  # of each file
    summaries: SummaryOptions = field(default_factory=SummaryOptions)  # where a folder wants them


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and why."""

    kind: Literal["work", "done", "leave", "failed"]
    reason: str
    job: Job
    priority: Priority
    outputs: tuple[Path, ...] = ()  # what was written for it, when it is done
    failure: Failure | None = None  # how it failed before
    problem: TranscribeError | None = None  # why it cannot even be tried


class Decider:
    """Decides by what the disk says."""

    def __init__(self, policy: Policy, store: Store, tools: Tools) -> None:
        self._policy = policy
        self._store = store
        self._tools = tools

    def decide(self, look: Look, beside: Subtitles, settings: FolderSettings) -> Decision:
        """What is to be done with a file that is complete."""
        job, priority = self._job(look, settings)
        if outputs := self._done(job):
            return Decision("done", "its subtitles are there", job, priority, outputs)
        try:
            take(look.path)
            found = self._others(look, job, beside)
        except TranscribeError as error:
            return Decision("failed", str(error), job, priority, problem=error)
        if found and self._policy.existing == "skip":
            reason = f"{found} (--existing replace or beside makes ours)"
            return Decision("leave", reason, job, priority)
        if found:
            job = replace(job, output=self._despite(job.output))
            if outputs := self._done(job):
                return Decision("done", "its subtitles are there", job, priority, outputs)
        if failure := self._store.failure(job):
            return Decision("failed", failure.reason, job, priority, failure=failure)
        return Decision("work", "it is new", job, priority)

    def _job(self, look: Look, settings: FolderSettings) -> tuple[Job, Priority]:
        policy = self._policy
        output = placed(policy.output, Request(look.path, look.root))
        speech, output = applied(settings, policy.speech, output, policy.given)
        asked = settings.priority if "priority" not in policy.given else None
        source = Source(look.path.absolute(), look.size_bytes, look.mtime_ns)
        return Job(source, speech, output, self._summary(settings)), asked or policy.priority

    def _summary(self, settings: FolderSettings) -> SummaryOptions | None:
        """With the folder's terms, if it wants one."""
        policy, wish = self._policy, self._policy.summary
        if settings.summary is not None and "summary" not in policy.given:
            wish = policy.summaries if settings.summary else None
        return replace(wish, glossary=wish.glossary + (settings.glossary or ())) if wish else None

    def _done(self, job: Job) -> tuple[Path, ...]:
        """The outputs, if all that is wanted was made of this very version, and is still there."""
        # unlike Path.exists, os.path.exists never raises
        if (known := self._store.done(job)) and all(map(os.path.exists, known)):
            made = self._store.outputs.made_from(job.source, job.speech.task) if job.summary else ()
            return known if _has_summary(made, job) else ()
        # such records are cleaned away; which outputs are ours, and of which version, stays known
        made = self._store.outputs.made_from(job.source, job.speech.task)
        return made if made and _serves(made, job) and _has_summary(made, job) else ()

    def _despite(self, output: OutputOptions) -> OutputOptions:
        """How ours are written where others' are there."""
        if self._policy.existing == "replace":
            return replace(output, overwrite=True)
        return replace(output, name=BESIDE)

    # ── somebody else's subtitles ────────────────────────────────────────────────────────────

    def _others(self, look: Look, job: Job, beside: Subtitles) -> str | None:
        """Which there are in the language that is wanted. Raises TranscribeError."""
        if not set(job.output.formats) & set(_SUBTITLES):
            return None
        names = {one.name: one.language for one in self._foreign(look, beside)}
        found: dict[str, str | None] = {f"{display(name)} is there": names[name] for name in names}
        if self._policy.heeds_embedded:
            for language in embedded_subtitles(look.path, self._tools):
                found[f"it has subtitles in it, {language or 'of some language'}"] = language
        if not found:
            return None
        # where a language is not known, nobody can say that it is another
        for why, language in found.items():
            if language is None:
                return why
        wanted = self._language(job)
        return next((why for why, said in found.items() if wanted in (None, said)), None)

    def _foreign(self, look: Look, beside: Subtitles) -> Iterator[Sidecar]:
        for sidecar in beside.beside(look.path.name):
            is_ours = self._store.outputs.made(look.path.parent / sidecar.name)
            if not sidecar.is_forced and not is_ours:
                yield sidecar

    def _language(self, job: Job) -> str | None:
        """The language that subtitles would be in; None when only hearing can tell."""
        if known := _told_language(job):
            return known
        return probe(job.source.path, None, job.speech.audio_stream, self._tools).chosen.language


def _told_language(job: Job) -> str | None:
    return "en" if job.speech.task == "translate" else job.speech.language


def _serves(made: tuple[Path, ...], job: Job) -> bool:
    """Whether these are all the files that the job would write, in whatever language it is."""
    if language := _told_language(job):
        wanted = naming.candidates(job, language)
        return any(set(paths.values()) <= set(made) for paths in wanted)
    subtitles = [path.name for path in made if not path.name.endswith(tuple(SUFFIXES.values()))]
    return all(any(name.endswith(kind) for name in subtitles) for kind in job.output.formats)


def _has_summary(made: tuple[Path, ...], job: Job) -> bool:
    """Whether these are all the files of the summary that is wanted, if one is."""
    wanted = job.summary.formats if job.summary else ()
    return all(any(path.name.endswith(SUFFIXES[kind]) for path in made) for kind in wanted)
