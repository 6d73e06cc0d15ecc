from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import codec
from pipeline.errors import QueueUnavailable
from pipeline.types import Job, Outcome, OutputOptions, Source, SpeechOptions
from workers.ledger import Ledger, job_id
from workers.ledger_records import PRIORITIES, STATES, Counts, Entry, Record
from workers.log import ID_CHARS

LEASE_S = 60.0
SLICE_S = 600.0
SCRIPTS = Path(__file__).parents[2] / "workers" / "scripts"


class Clock:
    """How far the ledger's time is ahead of Redis' own."""

    def __init__(self):
        self.ahead_s = 0.0

    def __call__(self):
        return self.ahead_s

    def forward(self, seconds):
        self.ahead_s += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(redis_server, clock):
    return Ledger(redis_server.client, ahead_s=clock)


def a_job(name="a", **speech):
    source = Source(Path(f"/media/{name}.mp3"), 1000, 7)
    return Job(source, SpeechOptions(**speech), OutputOptions())


def an_entry(name="a", priority="normal", length_s=600.0, **fields):
    return Entry(a_job(name), priority, length_s, **fields)


def speech_only(name="a", priority="normal", length_s=600.0):
    return an_entry(name, priority, length_s, stages=("speech",))


def outcome_of(claim, state="done", **fields):
    return Outcome(claim.job.source.path, state, **fields)


def states(ledger):
    return {state: number for state, number in ledger.counts().by_state if number}


def beat(ledger, claim, slice_s=SLICE_S, done_s=1.0):
    return ledger.beat(claim, LEASE_S, "transcribe", done_s, 600.0, slice_s)


def let_run_out(ledger, clock, lease_s=LEASE_S):
    """The lease's time, with a reaper that looks all along."""
    for _ in range(10):
        clock.forward(lease_s / 10)
        ledger.reap()


# ── what is asked for ────────────────────────────────────────────────────────────────────────


def test_ids_differ_in_the_characters_that_people_see_whatever_differs():
    job = a_job()
    subtitles = replace(job, output=OutputOptions(formats=("vtt",)))
    german = replace(job, speech=SpeechOptions(language="de"))
    again = replace(job, output=OutputOptions(overwrite=True))
    assert all(re.fullmatch("[0-9a-f]{24}", job_id(one)) for one in (job, subtitles, german))
    assert len({job_id(one)[:ID_CHARS] for one in (job, subtitles, german)}) == 3
    assert job_id(again) == job_id(job)


def test_the_same_job_twice_is_one_job(ledger):
    first, twin, other = ledger.accept([an_entry("a"), an_entry("a"), an_entry("b")])
    assert (first.is_new, twin.is_new, other.is_new) == (True, False, True)
    assert first.id == twin.id != other.id
    assert ledger.accept([an_entry("a")])[0].is_new is False
    assert states(ledger) == {"queued": 2}


def test_more_jobs_than_one_call_takes_are_all_accepted_in_order(ledger):
    accepted = ledger.accept(an_entry(f"{n}") for n in range(1203))
    assert [one.id for one in accepted] == [job_id(a_job(f"{n}")) for n in range(1203)]
    assert states(ledger) == {"queued": 1203}
    assert len(ledger.cancel([one.id for one in accepted])) == 1203


def test_a_job_that_is_done_is_done_again_only_if_its_entry_says_so(ledger):
    ledger.accept([speech_only()])
    claim = ledger.claim("speech", "w", LEASE_S)
    ledger.finish(claim, outcome_of(claim))
    (asked,) = ledger.accept([speech_only()])
    assert (asked.is_new, asked.state) == (False, "done")
    (asked,) = ledger.accept([replace(speech_only(), again=True)])
    assert (asked.is_new, asked.state) == (True, "queued")
    assert ledger.record(asked.id).outputs == ()


@pytest.mark.parametrize("end", ["failed", "dead", "cancelled"])
def test_a_job_that_ended_badly_is_queued_with_fresh_attempts_when_asked_again(ledger, clock, end):
    (asked,) = ledger.accept([an_entry()])
    claim = ledger.claim("convert", "w", LEASE_S)
    if end == "cancelled":
        ledger.cancel([claim.id])
    elif end == "failed":
        ledger.fail(claim, "no sound", "NoAudio", None)
    while states(ledger) == {"running": 1}:
        let_run_out(ledger, clock)
        ledger.claim("convert", "w", LEASE_S)
    assert states(ledger) == {end: 1}
    assert ledger.accept([an_entry()])[0] == replace(asked, is_new=True)
    record = ledger.record(asked.id)
    assert (record.state, record.attempts, record.reason) == ("queued", 0, None)


