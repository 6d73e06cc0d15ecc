"""The queue's commands as a person types them, against a real Redis."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from models.demo import clips
from pipeline.types import Outcome
from workers.ledger import Ledger
from workers.options import whisper_spelling
from workers.queue_commands import QUEUE_COMMANDS

CLIP = clips()[0].path
CONVERT_BELL = "transcribe:wake:convert"


@pytest.fixture
def ledger(redis_server):
    return Ledger(redis_server.client)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two media, which is the current one."""
    for name in ("a.wav", "b.wav"):
        shutil.copyfile(CLIP, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def transcribe(redis_server, monkeypatch):
    monkeypatch.setenv("TRANSCRIBE_REDIS_URL", redis_server.url)
    return typed


def typed(*arguments):
    group = click.Group(
        "transcribe",
        commands={command.name: command for command in QUEUE_COMMANDS},
        context_settings={"token_normalize_func": whisper_spelling},
    )
    return CliRunner().invoke(group, [str(one) for one in arguments])


def objects(ended):
    return [json.loads(line) for line in ended.stdout.splitlines()]


def ids(ended):
    return [line.split()[0] for line in ended.stdout.splitlines()]


def states(ledger):
    return {state: count for state, count in ledger.counts().by_state if count}


def end_all(ledger, **outcome):
    while claim := ledger.claim("convert", "here", 60):
        ledger.finish(claim, Outcome(claim.job.source.path, "done", **outcome))


def fail_all(ledger):
    while claim := ledger.claim("convert", "here", 60):
        ledger.fail(claim, "it has no audio", "NoAudio", None)


# ── enqueue ──────────────────────────────────────────────────────────────────────────────────


def test_files_get_an_id_each_and_one_worker_is_woken(transcribe, ledger, redis_server, folder):
    ended = transcribe("enqueue", "a.wav", "b.wav")
    assert ended.exit_code == 0
    assert [line.split("  ")[1] for line in ended.stdout.splitlines()] == [
        *(f"{folder}/a.wav", f"{folder}/b.wav")
    ]
    assert states(ledger) == {"queued": 2}
    assert all(len(ledger.find(one)) == 1 for one in ids(ended))
    assert redis_server.client.llen(CONVERT_BELL) == 1


def test_the_same_job_twice_is_one_job_and_another_option_makes_another(transcribe, ledger, folder):
    first = transcribe("enqueue", "a.wav", folder / "a.wav", "./a.wav")
    again = transcribe("enqueue", "a.wav")
    assert ids(first)[0] == ids(again)[0]
    assert again.stdout.endswith("(known, queued)\n")
    assert states(ledger) == {"queued": 1}
    transcribe("enqueue", "a.wav", "--language", "de")
    transcribe("enqueue", "a.wav", "--output_format", "vtt")
    assert states(ledger) == {"queued": 3}


def test_all_that_run_can_be_told_reaches_the_job(transcribe, ledger, folder):
    flags = "--model small --language German --beam-size 5 --temperature 0.2 --task translate"
    output = "-f all -o out --name {stem}.{format} --overwrite --max-line-count 1"
    ended = transcribe("enqueue", "a.wav", *flags.split(), *output.split(), "--priority", "high")
    assert ended.exit_code == 0
    (record,) = ledger.records(("queued",), 9)
    speech, out = record.job.speech, record.job.output
    assert (speech.model, speech.language, speech.beam_size, speech.task) == (
        *("small", "de", 5, "translate"),
    )
    assert out.formats == ("srt", "vtt", "txt", "json")
    assert (out.output_dir, out.name, out.overwrite) == (folder / "out", "{stem}.{format}", True)
    assert record.priority == "high"


def test_a_folder_is_searched_and_keeps_its_tree(transcribe, ledger, folder):
    (folder / "show" / "one").mkdir(parents=True)
    (folder / "a.wav").rename(folder / "show" / "one" / "a.wav")
    assert transcribe("enqueue", "-r", "show", "-o", "out").exit_code == 0
    (record,) = ledger.records(("queued",), 9)
    assert record.job.output.output_dir == folder / "out" / "one"


def test_a_pattern_that_the_shell_left_alone_is_filled_in(transcribe, ledger, folder):
    shutil.copyfile(CLIP, folder / "c[1].wav")
    found = objects(transcribe("enqueue", "*.wav", "--json"))
    assert [Path(one["source"]).name for one in found] == ["a.wav", "b.wav", "c[1].wav"]
    assert transcribe("enqueue", "c[1].wav").exit_code == 0
    assert states(ledger) == {"queued": 3}
    none = transcribe("enqueue", "*.mp3")
    assert none.exit_code == 2
    assert "*.mp3 does not exist" in none.stderr


def test_a_bad_file_stops_no_other_and_is_told_with_its_reason(transcribe, ledger, folder):
    (folder / "empty.wav").touch()
    ended = transcribe("enqueue", "none.wav", "a.wav", "empty.wav", "http://", "--json")
    assert ended.exit_code == 2
    found = {one["source"]: one for one in objects(ended)}
    assert found[f"{folder}/none.wav"]["error"] == "NoSuchFile"
    assert found[f"{folder}/empty.wav"]["error"] == "NotMedia"
    assert found["http://"]["error"] == "BadOption"
    assert found[f"{folder}/a.wav"]["state"] == "queued"
    assert states(ledger) == {"queued": 1}


def test_an_empty_name_does_not_mean_the_current_folder(transcribe, ledger, folder):
    ended = transcribe("enqueue", "-r", "")
    assert (ended.exit_code, states(ledger)) == (2, {})
    assert "an empty name" in ended.stderr


def test_an_address_becomes_a_job_whose_subtitles_come_here(transcribe, ledger, folder):
    url = "https://media.example/shows/Talk%20one.mp3"
    assert transcribe("enqueue", url, url.replace("https://m", "HTTPS://M")).exit_code == 0
    (record,) = ledger.records(("queued",), 9)
    assert record.job.source.path.name == "Talk one.mp3"
    assert record.job.output.output_dir == folder
    assert "Talk one.mp3" in transcribe("status").stdout
    assert url in transcribe("status", record.id).stdout


def test_what_is_done_is_done_again_only_if_its_output_is_gone(transcribe, ledger, folder):
    transcribe("enqueue", "a.wav")
    (folder / "a.en.srt").write_text("")
    end_all(ledger, outputs=(folder / "a.en.srt",))
    assert transcribe("enqueue", "a.wav").stdout.endswith("(known, done)\n")
    (folder / "a.en.srt").unlink()
    (one,) = objects(transcribe("enqueue", "a.wav", "b.wav", "--json"))[:1]
    assert (one["state"], one["is_new"]) == ("queued", True)
    end_all(ledger)
    (one,) = objects(transcribe("enqueue", "a.wav", "--overwrite", "--json"))
    assert (one["state"], one["is_new"]) == ("queued", True)


def test_many_files_are_enqueued_at_once(transcribe, ledger, folder):
    for number in range(2500):
        (folder / f"{number}.mp3").write_bytes(b"x")
    ended = transcribe("enqueue", "-r", folder, "-q")
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert states(ledger) == {"queued": 2502}


def test_without_redis_it_says_so_in_time_and_exits_with_3(folder, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        monkeypatch.setenv("TRANSCRIBE_REDIS_URL", f"redis://127.0.0.1:{taken.getsockname()[1]}/0")
        for command in (
            ("enqueue", "a.wav", "none.wav"),
            ("status",),
            ("cancel", "--all"),
            ("pause",),
        ):
            began_s = time.monotonic()
            ended = typed(*command)
            assert time.monotonic() - began_s < 2
            assert ended.exit_code == 3
            assert "start Redis, or correct TRANSCRIBE_REDIS_URL" in ended.stderr
            assert "none.wav" not in ended.stderr  # nothing was looked at
            assert ended.stdout == ""


@pytest.mark.parametrize("command", [("enqueue", "a.wav"), ("status",)])
def test_a_redis_that_hangs_is_said_to_be_away_in_time(folder, monkeypatch, command):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a stopped process takes connections
        monkeypatch.setenv("TRANSCRIBE_REDIS_URL", f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began_s = time.monotonic()
        ended = typed(*command)
    assert time.monotonic() - began_s < 2
    assert ended.exit_code == 3
    assert "start Redis, or correct TRANSCRIBE_REDIS_URL" in ended.stderr


# ── enqueue --wait ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def worker(ledger):
    """A thread that does jobs as a worker would; files whose name begins with b are bad."""
    stopped = threading.Event()

    def work():
        while not stopped.wait(0.01):
            claim = ledger.claim("convert", "here", 60)
            if claim is None:
                continue
            path = claim.job.source.path
            ledger.beat(claim, 60, "convert", 1.0, 2.0, 600)
            if path.name.startswith("b"):
                ledger.fail(claim, f"{path.name} has no audio", "NoAudio", None)
            else:
                outputs = (path.with_suffix(".en.srt"),)
                ledger.finish(claim, Outcome(path, "done", outputs, "en", 2.0, 1.0))

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stopped.set()
    thread.join()


def test_waiting_shows_what_run_would_show_and_ends_as_it_would(transcribe, worker, folder):
    ended = transcribe("enqueue", "a.wav", "b.wav", "none.wav", "--wait")
    assert ended.exit_code == 2
    assert f"{folder}/a.en.srt" in ended.stdout
    assert "failed: b.wav has no audio" in ended.stdout
    assert "none.wav does not exist" in ended.stderr
    ended = transcribe("enqueue", "a.wav", "--wait", "--overwrite")
    assert ended.exit_code == 0


def test_waiting_gives_programs_one_outcome_a_file(transcribe, worker, folder):
    found = objects(transcribe("enqueue", "a.wav", "b.wav", "--wait", "--json"))
    by_name = {Path(one["source"]).name: one for one in found}
    assert by_name["a.wav"]["state"] == "done"
    assert by_name["a.wav"]["outputs"] == [f"{folder}/a.en.srt"]
    assert (by_name["b.wav"]["error"], by_name["b.wav"]["exit_code"]) == ("NoAudio", 2)


def test_what_is_done_already_is_not_waited_for(transcribe, ledger, folder):
    (folder / "a.en.srt").write_text("")
    transcribe("enqueue", "a.wav")
    end_all(ledger, outputs=(folder / "a.en.srt",), duration_s=2.0)
    ended = transcribe("enqueue", "a.wav", "--wait")
    assert ended.exit_code == 0
    assert "a.en.srt" in ended.stdout


# ── status ───────────────────────────────────────────────────────────────────────────────────


def test_the_status_shows_jobs_in_the_order_of_their_interest(transcribe, ledger, folder):
    transcribe("enqueue", "a.wav", "b.wav")
    fail_all(ledger)
    shutil.copyfile(CLIP, folder / "c.wav")
    transcribe("enqueue", "c.wav")
    title, *rows = transcribe("status").stdout.splitlines()
    assert title.startswith("id")
    assert [row.split()[1:3] for row in rows[:1]] == [["c.wav", "queued"]]
    assert {row.split()[1] for row in rows[1:3]} == {"a.wav", "b.wav"}
    assert rows[4] == "1 queued, 2 failed"
    _, row, *_ = transcribe("status", "--limit", "1", "--state", "failed").stdout.splitlines()
    assert row.endswith("it has no audio")
    found = json.loads(transcribe("status", "--json", "--state", "failed").stdout)
    assert {job["reason"] for job in found["jobs"]} == {"it has no audio"}
    assert found["forecast"]["takes_s"] is None


def test_one_job_is_shown_by_the_first_characters_of_its_id(transcribe, ledger, folder):
    (job_id,) = ids(transcribe("enqueue", "a.wav"))
    ended = transcribe("status", job_id[:6].upper())
    assert ended.exit_code == 0
    assert f"file       {folder}/a.wav" in ended.stdout
    assert "accepted" in ended.stdout
    found = json.loads(transcribe("status", job_id, "--json").stdout)
    assert found["job"]["state"] == "queued"
    assert found["history"][0]["what"] == "accepted"


def test_an_id_that_is_none_or_several_is_told(transcribe, ledger, folder):
    for number in range(20):
        (folder / f"{number}.mp3").write_bytes(b"x")
    listed = ids(transcribe("enqueue", "-r", folder))
    first = [one[0] for one in listed]
    several = max(first, key=first.count)
    ended = transcribe("status", several)
    assert ended.exit_code == 2
    assert f"the ids of {first.count(several)} jobs" in ended.stderr
    ended = transcribe("cancel", "no such id")
    assert ended.exit_code == 2
    assert "No job's id begins with" in ended.stderr


# ── retry, cancel, forget, pause, resume ─────────────────────────────────────────────────────


def test_jobs_are_cancelled_taken_up_again_and_forgotten(transcribe, ledger, redis_server, folder):
    first, second = ids(transcribe("enqueue", "a.wav", "b.wav"))
    ended = transcribe("cancel", first)
    assert (ended.exit_code, ended.stdout) == (0, f"{first}  cancelled\n")
    assert states(ledger) == {"queued": 1, "cancelled": 1}
    redis_server.client.delete(CONVERT_BELL)
    assert transcribe("retry", first[:8]).exit_code == 0
    assert states(ledger) == {"queued": 2}
    assert redis_server.client.llen(CONVERT_BELL) == 1
    assert transcribe("cancel", "--all").exit_code == 0
    assert transcribe("forget", first, second).exit_code == 0
    assert states(ledger) == {}


def test_a_running_job_hears_that_it_is_cancelled(transcribe, ledger, folder):
    (job_id,) = ids(transcribe("enqueue", "a.wav"))
    claim = ledger.claim("convert", "here", 60)
    assert transcribe("cancel", job_id).exit_code == 0
    assert ledger.beat(claim, 60, "convert", 1.0, None, 600) == "cancelled"


def test_all_in_a_state_can_be_meant(transcribe, ledger, folder):
    transcribe("enqueue", "a.wav")
    fail_all(ledger)
    transcribe("enqueue", "b.wav")
    end_all(ledger)
    assert transcribe("forget", "--state", "done").exit_code == 0
    assert states(ledger) == {"failed": 1}
    assert transcribe("retry", "--state", "failed").exit_code == 0
    assert states(ledger) == {"queued": 1}


def test_many_jobs_are_told_as_one_number(transcribe, ledger, folder):
    for number in range(30):
        transcribe("enqueue", "a.wav", "--name", f"{{stem}}-{number}.{{format}}")
    ended = transcribe("cancel", "--all")
    assert (ended.exit_code, ended.stdout) == (0, "30 jobs cancelled\n")
    ended = transcribe("forget", "--state", "cancelled", "--json")
    assert len(objects(ended)) == 30


def test_what_ended_long_ago_can_be_forgotten(transcribe, ledger, folder):
    old, young = ids(transcribe("enqueue", "a.wav", "b.wav"))
    ahead = Ledger(ledger._redis, ahead_s=lambda: -31 * 86400.0)  # then
    ahead.cancel(ledger.find(old))
    transcribe("cancel", young)
    assert transcribe("forget", "--ended-before", "32d").stdout.startswith("No job is")
    assert states(ledger) == {"cancelled": 2}
    ended = transcribe("forget", "--state", "done", "--ended-before", "30d")
    assert states(ledger) == {"cancelled": 2}
    ended = transcribe("forget", "--ended-before", "30d")
    assert (ended.exit_code, ended.stdout) == (0, f"{old}  forgotten\n")
    assert states(ledger) == {"cancelled": 1}
    assert transcribe("forget", "--ended-before", "0s").exit_code == 0
    assert states(ledger) == {}


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1y", "1 week", ""])
def test_an_age_that_is_none_is_refused(transcribe, folder, age):
    ended = transcribe("forget", "--ended-before", age)
    assert ended.exit_code == 2
    assert "30d" in ended.stderr


def test_an_id_and_an_age_are_not_mixed(transcribe, ledger, folder):
    (job_id,) = ids(transcribe("enqueue", "a.wav"))
    ended = transcribe("forget", job_id, "--ended-before", "1d")
    assert ended.exit_code == 2
    assert states(ledger) == {"queued": 1}


def test_what_makes_no_sense_is_told_and_the_rest_is_done(transcribe, ledger, folder):
    first, second = ids(transcribe("enqueue", "a.wav", "b.wav"))
    transcribe("cancel", first)
    ended = transcribe("cancel", first, second, "--json")
    assert ended.exit_code == 2
    found = {one["id"][:10]: one for one in objects(ended)}
    assert (found[first]["changed"], found[second]["changed"]) == (False, True)
    assert "is cancelled: only jobs that are queued or running" in found[first]["reason"]
    assert states(ledger) == {"cancelled": 2}
    assert transcribe("retry").exit_code == 2
    ended = transcribe("cancel", "--all")
    assert (ended.exit_code, ended.stdout) == (0, "No job is queued or running.\n")


def test_a_paused_queue_begins_nothing_until_it_is_resumed(transcribe, ledger, folder):
    transcribe("enqueue", "a.wav")
    assert transcribe("pause").exit_code == 0
    assert ledger.claim("convert", "here", 60) is None
    assert "Paused" in transcribe("status").stdout
    assert transcribe("resume").exit_code == 0
    assert ledger.claim("convert", "here", 60) is not None
