"""The whole ledger against a simple model of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.types import Job, Outcome, OutputOptions, Source, SpeechOptions
from workers.ledger import Ledger, job_id
from workers.ledger_records import PRIORITIES, STATES, Entry
from workers.ledger_view import ENDED

LEASE_S = 60.0
NAMES = "abcdef"
STEP_S = 10.0  # shorter than the time between two beats, so that no outage is seen
names = st.sampled_from(NAMES)


class Clock:
    """How far the ledger's time is ahead of Redis' own."""

    def __init__(self):
        self.ahead_s = 0.0

    def __call__(self):
        return self.ahead_s

    def forward(self, seconds):
        self.ahead_s += seconds


def a_job(name):
    return Job(Source(Path(f"/media/{name}.mp3"), 1000, 7), SpeechOptions(), OutputOptions())


entries = st.builds(Entry, names.map(a_job), st.sampled_from(PRIORITIES), st.floats(1, 9999))


class Ledgers(RuleBasedStateMachine):
    """Workers that claim, beat, end, fail and die, and people who change their minds."""

    def __init__(self, client):
        super().__init__()
        client.flushall()
        self.clock = Clock()
        self.ledger = Ledger(client, attempts=2, ahead_s=self.clock)
        self.jobs = {}  # id: what the ledger should know; left_s: of its lease or delay
        self.claims = []  # all that ever were, the oldest first
        self.seen_fences = {}

    def _queue(self, job, entry):
        length_s = round(entry.length_s * 1000) / 1000
        self.jobs[job] = {
            "state": "queued",
            "stage": "convert",
            "attempts": 0,
            "ready": True,
            "length_s": length_s,
            "class": PRIORITIES.index(entry.priority),
            "claim": None,
        }

    def _rank(self, job):
        known = self.jobs[job]
        return known["class"], self.ledger.record(job).queued_s + known["length_s"]

    @rule(entry=entries)
    def accept(self, entry):
        job = job_id(entry.job)
        known = self.jobs.get(job)
        queues = known is None or known["state"] in ("failed", "dead", "cancelled")
        if queues:
            self._queue(job, entry)
        else:
            known["class"] = min(known["class"], PRIORITIES.index(entry.priority))
        (accepted,) = self.ledger.accept([entry])
        assert (accepted.id, accepted.is_new) == (job, queues)
        assert accepted.state == self.jobs[job]["state"]

    @initialize(entries=st.lists(entries, min_size=3))
    def begin(self, entries):
        for entry in entries:
            self.accept(entry)

    @precondition(lambda self: any(known["ready"] for known in self.jobs.values()))
    @rule()
    def claim_something(self):
        ready = {known["stage"] for known in self.jobs.values() if known["ready"]}
        for stage in ("convert", "speech"):
            self.claim(stage)
            if stage in ready:
                break

    def claim(self, stage):
        ready = [
            job for job, known in self.jobs.items() if known["ready"] and known["stage"] == stage
        ]
        best = min(map(self._rank, ready), default=None)
        ranks = {job: self._rank(job) for job in ready}
        claim = self.ledger.claim(stage, "w", LEASE_S)
        if claim is None:
            assert not ready
            return
        assert ranks[claim.id] == best
        known = self.jobs[claim.id]
        known.update(state="running", ready=False, claim=claim, left_s=LEASE_S)
        known["attempts"] += 1
        assert claim.attempt == known["attempts"] <= claim.attempts_allowed == 2
        assert claim.fence > self.seen_fences.get(claim.id, 0)
        self.seen_fences[claim.id] = claim.fence
        self.claims.append(claim)

    def _holds(self, claim):
        known = self.jobs.get(claim.id)
        return known is not None and known["state"] == "running" and known["claim"] == claim

    def _pick(self, number):
        return self.claims[-1 - number % len(self.claims)]

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 3))
    def beat(self, number):
        claim = self._pick(number)
        verdict = self.ledger.beat(claim, LEASE_S, None, 0.0, None, slice_s=1e9)
        if self._holds(claim):
            assert verdict == "go on"
            self.jobs[claim.id]["left_s"] = LEASE_S
        else:
            assert verdict in ("lost", "cancelled")

    def _close(self, number, how, then):
        claim = self._pick(number)
        holds = self._holds(claim)
        closed = how(claim)  # where the claim is over, the invariants see that nothing changed
        if holds:
            assert closed
            known = self.jobs[claim.id]
            known.update({"ready": False, "claim": None, **then(known)})

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 3))
    def give_back(self, number):
        self._close(
            number,
            lambda claim: self.ledger.give_back(claim, "politely"),
            lambda known: {"state": "queued", "ready": True, "attempts": known["attempts"] - 1},
        )

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 3), length_s=st.floats(1, 9999))
    def go_on_or_finish(self, number, length_s):
        claim = self._pick(number)
        length_s = round(length_s * 1000) / 1000
        if claim.stage == "convert":
            self._close(
                number,
                lambda claim: self.ledger.advance(claim, length_s),
                lambda _: {
                    "state": "queued",
                    "stage": "speech",
                    "attempts": 0,
                    "ready": True,
                    "length_s": length_s,
                },
            )
        else:
            self._close(
                number,
                lambda claim: self.ledger.finish(claim, Outcome(claim.job.source.path, "done")),
                lambda _: {"state": "done"},
            )

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(0, 3), retry_s=st.sampled_from((None, 25.0)))
    def fail(self, number, retry_s):
        def then(known):
            if retry_s is None:
                return {"state": "failed"}
            if known["attempts"] == 2:
                return {"state": "dead"}
            return {"state": "queued", "ready": False, "left_s": retry_s}

        self._close(number, lambda claim: self.ledger.fail(claim, "x", "X", retry_s), then)

    @rule(steps=st.integers(1, 7))
    def time_passes(self, steps):
        for _ in range(steps):
            self.clock.forward(STEP_S)
            became_ready = 0
            for known in self.jobs.values():
                waits = known["state"] == "queued" and not known["ready"]
                if not waits and known["state"] != "running":
                    continue
                known["left_s"] -= STEP_S
                if known["left_s"] > 0:
                    continue
                is_dead = known["state"] == "running" and known["attempts"] == 2
                known.update(state="dead" if is_dead else "queued", ready=not is_dead, claim=None)
                became_ready += not is_dead
            assert self.ledger.reap() == became_ready

    @rule(name=names, what=st.sampled_from(("cancel", "retry", "forget")))
    def change_by_hand(self, name, what):
        job = job_id(a_job(name))
        known = self.jobs.get(job, {"state": None, "ready": False})
        delayed = known["state"] == "queued" and not known["ready"]
        applies = {
            "cancel": known["state"] in ("queued", "running"),
            "retry": delayed or known["state"] in ("failed", "dead", "cancelled"),
            "forget": known["state"] not in ("running", None),
        }[what]
        changed = getattr(self.ledger, what)([job])
        assert changed == ((job,) if applies else ())
        if not applies:
            return
        if what == "cancel":
            known.update(state="cancelled", ready=False, claim=None)
        elif what == "retry":
            known.update(state="queued", stage="convert", attempts=0, ready=True, claim=None)
        else:
            del self.jobs[job]

    @invariant()
    def nothing_is_lost_and_the_counts_add_up(self):
        known = self.jobs.values()
        counts = self.ledger.counts()
        for state in STATES:
            assert dict(counts.by_state)[state] == sum(one["state"] == state for one in known)
        for stage in ("convert", "speech"):
            ready = sum(one["ready"] and one["stage"] == stage for one in known)
            assert dict(counts.ready)[stage] == ready
        waiting_s = sum(one["length_s"] for one in known if one["state"] == "queued")
        assert counts.waiting_media_s == pytest.approx(waiting_s, abs=0.01)
        assert (counts.oldest_ready_s is None) == (not any(one["ready"] for one in known))

    @invariant()
    def every_record_tells_the_truth(self):
        records = {record.id: record for record in self.ledger.records(STATES, 100)}
        assert records.keys() == self.jobs.keys()
        for job, known in self.jobs.items():
            record = records[job]
            assert record.state == known["state"]
            assert record.stage == known["stage"]
            assert record.attempts == known["attempts"] <= 2
            assert record.priority == PRIORITIES[known["class"]]
            assert (record.owner is not None) == (record.state == "running")
            assert (record.ended_s is not None) == (record.state in ENDED)


def test_the_ledger_does_what_a_simple_model_of_it_does(redis_server):
    run_state_machine_as_test(
        lambda: Ledgers(redis_server.client),
        settings=settings(max_examples=40, stateful_step_count=40, deadline=None),
    )