def test_asking_again_with_more_urgency_moves_a_queued_job_forward(ledger):
    ledger.accept([an_entry("a", length_s=10), an_entry("b", length_s=99)])
    ledger.accept([an_entry("b", "high", length_s=99)])
    ledger.accept([an_entry("b", "low", length_s=99)])
    assert ledger.record(job_id(a_job("b"))).priority == "high"
    assert ledger.claim("convert", "w", LEASE_S).job == a_job("b")


# ── who gets what ────────────────────────────────────────────────────────────────────────────


def test_priority_goes_first_and_then_the_time_of_asking_plus_the_length(ledger, clock):
    ledger.accept([an_entry("low", "low", 1), an_entry("ten hours", length_s=36_000)])
    clock.forward(1800)
    ledger.accept([an_entry("a minute", length_s=60), an_entry("urgent", "high", 36_000)])
    clock.forward(36_000)
    ledger.accept([an_entry("too late", length_s=60)])
    names = [ledger.claim("convert", "w", LEASE_S).job.source.path.stem for _ in range(5)]
    assert names == ["urgent", "a minute", "ten hours", "too late", "low"]
    assert ledger.claim("convert", "w", LEASE_S) is None


def test_the_order_of_the_list_of_queued_jobs_is_the_order_of_the_claims(ledger):
    ledger.accept(an_entry(f"{n}", PRIORITIES[n % 3], 100 - n) for n in range(20))
    listed = [record.id for record in ledger.records(("queued",), 100)]
    assert [ledger.claim("convert", "w", LEASE_S).id for _ in range(20)] == listed


def test_a_length_that_no_media_has_does_not_break_the_order(ledger):
    ledger.accept([an_entry("a lie", length_s=1e300), an_entry("low", "low", 0.0)])
    assert ledger.claim("convert", "w", LEASE_S).job == a_job("a lie")
    assert ledger.counts().waiting_media_s < 1


def test_a_stage_gets_only_what_is_ready_for_it(ledger):
    ledger.accept([an_entry("a"), speech_only("b")])
    assert ledger.claim("text", "w", LEASE_S) is None
    assert ledger.claim("speech", "w", LEASE_S).job == a_job("b")
    claim = ledger.claim("convert", "w", LEASE_S)
    assert ledger.claim("speech", "w", LEASE_S) is None
    assert ledger.advance(claim, 61.5)
    claim = ledger.claim("speech", "w", LEASE_S)
    assert (claim.job, claim.stage, claim.attempt) == (a_job("a"), "speech", 1)
    assert ledger.record(claim.id).length_s == 61.5


def test_the_true_length_decides_the_next_stage(ledger):
    ledger.accept([an_entry("guessed long", length_s=9000), an_entry("guessed short", length_s=9)])
    for length_s in (9000.0, 9.0):
        ledger.advance(ledger.claim("convert", "w", LEASE_S), length_s)
    assert ledger.claim("speech", "w", LEASE_S).job == a_job("guessed long")


def test_nothing_is_claimed_in_a_pause_but_work_goes_on(ledger):
    ledger.accept([an_entry("a"), an_entry("b")])
    claim = ledger.claim("convert", "w", LEASE_S)
    ledger.pause()
    assert ledger.is_paused()
    assert ledger.counts().paused
    assert ledger.claim("convert", "w", LEASE_S) is None
    assert beat(ledger, claim) == "go on"
    ledger.resume()
    assert not ledger.is_paused()
    assert ledger.claim("convert", "w", LEASE_S)


def test_a_worker_that_is_to_stop_hears_it_and_gets_no_more(ledger):
    ledger.accept([an_entry("a"), an_entry("b")])
    claim = ledger.claim("convert", "host/1", LEASE_S)
    ledger.stop("host", 60)
    assert ledger.is_stopping("host")
    assert not ledger.is_stopping("hos")
    assert beat(ledger, claim) == "stop"
    assert ledger.claim("convert", "host/2", LEASE_S) is None
    assert ledger.claim("convert", "other", LEASE_S)


def test_jobs_of_a_newer_version_are_left_alone_and_counted(ledger, monkeypatch):
    monkeypatch.setattr("workers.ledger_view.FORMAT", 2)
    ledger.accept([an_entry("new")])
    monkeypatch.setattr("workers.ledger_view.FORMAT", 1)
    ledger.accept([an_entry("old")])
    assert ledger.claim("convert", "w", LEASE_S).job == a_job("old")
    assert ledger.claim("convert", "w", LEASE_S) is None
    counts = ledger.counts()
    assert (counts.newer, dict(counts.ready)["convert"], states(ledger)["queued"]) == (1, 0, 1)
    monkeypatch.setattr("workers.ledger_view.FORMAT", 2)
    assert ledger.claim("convert", "w", LEASE_S).job == a_job("new")


