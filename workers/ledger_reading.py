"""What Redis holds of the queue, as values.

Goes in: hashes, lists and answers of scripts. Comes out: records, lines, counts. Does not know: how
they got there, nor how they were fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipeline import codec
from pipeline.types import Job, Outcome
from workers.ledger_records import ATTEMPT_ENDS, PRIORITIES, QUEUE_STAGES, Counts, Line, Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.types import Stage
    from workers.ledger_records import QueueStage, State


def record_from(job: str, fields: Mapping[str, str], wish: str | None) -> Record:
    """A job's hash and its JSON. Raises ValueError or LookupError if this version cannot read it.

    An empty hash, of a job that is not there, is a LookupError, too.
    """
    place, waits_until_s = fields["place"], _seconds(fields, "until_ms")
    outcome = codec.loads(fields["outcome"], Outcome) if "outcome" in fields else None
    is_ended = place.startswith("ended:")
    return Record(
        id=job,
        job=codec.loads(wish or "", Job),
        state=_state(place),
        stage=cast("QueueStage", fields["stage"]),
        priority=PRIORITIES[int(fields["class"])],
        attempts=int(fields["attempts"]),
        owner=fields.get("owner"),
        queued_s=int(fields["asked_ms"]) / 1000,
        started_s=_seconds(fields, "claimed_ms"),
        ended_s=_seconds(fields, "ended_ms"),
        lease_until_s=waits_until_s if place == "running" else None,
        due_s=waits_until_s if place == "delayed" else None,
        pipeline_stage=cast("Stage | None", fields.get("at") or None),
        done_s=float(fields.get("done_s") or 0),
        total_s=float(fields["total_s"]) if fields.get("total_s") else None,
        length_s=int(fields["length_ms"]) / 1000,
        reason=fields.get("reason") or None,
        error=fields.get("error") or None,
        outputs=outcome.outputs if outcome else (),
        duration_s=outcome.duration_s if outcome else None,
        took_s=_seconds(fields, "worked_ms") if is_ended else None,
        notes=outcome.notes if outcome else (),
        url=fields["url"] or None,
        stage_began_s=_seconds(fields, "at_ms"),
        taken_up_s=float(fields.get("taken_up_s") or 0),
    )


def line_from(line: str) -> Line:
    """One line of a history."""
    at_ms, what = line.split(" ", 1)
    return Line(int(at_ms) / 1000, what)


def counts_from(answer: Sequence[Any], ended: Sequence[State]) -> Counts:
    """What counts.lua says."""
    now_ms, paused, oldest_ms, waiting_ms, media_ms, work_ms, newer, queued, running = answer[:9]
    states, attempts = answer[9 : 9 + len(ended)], answer[9 + len(ended) :]
    ready = attempts[len(ATTEMPT_ENDS) :]
    return Counts(
        by_state=(
            ("queued", queued),
            ("running", running),
            *zip(ended, states, strict=True),
        ),
        ready=tuple(zip(QUEUE_STAGES, ready, strict=True)),
        newer=newer,
        paused=bool(paused),
        media_done_s=int(media_ms) / 1000,
        work_done_s=int(work_ms) / 1000,
        oldest_ready_s=float(oldest_ms) / 1000 if oldest_ms else None,
        now_s=int(now_ms) / 1000,
        waiting_media_s=int(waiting_ms) / 1000,
        attempts=tuple(zip(ATTEMPT_ENDS, attempts[: len(ATTEMPT_ENDS)], strict=True)),
    )


def _state(place: str) -> State:
    kind, _, rest = place.partition(":")
    return cast("State", {"ended": rest, "running": "running"}.get(kind, "queued"))


def _seconds(fields: Mapping[str, str], name: str) -> float | None:
    return int(fields[name]) / 1000 if fields.get(name) else None
