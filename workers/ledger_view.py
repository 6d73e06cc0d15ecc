"""How Redis is asked for the ledger, and what is to be seen there.

Goes in: ids, states. Comes out: records, counts, histories. Does not know: how a job gets from one
place to another; that is what `workers.ledger` has scripts for.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from workers.connection import redis_errors
from workers.ledger_reading import counts_from, line_from, record_from
from workers.ledger_records import ATTEMPT_ENDS, FORMAT, QUEUE_STAGES, STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from redis import Redis

    from workers.ledger_records import Counts, Line, Record, State

T = TypeVar("T")
PREFIX = "transcribe:"
AT_ONCE = 500  # jobs a call of a script: some 20 ms of Redis' time
MANY = 1_000_000  # jobs: all that there may be
ID_DIGITS = 24
ENDED: tuple[State, ...] = tuple(state for state in STATES if state not in ("queued", "running"))


class View:
    """All that can be known of jobs. Every method may raise QueueUnavailable.

    `ahead_s` is added to Redis' clock, for tests.
    """

    def __init__(
        self, redis: Redis, prefix: str = PREFIX, ahead_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._ahead_s = ahead_s

    def counts(self) -> Counts:
        """The whole ledger at one moment."""
        numbers = (len(ENDED), len(ATTEMPT_ENDS))
        return counts_from(
            self._run("counts", *numbers, *ENDED, *ATTEMPT_ENDS, *QUEUE_STAGES), ENDED
        )

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

    def ids(self, states: Sequence[State], ended_before_s: float | None = None) -> tuple[str, ...]:
        """The ids of all jobs in these states, or of those that ended before a time."""
        found: list[str] = []
        with redis_errors():
            for state in states:
                if ended_before_s is None:
                    found += self._ids(state, MANY)
                elif state in ENDED:
                    place, until = self._key("ended", state), f"({ms(ended_before_s)}"
                    redis: Any = self._redis
                    found += redis.zrangebyscore(place, "-inf", until)
        return tuple(dict.fromkeys(found))

    def owners(self) -> tuple[str, ...]:
        """Who works on a job now."""
        with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            for job in self._ids("running", MANY):
                pipe.hget(self._key("job", job), "owner")
            return tuple(owner for owner in pipe.execute() if owner)

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
        for batch in batches(ids):
            with redis_errors(), self._redis.pipeline(transaction=False) as pipe:
                for job in batch:
                    pipe.hgetall(self._key("job", job))
                    pipe.get(self._key("wish", job))
                answers = pipe.execute()
            for job, fields, wish in zip(batch, answers[::2], answers[1::2], strict=True):
                with suppress(ValueError, LookupError):
                    yield record_from(job, fields, wish)

    # ── how Redis is asked ───────────────────────────────────────────────────────────────────

    def _run(self, script: str, *arguments: str | int) -> Any:
        with redis_errors():
            run = self._redis.register_script(_source(script))
            return run(args=[self._prefix, ms(self._ahead_s()), FORMAT, *arguments])

    def _key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)


@cache
def _source(script: str) -> str:
    folder = files("workers") / "scripts"
    return "\n".join((folder / f"{name}.lua").read_text("utf-8") for name in ("shared", script))


def batches(items: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """As many as a script takes at once."""
    rest = iter(items)
    while batch := tuple(islice(rest, AT_ONCE)):
        yield batch


def ms(value_s: float) -> int:
    """Whole milliseconds, in which the ledger counts."""
    return round(value_s * 1000)