def test_an_older_worker_gives_a_newer_job_back_to_newer_workers(ledger, monkeypatch, clock):
    monkeypatch.setattr("workers.ledger_view.FORMAT", 2)
    ledger.accept([an_entry()])
    ledger.claim("convert", "new", LEASE_S)
    monkeypatch.setattr("workers.ledger_view.FORMAT", 1)
    let_run_out(ledger, clock)
    assert ledger.claim("convert", "old", LEASE_S) is None
    assert ledger.counts().newer == 1


def test_a_job_that_cannot_be_read_fails_and_the_next_one_is_taken(ledger, redis_server):
    ledger.accept([an_entry("broken", length_s=1), an_entry("whole")])
    broken = job_id(a_job("broken"))
    redis_server.client.set(f"transcribe:wish:{broken}", "{}")
    assert ledger.claim("convert", "w", LEASE_S).job == a_job("whole")
    assert states(ledger) == {"failed": 1, "running": 1}
    assert "cannot read" in ledger.history(broken)[-1].what
    assert [record.job for record in ledger.records(STATES, 9)] == [a_job("whole")]


# ── leases ───────────────────────────────────────────────────────────────────────────────────


def test_a_lease_that_is_beaten_never_runs_out(ledger, clock):
    ledger.accept([an_entry()])
    claim = ledger.claim("convert", "w", LEASE_S)
    for _ in range(20):
        clock.forward(LEASE_S * 0.9)
        assert beat(ledger, claim) == "go on"
        assert ledger.reap() == 0
    assert ledger.advance(claim, None)


def test_a_lease_that_is_not_beaten_runs_out_and_its_holder_is_fenced(ledger, clock):
    ledger.accept([an_entry()])
    old = ledger.claim("convert", "frozen", LEASE_S)
    let_run_out(ledger, clock)
    new = ledger.claim("convert", "w", LEASE_S)
    assert (new.id, new.attempt) == (old.id, 2)
    assert new.fence > old.fence
    before = ledger.record(old.id)
    assert beat(ledger, old) == "lost"
    assert not ledger.advance(old, 1.0)
    assert not ledger.finish(old, outcome_of(old))
    assert not ledger.give_back(old, "")
    assert not ledger.fail(old, "", "", None)
    assert ledger.record(old.id) == before
    assert ledger.advance(new, None)


def test_a_claim_sees_to_leases_that_ran_out_without_a_reaper(ledger, clock):
    ledger.accept([an_entry()])
    ledger.claim("convert", "frozen", LEASE_S)
    for _ in range(10):
        clock.forward(LEASE_S / 10)
        claim = ledger.claim("convert", "w", LEASE_S)
    assert claim.attempt == 2


def test_after_an_outage_holders_get_the_time_of_a_beat(ledger, clock):
    ledger.accept([an_entry("alive", length_s=1), an_entry("dead")])
    alive, _ = ledger.claim("convert", "w", LEASE_S), ledger.claim("convert", "v", LEASE_S)
    clock.forward(3600)  # Redis was away, and comes back
    assert ledger.reap() == 0
    clock.forward(LEASE_S / 3 - 1)
    assert beat(ledger, alive) == "go on"
    clock.forward(2)
    assert ledger.reap() == 1
    assert ledger.claim("convert", "x", LEASE_S).job == a_job("dead")


def test_an_outage_is_forgiven_once(ledger, clock):
    ledger.accept([an_entry()])
    ledger.claim("convert", "w", LEASE_S)
    clock.forward(3600)
    assert ledger.reap() == 0
    clock.forward(3600)
    assert ledger.reap() == 1


def test_a_clock_that_is_set_back_does_not_keep_a_dead_workers_job(ledger, clock):
    ledger.accept([an_entry("a"), speech_only("b")])
    ledger.claim("convert", "w", LEASE_S)
    ledger.fail(ledger.claim("speech", "w", LEASE_S), "disk full", "StorageFailed", 30)
    clock.forward(-3600)
    ledger.reap()
    let_run_out(ledger, clock)
    assert dict(ledger.counts().ready) == {"convert": 1, "speech": 1, "text": 0}


