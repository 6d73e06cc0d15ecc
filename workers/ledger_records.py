"""The nouns of the queue.

Goes in: nothing. Comes out: frozen values; times are Unix seconds on Redis' clock unless said
otherwise. Does not know: Redis, Celery, terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  - cattrs reads the fields' types
from typing import Literal

from pipeline.types import Job, Stage  # noqa: TC001  - the same

State = Literal["queued", "running", "done", "failed", "dead", "cancelled"]
Priority = Literal["high", "normal", "low"]
QueueStage = Literal["convert", "speech", "text"]
AttemptEnd = Literal["done", "retried", "dead", "failed", "given back", "cancelled"]
Verdict = Literal["go on", "cancelled", "lost", "give way", "stop"]

STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "dead", "cancelled")
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")  # in this order they are served
QUEUE_STAGES: tuple[QueueStage, ...] = ("convert", "speech", "text")
HEARING: tuple[QueueStage, ...] = ("convert", "speech")  # what every job needs
ATTEMPT_ENDS: tuple[AttemptEnd, ...] = (
    *("done", "retried", "dead", "failed", "given back", "cancelled"),
)
FORMAT = 1  # of a job in the ledger; a worker leaves those of a newer format to newer workers


@dataclass(frozen=True, slots=True)
class Entry:
    """A job to be accepted."""

    job: Job
    priority: Priority
    length_s: float  # of the media, estimated
    again: bool = False  # do it even if it is done: an output of it went missing
    stages: tuple[QueueStage, ...] = HEARING  # that it needs, in this order
    url: str | None = None  # where the media is to be fetched from; None: it is a local file


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an entry."""

    id: str  # 24 hex digits
    is_new: bool  # or newly queued; else it is the job that was there before
    state: State


@dataclass(frozen=True, slots=True)
class Claim:
    """A job lent to one worker for one stage, until it is closed or its lease runs out."""

    id: str
    job: Job
    stage: QueueStage
    fence: int  # grows with every claim of the job; whoever holds an older one has lost it
    attempt: int  # from 1; counted for each stage
    attempts_allowed: int
    url: str | None = None
    waits: int = 0  # how often it was given back for later, at this stage


@dataclass(frozen=True, slots=True)
class Record:
    """All that is known of a job."""

    id: str
    job: Job
    state: State
    stage: QueueStage  # the one it waits for, is at, or ended in
    priority: Priority
    attempts: int  # at this stage
    owner: str | None  # while it is running
    queued_s: float  # when it was asked for
    started_s: float | None  # its latest claim
    ended_s: float | None
    lease_until_s: float | None  # while it is running
    due_s: float | None  # while it waits for a retry
    pipeline_stage: Stage | None  # as last reported
    done_s: float  # of the media, as last reported
    total_s: float | None  # of the media
    length_s: float  # of the media: an estimate until it is converted
    reason: str | None  # why it failed, died, was given back or waits for a retry
    error: str | None  # the class in pipeline.errors
    outputs: tuple[Path, ...]
    duration_s: float | None  # of the media, once done
    took_s: float | None  # of workers, over all claims, once ended
    notes: tuple[str, ...]
    url: str | None = None
    stage_began_s: float | None = None  # the pipeline's, in the latest claim
    taken_up_s: float = 0.0  # of the media: done when it began, by earlier attempts


@dataclass(frozen=True, slots=True)
class Line:
    """One event of a job's history."""

    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class Counts:
    """The whole ledger at one moment."""

    by_state: tuple[tuple[State, int], ...]
    ready: tuple[tuple[QueueStage, int], ...]  # queued jobs that a worker may claim now
    newer: int  # ready jobs of a newer format: a newer worker takes them
    paused: bool
    media_done_s: float  # media of all jobs ever done, but for those that were skipped
    work_done_s: float  # what workers took for them
    oldest_ready_s: float | None  # since when the one is ready that is so for longest
    now_s: float
    waiting_media_s: float  # media of all queued jobs
    attempts: tuple[tuple[AttemptEnd, int], ...] = ()  # at a stage of a job, by how they ended
