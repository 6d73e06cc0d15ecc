"""The ledger: which job is where, held by Redis alone.

Goes in: jobs, and what workers say of them. Comes out: claims, verdicts, records. Does not know:
Celery, processes, how a job is done. Every change is one script in workers/scripts, so it happens
whole or not at all; asked twice since an answer was lost, it happens once.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline import codec
from pipeline.store import output_id, work_id
from pipeline.types import Job
from workers.connection import redis_errors
from workers.ledger_reading import counts_from, line_from, record_from
from workers.ledger_records import (
    FORMAT,
    PRIORITIES,
    QUEUE_STAGES,
    STATES,
    Accepted,
    Claim,
    Counts,
    Line,
    Record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from redis import Redis

    from pipeline.types import Outcome, Stage
    from workers.ledger_records import Entry, QueueStage, State, Verdict

T = TypeVar("T")
PREFIX = "transcribe:"
AT_ONCE = 500  # jobs a call of a script: some 20 ms of Redis' time
ID_DIGITS = 24
LONGEST_S = 1e7  # of media, 115 days: what a header may claim to play for longer counts as this
ENDED: tuple[State, ...] = tuple(state for state in STATES if state not in ("queued", "running"))


def job_id(job: Job) -> str:
    """The same job has the same id wherever it is asked for: 24 hex digits."""
    return work_id(job)[:14] + output_id(job)[:10]


class Ledger:
    """All jobs. Every method may raise QueueUnavailable.

    `attempts` is what a job that is accepted here is allowed at each stage; `ahead_s` is added to
    Redis' clock, for tests. A worker may add a slash and what it likes to its name as an owner.
    """

    def __init__(
        self,
        redis: Redis,
        prefix: str = PREFIX,
        attempts: int = 3,
        ahead_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._attempts = attempts
        self._ahead_s = ahead_s

    # ── for those who ask for work ───────────────────────────────────────────────────────────

    def accept(self, entries: Iterable[Entry]) -> tuple[Accepted, ...]:
        """Take jobs in, in order; one answer each.

        A job that is there is the same job. It is queued anew if it failed, died or was cancelled,
        or if it is done and its entry says again; while queued, a higher priority takes effect.
        """
        accepted: list[Accepted] = []
        for batch in _batches(entries):
            ids = [job_id(entry.job) for entry in batch]
            asked = (_asked(one, entry) for one, entry in zip(ids, batch, strict=True))
            answers = self._run(
                "accept", self._attempts, *(field for all_ in asked for field in all_)
            )
            accepted += (
                Accepted(one, bool(is_new), state)
                for one, is_new, state in zip(ids, answers[::2], answers[1::2], strict=True)
            )
        return tuple(accepted)

    def cancel(self, ids: Sequence[str]) -> tuple[str, ...]:
        """End jobs that have not ended; gives those. Whoever works on one hears it with a beat."""
        return self._each("cancel", ids)

    def retry(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Queue failed, dead, cancelled and delayed jobs, with new attempts; gives those."""
        return self._each("retry", ids)

    def forget(self, ids: Sequence[str]) -> tuple[str, ...]:
        """Remove jobs, but not running ones; gives those that are gone."""
        return self._each("forget", ids)

    def pause(self) -> None:
        """Let nothing more be claimed."""
        with redis_errors():
            self._redis.set(self._key("paused"), 1)

    def resume(self) -> None:
        """The end of a pause."""
        with redis_errors():
            self._redis.delete(self._key("paused"))

    def is_paused(self) -> bool:
        """Whether nothing may be claimed."""
        with redis_errors():
            return bool(self._redis.exists(self._key("paused")))

    # ── for those who work ───────────────────────────────────────────────────────────────────

    def claim(self, stage: QueueStage, owner: str, lease_s: float) -> Claim | None:
        """The best ready job of a stage, for `lease_s`; None when none is, or none may be taken.

        The best has the highest priority; among equals, the earliest time of asking plus length.
        """
        while answer := self._run("claim", stage, owner, _ms(lease_s), secrets.token_hex(8)):
            found, wish, fence, attempt, allowed, url = answer
            with suppress(ValueError):
                job = codec.loads(wish, Job)
                return Claim(found, job, stage, int(fence), int(attempt), int(allowed), url or None)
            reason = "this version cannot read the job in the queue: forget it and enqueue it again"
            self._run("fail", found, fence, reason, "ValueError", "")
        return None

    def beat(
        self,
        claim: Claim,
        lease_s: float,
        stage: Stage | None,
        done_s: float,
        total_s: float | None,
        slice_s: float,
    ) -> Verdict:
        """Renew the lease, tell how far the job is, and hear what to do.

        "lost" and "cancelled": the claim is over. "stop": the worker is to end. "give way": the
        claim is older than `slice_s`, and a job with more right to it waits; told once.
        """
        done, total = f"{done_s:.3f}", "" if total_s is None else f"{total_s:.3f}"
        verdict: Verdict = self._run(
            *("beat", claim.id, claim.fence, _ms(lease_s), stage or "", done, total, _ms(slice_s))
        )
        return verdict

    def advance(self, claim: Claim, length_s: float | None) -> bool:
        """Close the claim and make the job ready for its next stage; False: the claim was lost."""
        length = "" if length_s is None else _length_ms(length_s)
        return bool(self._run("advance", claim.id, claim.fence, length))

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """Close the claim and end the job as the outcome says; False: the claim was lost."""
        state = "failed" if outcome.state == "failed" else "done"
        media_ms = _ms(outcome.duration_s or 0) if outcome.state == "done" else 0
        told = (codec.dumps(outcome), outcome.reason or "", outcome.error or "", media_ms)
        return bool(self._run("finish", claim.id, claim.fence, state, *told))

    def give_back(self, claim: Claim, reason: str, delay_s: float = 0) -> bool:
        """Close the claim; its attempt does not count. False: the claim was lost."""
        return bool(self._run("give_back", claim.id, claim.fence, reason, _ms(delay_s)))

    def fail(self, claim: Claim, reason: str, error: str, retry_in_s: float | None) -> bool:
        """Close the claim of a failure; False: the claim was lost.

        The job is tried again later, is dead after its last attempt, or has failed for good where
        `retry_in_s` is None.
        """
        delay = "" if retry_in_s is None else _ms(retry_in_s)
        return bool(self._run("fail", claim.id, claim.fence, reason, error, delay))

    def reap(self) -> int:
        """See to leases that ran out and delays that are over; gives how many jobs got ready."""
        return int(self._run("reap"))

    def stop(self, worker: str, within_s: float) -> None:
        """Tell a worker's processes to end; the wish is forgotten after `within_s`."""
        with redis_errors():
            self._redis.set(self._key("stop", worker), 1, px=max(1, _ms(within_s)))

    def is_stopping(self, worker: str) -> bool:
        """Whether a worker was told to end."""
        with redis_errors():
            return bool(self._redis.exists(self._key("stop", worker)))

    # ── for those who look ───────────────────────────────────────────────────────────────────

    def counts(self) -> Counts:
        """The whole ledger at one moment."""
        return counts_from(self._run("counts", len(ENDED), *ENDED, *QUEUE_STAGES), ENDED)

    def record(self, job: str) -> Record | None:
        """All that is known of a job; None for an id that is not there, or cannot be read."""
        return next(iter(self._records([job])), None)

    def records(self, states: Sequence[State], limit: int) -> tuple[Record, ...]:
        """At most `limit` jobs in these states, state by state.

        Queued ones come in the order in which they will be claimed, ended ones latest first.
        Those of a newer version that this one cannot read are left out.
        """
        with redis_errors():
            ids = [job for state in states for job in islice(self._ids(state, limit), limit)]
        found = self._records(tuple(dict.fromkeys(ids))[:limit])
        return tuple(record for record in found if record.state in states)

    def history(self, job: str) -> tuple[Line, ...]:
        """What happened to a job, oldest first; the last 50 events and its acceptance."""
        with redis_errors():
            lines: Any = self._redis.lrange(self._key("history", job), 0, -1)
            first: Any = self._redis.hget(self._key("job", job), "first_ms")
        accepted = (line_from(f"{first} accepted"),) if first else ()
        return (*accepted, *map(line_from, lines))

    def find(self, beginning: str) -> tuple[str, ...]:
        """The ids that begin like this."""
        if not set(beginning) <= set("0123456789abcdef"):
            return ()
        name = self._key("job", beginning)
        pattern = "".join(f"[{char}]" if char in "*?[" else char for char in name) + "*"
        with redis_errors():
            found = {str(one)[-ID_DIGITS:] for one in self._redis.scan_iter(pattern, count=10_000)}
        return tuple(sorted(found))

    def _ids(self, state: State, limit: int) -> Iterator[str]:
        redis: Any = self._redis
        if state == "running":
            yield from redis.zrange(self._key("running"), 0, limit - 1)
        elif state != "queued":
            yield from redis.zrevrange(self._key("ended", state), 0, limit - 1)
        else:
            ready: list[tuple[str, float]] = []
            for place in redis.smembers(self._key("ready")):
                ready += redis.zrange(self._key(place), 0, limit - 1, withscores=True)
            yield from (job for job, _rank in sorted(ready, key=lambda one: one[1]))
            yield from redis.zrange(self._key("delayed"), 0, limit - 1)

    def _records(self, ids: Sequence[str]) -> Iterator[Record]:
        for batch in _batches(ids):
            with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
                for job in batch:
                    pipe.hgetall(self._key("job", job))
                    pipe.get(self._key("wish", job))
                answers = pipe.execute()
            for job, fields, wish in zip(batch, answers[::2], answers[1::2], strict=True):
                with suppress(ValueError, LookupError):
                    yield record_from(job, fields, wish)

    # ── how Redis is asked ───────────────────────────────────────────────────────────────────

    def _each(self, script: str, ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(job for batch in _batches(ids) for job in self._run(script, *batch))

    def _run(self, script: str, *arguments: str | int) -> Any:
        with redis_errors():
            run = self._redis.register_script(_source(script))
            return run(args=[self._prefix, _ms(self._ahead_s()), FORMAT, *arguments])

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)


@cache
def _source(script: str) -> str:
    folder = files("workers") / "scripts"
    return "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in ("shared", script))


def _asked(job: str, entry: Entry) -> tuple[str | int, ...]:
    stages, class_ = ",".join(entry.stages), PRIORITIES.index(entry.priority)
    again, url = int(entry.again), entry.url or ""
    return (job, codec.dumps(entry.job), stages, class_, _length_ms(entry.length_s), again, url)


def _batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    rest = iter(items)
    while batch := tuple(islice(rest, AT_ONCE)):
        yield batch


def _length_ms(length_s: float) -> int:
    """Within what a rank can hold, whatever a file's header claims."""
    return max(1, _ms(min(length_s, LONGEST_S)))


def _ms(value_s: float) -> int:
    return round(value_s * 1000)