def test_the_same_question_asked_twice_gets_one_answer(ledger, monkeypatch):
    monkeypatch.setattr("workers.ledger.secrets.token_hex", lambda _: "the same")
    ledger.accept([an_entry("a"), an_entry("b")])
    claim = ledger.claim("convert", "w", LEASE_S)
    assert ledger.claim("convert", "w", LEASE_S) == claim
    assert states(ledger) == {"queued": 1, "running": 1}
    assert ledger.advance(claim, 5.0)
    assert ledger.advance(claim, 5.0)
    assert dict(ledger.counts().ready)["speech"] == 1


def test_a_fence_is_new_even_if_redis_forgot_the_claim_before(ledger, redis_server, clock):
    ledger.accept([an_entry()])
    client, job = redis_server.client, job_id(a_job())
    kept = client.hgetall(f"transcribe:job:{job}")
    lost = ledger.claim("convert", "w", LEASE_S)
    client.zrem("transcribe:running", job)
    client.delete(f"transcribe:job:{job}")
    client.hset(f"transcribe:job:{job}", mapping=kept)
    client.zadd("transcribe:ready:1:convert", {job: 1})
    clock.forward(1)
    found = ledger.claim("convert", "v", LEASE_S)
    assert found.fence != lost.fence
    assert beat(ledger, lost) == "lost"


# ── giving way ───────────────────────────────────────────────────────────────────────────────


def test_a_long_job_gives_way_after_its_slice_and_is_resumed(ledger, clock):
    ledger.accept([speech_only("long", length_s=36_000)])
    claim = ledger.claim("speech", "w", LEASE_S)
    clock.forward(50)
    ledger.accept([speech_only("short", length_s=60)])
    assert beat(ledger, claim, slice_s=100) == "go on"
    clock.forward(51)
    assert beat(ledger, claim, slice_s=100) == "give way"
    assert ledger.give_back(claim, "gave way")
    short = ledger.claim("speech", "w", LEASE_S)
    assert short.job == a_job("short")
    assert ledger.finish(short, outcome_of(short))
    again = ledger.claim("speech", "w", LEASE_S)
    assert (again.job, again.attempt) == (a_job("long"), 1)


def test_a_job_gives_way_to_none_with_less_right(ledger, clock):
    ledger.accept([speech_only("first", length_s=600)])
    claim = ledger.claim("speech", "w", LEASE_S)
    clock.forward(10)
    ledger.accept([speech_only("longer"), speech_only("low", "low", 1), an_entry("other", "high")])
    assert beat(ledger, claim, slice_s=0) == "go on"


def test_one_of_several_long_jobs_gives_way_to_one_short_one(ledger, clock):
    ledger.accept(speech_only(f"long {n}", length_s=36_000) for n in range(3))
    claims = [ledger.claim("speech", f"w{n}", LEASE_S) for n in range(3)]
    clock.forward(20)
    ledger.accept([speech_only("short", length_s=60)])
    verdicts = [beat(ledger, claim, slice_s=10) for claim in claims]
    assert sorted(verdicts) == ["give way", "go on", "go on"]


# ── ends ─────────────────────────────────────────────────────────────────────────────────────


def test_a_finished_job_keeps_its_outcome(ledger, clock):
    (asked,) = ledger.accept([an_entry()])
    claim = ledger.claim("convert", "w", LEASE_S)
    clock.forward(4)
    ledger.advance(claim, 60.0)
    claim = ledger.claim("speech", "w", LEASE_S)
    clock.forward(6)
    srt = Path("/media/a\udcff.srt")
    told = outcome_of(claim, outputs=(srt,), duration_s=60.0, notes=("quiet",))
    assert ledger.finish(claim, told)
    record = ledger.record(asked.id)
    assert (record.state, record.outputs, record.notes) == ("done", (srt,), ("quiet",))
    assert record.duration_s == 60.0
    assert record.took_s == pytest.approx(10, abs=0.5)
    assert (record.owner, record.lease_until_s) == (None, None)
    counts = ledger.counts()
    assert counts.media_done_s == 60.0
    assert counts.work_done_s == record.took_s
    assert counts.waiting_media_s == 0


def test_a_skipped_job_is_done_and_counts_no_media(ledger):
    ledger.accept([speech_only()])
    claim = ledger.claim("speech", "w", LEASE_S)
    told = outcome_of(claim, "skipped", reason="a.en.srt exists", duration_s=60.0)
    assert ledger.finish(claim, told)
    assert ledger.record(claim.id).reason == "a.en.srt exists"
    assert states(ledger) == {"done": 1}
    assert ledger.counts().media_done_s == 0


