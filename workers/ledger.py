"""The ledger: which job is where, held by Redis alone.

Goes in: jobs, and what workers say of them. Comes out: claims, verdicts, records. Does not know:
Celery, processes, how a job is done. Every change is one script in workers/scripts, so it happens
whole or not at all; asked twice since an answer was lost, it happens once.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipeline import codec
from pipeline.folder import output_id, work_id
from pipeline.types import Job
from workers.connection import redis_errors
from workers.ledger_records import PRIORITIES, Accepted, Claim
from workers.ledger_view import AT_ONCE, ID_DIGITS, PREFIX, View, batches, ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis import Redis

    from pipeline.types import Outcome, Stage
    from workers.ledger_records import Entry, QueueStage, Verdict

LONGEST_S = 1e7  # of media, 115 days: what a header may claim to play for longer counts as this


def job_id(job: Job) -> str:
    """The same job has the same id wherever it is asked for; its first digits tell jobs apart."""
    wish = codec.dumps(job.summary) if job.summary else ""
    text = f"{work_id(job)} {output_id(job)} {wish}".rstrip()
    return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]


class Ledger(View):
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
        super().__init__(redis, prefix, ahead_s)
        self._attempts = attempts

    # ── for those who ask for work ───────────────────────────────────────────────────────────

    def accept(self, entries: Iterable[Entry]) -> tuple[Accepted, ...]:
        """Take jobs in, in order; one answer each.

        A job that is there is the same job. It is queued anew if it failed, died or was cancelled,
        or if it is done and its entry says again; while queued, a higher priority takes effect.
        """
        accepted: list[Accepted] = []
        for batch in batches(entries):
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
        while answer := self._run("claim", stage, owner, ms(lease_s), secrets.token_hex(8)):
            found, wish, fence, attempt, allowed, url, waits = answer
            with suppress(ValueError):
                job = codec.loads(wish, Job)
                numbers = (int(fence), int(attempt), int(allowed))
                return Claim(found, job, stage, *numbers, url or None, int(waits))
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
        taken_up_s: float = 0.0,
    ) -> Verdict:
        """Renew the lease, tell how far the job is, and hear what to do.

        Of the seconds done, `taken_up_s` were so before the stage began: by an earlier attempt.
        "lost" and "cancelled": the claim is over. "stop": the worker is to end. "give way": the
        claim is older than `slice_s`, and a job with more right to it waits; told once.
        """
        done, total = f"{done_s:.3f}", "" if total_s is None else f"{total_s:.3f}"
        verdict: Verdict = self._run(
            *("beat", claim.id, claim.fence, ms(lease_s), stage or "", done, total, ms(slice_s)),
            f"{taken_up_s:.3f}",
        )
        return verdict

    def advance(self, claim: Claim, length_s: float | None, outcome: Outcome | None = None) -> bool:
        """Close the claim and make the job ready for its next stage; False: the claim was lost.

        The outcome is what there is by now: subtitles, while their summary is still to come.
        """
        length = "" if length_s is None else _length_ms(length_s)
        told = codec.dumps(outcome) if outcome else ""
        media_ms = ms(outcome.duration_s or 0) if outcome and outcome.state == "done" else 0
        return bool(self._run("advance", claim.id, claim.fence, length, told, media_ms))

    def finish(self, claim: Claim, outcome: Outcome) -> bool:
        """Close the claim and end the job as the outcome says; False: the claim was lost."""
        state = "failed" if outcome.state == "failed" else "done"
        is_new = outcome.state == "done" and claim.stage != "text"  # there, it was counted before
        media_ms = ms(outcome.duration_s or 0) if is_new else 0
        told = (codec.dumps(outcome), outcome.reason or "", outcome.error or "", media_ms)
        return bool(self._run("finish", claim.id, claim.fence, state, *told))

    def give_back(self, claim: Claim, reason: str, delay_s: float = 0) -> bool:
        """Close the claim; its attempt does not count, a delay as a wait. False: it was lost."""
        return bool(self._run("give_back", claim.id, claim.fence, reason, ms(delay_s)))

    def fail(self, claim: Claim, reason: str, error: str, retry_in_s: float | None) -> bool:
        """Close the claim of a failure; False: the claim was lost.

        The job is tried again later, is dead after its last attempt, or has failed for good where
        `retry_in_s` is None.
        """
        delay = "" if retry_in_s is None else ms(retry_in_s)
        return bool(self._run("fail", claim.id, claim.fence, reason, error, delay))

    def reap(self) -> int:
        """See to leases that ran out and delays that are over; gives how many jobs got ready."""
        return int(self._run("reap"))

    def stop(self, worker: str, within_s: float) -> None:
        """Tell a worker's processes to end; the wish is forgotten after `within_s`."""
        with redis_errors():
            self._redis.set(self._key("stop", worker), 1, px=max(1, ms(within_s)))

    def lost(self, worker: str) -> tuple[str, ...]:
        """The owners of this worker whose lease ran out, since it was asked last."""
        with redis_errors():
            found: Any = self._redis.lpop(self._key("lost", worker), AT_ONCE)
        return tuple(dict.fromkeys(found or ()))

    def ask_for_memory(self, within_s: float) -> None:
        """Tell idle processes to give theirs back; the wish is forgotten after `within_s`."""
        with redis_errors():
            self._redis.set(self._key("memory"), 1, px=max(1, ms(within_s)))

    def is_memory_asked(self) -> bool:
        """Whether somebody could do with more memory."""
        with redis_errors():
            return bool(self._redis.exists(self._key("memory")))

    def is_stopping(self, worker: str) -> bool:
        """Whether a worker was told to end."""
        with redis_errors():
            return bool(self._redis.exists(self._key("stop", worker)))

    def _each(self, script: str, ids: Sequence[str]) -> tuple[str, ...]:
        return tuple(job for batch in batches(ids) for job in self._run(script, *batch))


def _asked(job: str, entry: Entry) -> tuple[str | int, ...]:
    stages, class_ = ",".join(entry.stages), PRIORITIES.index(entry.priority)
    again, url = int(entry.again), entry.url or ""
    return (job, codec.dumps(entry.job), stages, class_, _length_ms(entry.length_s), again, url)


def _length_ms(length_s: float) -> int:
    """Within what a rank can hold, whatever a file's header claims."""
    return max(1, ms(min(length_s, LONGEST_S)))