def test_an_outcome_that_failed_is_a_failed_job(ledger):
    ledger.accept([speech_only()])
    claim = ledger.claim("speech", "w", LEASE_S)
    assert ledger.finish(claim, outcome_of(claim, "failed", reason="no sound", error="NoAudio"))
    record = ledger.record(claim.id)
    assert (record.state, record.reason, record.error) == ("failed", "no sound", "NoAudio")


def test_a_failure_is_tried_again_later_and_in_the_end_dead(ledger, clock):
    (asked,) = ledger.accept([an_entry()])
    for attempt in (1, 2, 3):
        claim = ledger.claim("convert", "w", LEASE_S)
        assert (claim.attempt, claim.attempts_allowed) == (attempt, 3)
        assert ledger.fail(claim, "disk full", "StorageFailed", 30)
        if attempt < 3:
            record = ledger.record(asked.id)
            assert (record.state, record.reason) == ("queued", "disk full")
            assert record.due_s == pytest.approx(ledger.counts().now_s + 30, abs=1)
            assert ledger.claim("convert", "w", LEASE_S) is None
            clock.forward(31)
    record = ledger.record(asked.id)
    assert (record.state, record.error) == ("dead", "StorageFailed")
    assert record.reason == "given up after 3 attempts: disk full"
    assert record.ended_s == pytest.approx(ledger.counts().now_s, abs=1)


def test_a_failure_for_good_is_not_tried_again(ledger):
    ledger.accept([an_entry()])
    assert ledger.fail(ledger.claim("convert", "w", LEASE_S), "no sound", "NoAudio", None)
    assert states(ledger) == {"failed": 1}


def test_a_job_whose_workers_die_ends_dead_and_says_who_was_last(ledger, clock):
    (asked,) = ledger.accept([an_entry()])
    for _ in range(3):
        assert ledger.claim("convert", "host-1/4", LEASE_S)
        let_run_out(ledger, clock)
    record = ledger.record(asked.id)
    assert (record.state, record.error) == ("dead", "WorkerLost")
    assert record.reason == "given up after 3 attempts: nothing was heard of host-1/4 for 60 s"


def test_attempts_are_counted_for_each_stage(ledger):
    ledger.accept([an_entry()])
    ledger.fail(ledger.claim("convert", "w", LEASE_S), "x", "X", 0)
    claim = ledger.claim("convert", "w", LEASE_S)
    assert claim.attempt == 2
    ledger.advance(claim, None)
    assert ledger.claim("speech", "w", LEASE_S).attempt == 1


def test_a_polite_give_back_uses_no_attempt_and_may_wait(ledger, clock):
    ledger.accept([an_entry()])
    for _ in range(5):
        claim = ledger.claim("convert", "w", LEASE_S)
        assert claim.attempt == 1
        assert ledger.give_back(claim, "the worker was stopped")
    claim = ledger.claim("convert", "w", LEASE_S)
    assert ledger.give_back(claim, "in work elsewhere", delay_s=10)
    assert ledger.claim("convert", "w", LEASE_S) is None
    clock.forward(11)
    assert ledger.reap() == 1
    assert ledger.claim("convert", "w", LEASE_S).attempt == 1


def test_waits_are_counted_until_the_next_stage_or_a_retry_by_hand(ledger, clock):
    ledger.accept([an_entry()])
    for waits in range(3):
        claim = ledger.claim("convert", "w", LEASE_S)
        assert (claim.attempt, claim.waits) == (1, waits)
        ledger.give_back(claim, "no memory", delay_s=10)
        clock.forward(11)
    claim = ledger.claim("convert", "w", LEASE_S)
    ledger.give_back(claim, "no memory", delay_s=10)
    assert ledger.retry([claim.id])
    claim = ledger.claim("convert", "w", LEASE_S)
    assert claim.waits == 0
    ledger.give_back(claim, "no memory", delay_s=10)
    clock.forward(11)
    ledger.advance(ledger.claim("convert", "w", LEASE_S), None)
    assert ledger.claim("speech", "w", LEASE_S).waits == 0


def test_a_reason_may_name_a_file_whose_name_is_not_unicode(ledger):
    ledger.accept([an_entry()])
    claim = ledger.claim("convert", "w", LEASE_S)
    assert ledger.fail(claim, "/media/\udcff.mp3 is empty", "NotMedia", None)
    assert ledger.record(claim.id).reason == "/media/\\udcff.mp3 is empty"


# ── by hand ──────────────────────────────────────────────────────────────────────────────────


def test_cancel_ends_a_queued_job_at_once_and_tells_a_running_one(ledger):
    ledger.accept([an_entry("a", length_s=1), an_entry("b")])
    running, queued = ledger.claim("convert", "w", LEASE_S), job_id(a_job("b"))
    both = (running.id, queued)
    assert ledger.cancel([*both, "0" * 24]) == both
    assert states(ledger) == {"cancelled": 2}
    assert ledger.record(running.id).owner is None
    assert beat(ledger, running) == "cancelled"
    assert not ledger.finish(running, outcome_of(running))
    assert ledger.cancel(both) == ()


def test_the_holder_of_a_job_that_was_cancelled_and_asked_for_again_has_lost_it(ledger):
    ledger.accept([an_entry()])
    claim = ledger.claim("convert", "w", LEASE_S)
    ledger.cancel([claim.id])
    ledger.accept([an_entry()])
    assert beat(ledger, claim) == "lost"


def test_retry_takes_what_ended_badly_or_waits_and_nothing_else(ledger):
    ledger.accept(speech_only(name, length_s=n) for n, name in enumerate("abcde"))
    claims = [ledger.claim("speech", "w", LEASE_S) for _ in "abcd"]
    failed, waits, done, runs = claims
    ledger.fail(failed, "x", "NoAudio", None)
    ledger.fail(waits, "x", "StorageFailed", 600)
    ledger.finish(done, outcome_of(done))
    everything = [claim.id for claim in claims] + [job_id(a_job("e"))]
    assert ledger.retry(everything) == (failed.id, waits.id)
    assert states(ledger) == {"queued": 3, "running": 1, "done": 1}
    assert ledger.record(waits.id).attempts == 0
    assert beat(ledger, runs) == "go on"


def test_a_job_that_is_tried_again_begins_with_its_first_stage(ledger):
    ledger.accept([an_entry()])
    ledger.advance(ledger.claim("convert", "w", LEASE_S), None)
    claim = ledger.claim("speech", "w", LEASE_S)
    ledger.fail(claim, "x", "X", None)
    ledger.retry([claim.id])
    assert ledger.advance(ledger.claim("convert", "w", LEASE_S), None)
    assert ledger.claim("speech", "w", LEASE_S)


def test_a_forgotten_job_leaves_nothing_but_the_totals(ledger, redis_server):
    ledger.accept([speech_only("a", length_s=1), speech_only("b", length_s=2), speech_only("c")])
    done, runs = (ledger.claim("speech", "w", LEASE_S) for _ in "ab")
    ledger.finish(done, outcome_of(done))
    queued = job_id(a_job("c"))
    assert ledger.forget([done.id, runs.id, queued]) == (done.id, queued)
    assert states(ledger) == {"running": 1}
    assert ledger.record(done.id) is None
    assert ledger.history(done.id) == ()
    keys = redis_server.client.keys("*")
    assert not [key for key in keys if done.id in key or queued in key]
    assert ledger.counts().waiting_media_s == 0
    assert ledger.counts().oldest_ready_s is None


# ── what is to be seen ───────────────────────────────────────────────────────────────────────


def test_a_record_tells_how_far_a_running_job_is(ledger):
    entry = replace(an_entry("a", "high", 90.0), url="https://example.org/a.mp3")
    ledger.accept([entry])
    claim = ledger.claim("convert", "host-1", LEASE_S)
    assert claim.url == entry.url
    ledger.beat(claim, LEASE_S, "convert", 12.5, 91.0, SLICE_S)
    record, now_s = ledger.record(claim.id), ledger.counts().now_s
    assert (record.job, record.state, record.stage) == (entry.job, "running", "convert")
    assert (record.priority, record.attempts, record.owner) == ("high", 1, "host-1")
    assert (record.pipeline_stage, record.done_s, record.total_s) == ("convert", 12.5, 91.0)
    assert (record.length_s, record.url) == (90.0, entry.url)
    assert record.lease_until_s == pytest.approx(now_s + LEASE_S, abs=1)
    assert record.queued_s == pytest.approx(now_s, abs=1)
    assert record.started_s == pytest.approx(now_s, abs=1)


def test_a_record_tells_since_when_a_stage_runs_and_where_this_attempt_took_it_up(ledger, clock):
    ledger.accept([speech_only()])
    claim = ledger.claim("speech", "w", LEASE_S)
    ledger.beat(claim, LEASE_S, "convert", 5.0, 600.0, SLICE_S)
    clock.forward(20)
    ledger.beat(claim, LEASE_S, "transcribe", 300.0, 600.0, SLICE_S, 300.0)
    clock.forward(10)
    ledger.beat(claim, LEASE_S, "transcribe", 400.0, 600.0, SLICE_S, 300.0)
    record, now_s = ledger.record(claim.id), ledger.counts().now_s
    assert now_s - record.stage_began_s == pytest.approx(10, abs=1)
    assert (record.done_s, record.taken_up_s) == (400.0, 300.0)
    ledger.give_back(claim, "stopped")
    ledger.claim("speech", "w", LEASE_S)
    record = ledger.record(claim.id)
    assert (record.pipeline_stage, record.done_s, record.taken_up_s) == (None, 0.0, 0.0)


def test_a_record_survives_json(ledger):
    (asked,) = ledger.accept([speech_only()])
    claim = ledger.claim("speech", "w", LEASE_S)
    ledger.finish(claim, outcome_of(claim, outputs=(Path("/media/a.srt"),)))
    record = ledger.record(asked.id)
    assert codec.loads(codec.dumps(record), Record) == record
    counts = ledger.counts()
    assert codec.loads(codec.dumps(counts), Counts) == counts


def test_a_job_that_is_given_back_tells_why_it_waits(ledger):
    ledger.accept([speech_only()])
    claim = ledger.claim("speech", "w", LEASE_S)
    ledger.give_back(claim, "another process is at it", 10)
    record = ledger.record(claim.id)
    assert (record.reason, record.attempts) == ("another process is at it", 0)


def test_attempts_are_counted_by_how_they_ended(ledger, clock):
    ledger.accept([speech_only(name) for name in "abcdef"])

    def claim():
        return ledger.claim("speech", "w", LEASE_S)

    def ended():
        return {end: number for end, number in ledger.counts().attempts if number}

    assert ended() == {}
    done, back, failed, cancelled = claim(), claim(), claim(), claim()
    ledger.finish(done, outcome_of(done))
    ledger.give_back(back, "stopped")
    ledger.fail(failed, "no sound", "NoAudio", None)
    ledger.cancel([cancelled.id])
    assert ended() == {"done": 1, "given back": 1, "failed": 1, "cancelled": 1}
    lost = claim()
    let_run_out(ledger, clock)
    assert ended()["retried"] == 1
    for _ in range(2):
        again = claim()
        assert again.id == lost.id
        ledger.fail(again, "it broke", "ToolFailed", 0)
    assert ended() == {
        "done": 1,
        "given back": 1,
        "failed": 1,
        "cancelled": 1,
        "retried": 2,
        "dead": 1,
    }


def test_a_stage_that_is_done_is_an_attempt_that_is_done(ledger):
    ledger.accept([an_entry()])
    ledger.advance(ledger.claim("convert", "w", LEASE_S), None)
    assert dict(ledger.counts().attempts)["done"] == 1


def test_a_worker_is_told_once_which_of_its_processes_lost_their_lease(ledger, clock):
    ledger.accept([speech_only("a"), speech_only("b")])
    ledger.claim("speech", "host-1/speech-7", LEASE_S)
    ledger.claim("speech", "host-2/speech-7", 1000)
    assert ledger.lost("host-1") == ()
    let_run_out(ledger, clock)
    assert ledger.lost("host-2") == ()
    assert ledger.lost("host-1") == ("host-1/speech-7",)
    assert ledger.lost("host-1") == ()


def test_ended_jobs_are_found_by_their_age(ledger, clock):
    accepted = ledger.accept(speech_only(name) for name in "abc")
    for one in accepted[:2]:
        ledger.cancel([one.id])
        clock.forward(100)
    now_s = ledger.counts().now_s
    assert ledger.ids(("cancelled",), now_s - 150) == (accepted[0].id,)
    assert set(ledger.ids(("cancelled", "done"))) == {one.id for one in accepted[:2]}
    assert ledger.ids(("queued",)) == (accepted[2].id,)
    assert ledger.ids(("queued",), now_s) == ()


def test_an_unknown_job_has_no_record(ledger):
    assert ledger.record("0" * 24) is None
    assert ledger.records(STATES, 10) == ()


def test_records_are_of_the_states_that_were_asked_for(ledger, clock):
    ledger.accept(speech_only(f"{n}", length_s=n) for n in range(6))
    claims = []
    for _ in range(4):
        claims.append(ledger.claim("speech", "w", 1000))
        clock.forward(1)
    ledger.fail(claims[0], "x", "X", None)
    for claim in claims[1:3]:
        ledger.finish(claim, outcome_of(claim))
        clock.forward(1)
    assert [one.id for one in ledger.records(("done",), 9)] == [claims[2].id, claims[1].id]
    assert [one.id for one in ledger.records(("running", "failed"), 9)] == [
        claims[3].id,
        claims[0].id,
    ]
    assert len(ledger.records(("queued",), 9)) == 2
    assert len(ledger.records(STATES, 9)) == 6
    assert len(ledger.records(STATES, 3)) == 3


def test_history_tells_all_that_happened_and_forgets_what_is_long_ago(ledger, clock):
    (asked,) = ledger.accept([an_entry()])
    for _ in range(30):
        ledger.give_back(ledger.claim("convert", "host-1", LEASE_S), "stopped")
        clock.forward(1)
    ledger.cancel([asked.id])
    lines = ledger.history(asked.id)
    assert len(lines) == 51
    assert lines[0].what == "accepted"
    assert lines[0].at_s == pytest.approx(ledger.counts().now_s - 30, abs=1)
    assert lines[-3].what == "convert: attempt 1 of 3 by host-1"
    assert lines[-2].what == "given back: stopped"
    assert lines[-1].what == "cancelled"
    assert [line.at_s for line in lines] == sorted(line.at_s for line in lines)


def test_an_id_is_found_by_its_beginning(ledger):
    accepted = ledger.accept(an_entry(f"{n}") for n in range(300))
    some = accepted[7].id
    assert ledger.find(some) == (some,)
    begin_alike = tuple(sorted(one.id for one in accepted if one.id[0] == some[0]))
    assert len(begin_alike) > 1
    assert ledger.find(some[0]) == begin_alike
    assert ledger.find("*") == ledger.find(some[:3] + "?") == ()


def test_the_age_of_the_queue_is_that_of_the_job_that_is_ready_for_longest(ledger, clock):
    assert ledger.counts().oldest_ready_s is None
    ledger.accept([an_entry("old", "low")])
    clock.forward(100)
    ledger.accept([an_entry("young", "high")])
    counts = ledger.counts()
    assert counts.now_s - counts.oldest_ready_s == pytest.approx(100, abs=1)
    assert counts.waiting_media_s == 1200.0


def test_ledgers_with_other_prefixes_do_not_meet(ledger, redis_server):
    other = Ledger(redis_server.client, prefix="[other]*")
    other.accept([an_entry()])
    assert ledger.claim("convert", "w", LEASE_S) is None
    assert ledger.find("") == ()
    assert other.find("") == (job_id(a_job()),)
    ours = [key for key in redis_server.client.keys("*") if not key.startswith("[other]*")]
    assert ours == ["transcribe:seen"]


# ── Redis in trouble ─────────────────────────────────────────────────────────────────────────


def test_a_full_redis_takes_no_job_but_lets_those_that_run_come_to_their_end(ledger, redis_server):
    ledger.accept([speech_only("a", length_s=1), speech_only("b")])
    claim = ledger.claim("speech", "w", LEASE_S)
    redis_server.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(QueueUnavailable, match="refuses to work"):
            ledger.accept([speech_only("c")])
        assert beat(ledger, claim) == "go on"
        assert ledger.finish(claim, outcome_of(claim))
    finally:
        redis_server.client.config_set("maxmemory", 0)
    assert states(ledger) == {"queued": 1, "done": 1}
    assert ledger.accept([speech_only("c")])[0].is_new


def test_a_broken_connection_is_made_again(ledger, redis_server):
    ledger.accept([an_entry()])
    redis_server.client.client_kill_filter(_type="normal", skipme=False)
    assert ledger.claim("convert", "w", LEASE_S)


def test_scripts_that_redis_forgot_are_sent_again(ledger, redis_server):
    ledger.accept([an_entry("a")])
    redis_server.client.script_flush()
    assert ledger.claim("convert", "w", LEASE_S)


def test_the_scripts_are_short_and_all_are_used():
    workers = SCRIPTS.parent
    used = "".join((workers / name).read_text() for name in ("ledger.py", "ledger_view.py"))
    for path in SCRIPTS.glob("*.lua"):
        assert len(path.read_text().splitlines()) < 300
        assert f'"{path.stem}"' in used, path.name


def test_workers_that_claim_at_once_get_each_job_once(ledger):
    ledger.accept(an_entry(f"{n}") for n in range(200))

    def take_all(owner):
        claims = []
        while claim := ledger.claim("convert", owner, LEASE_S):
            claims.append(claim.id)
        return claims

    with ThreadPoolExecutor(8) as workers:
        taken = [one for claims in workers.map(take_all, "abcdefgh") for one in claims]
    assert len(taken) == len(set(taken)) == 200
