"""Media that move, go or change while they are worked on, and media that come twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.processes import until
from tests.faults.sounds import write_sound
from tests.faults.yard import ROOT, job_for
from workers.connection import connect
from workers.ledger import Ledger
from workers.ledger_records import Entry

SLOW = pytest.mark.slow


def rename(path):
    path.rename(path.with_suffix(".moved"))


def delete(path):
    path.unlink()


def modify(path):
    with path.open("ab") as file:
        file.write(b"\0" * 1000)


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        *(
            pytest.param(stage, change, marks=SLOW)
            for stage, change in [
                ("transcribe", rename),
                ("convert", rename),
                ("convert", delete),
                ("convert", modify),
                ("transcribe", delete),
                ("transcribe", modify),
            ]
        ),
    ],
)
def test_a_file_that_changes_while_it_is_worked_on_fails_and_nothing_is_written(
    yard, stage, change
):
    one = yard.ask("one.wav", 200, "pace=0.1")
    yard.ask("other.wav", 30)
    yard.start(convert_speed=60)
    yard.until_at(one, stage, done_s=20)
    change(one.media)
    yard.expect(one, ends=("failed",), content=None)
    yard.until_ended()
    yard.check()
    record = yard.ledger.record(one.id)
    assert (record.error, record.attempts) == ("SourceChanged", 1)
    assert "worked on" in record.reason


@SLOW
def test_a_file_that_went_away_and_came_back_goes_on_when_it_is_tried_again(yard):
    one = yard.ask("one.wav", 200, "pace=0.1")
    yard.start()
    yard.until_at(one, "transcribe", done_s=20)
    away = one.media.rename(one.media.with_suffix(".away"))
    until(lambda: yard.ledger.record(one.id).state == "failed", "nobody noticed")
    away.rename(one.media)
    assert yard.ledger.retry([one.id]) == (one.id,)
    yard.until_ended()
    yard.check()


def test_the_same_sound_under_other_names_and_in_other_folders_is_heard_once(yard):
    one = yard.ask("one.wav", 60, "pace=0.1")
    folder = yard.media / "folder"
    folder.mkdir()
    for copy, make in (
        (yard.media / "copy.wav", shutil.copy),
        (folder / "one.wav", os.link),
        (folder / "link.wav", os.symlink),
    ):
        make(one.media, copy)
        yard.ask_for(copy, 60, "pace=0.1")
    yard.start()
    yard.until_ended()
    yard.check()
    assert yard.log().count("the same sound as") == 3


@SLOW
def test_a_file_that_is_asked_for_many_times_at_once_is_one_job(yard):
    path = yard.media / "one.wav"
    write_sound(path, 60)
    entry = Entry(job_for(path), "normal", 60)

    def ask(_):
        with connect(yard.redis.url) as redis:
            return Ledger(redis).accept([entry, entry])

    with ThreadPoolExecutor(8) as pool:
        answers = [one for both in pool.map(ask, range(16)) for one in both]
    assert sum(one.is_new for one in answers) == 1
    one = yard.ask_for(path, 60)
    assert {answer.id for answer in answers} == {one.id}
    yard.start()
    yard.until_ended()
    yard.check()
    assert yard.ledger.record(one.id).attempts == 1


@SLOW
def test_two_commands_that_enqueue_the_same_files_at_once_make_one_job_of_each(yard):
    jobs = [yard.ask(f"{number}.wav", 30 + number) for number in range(3)]
    yard.ledger.forget([one.id for one in jobs])
    program = [sys.executable, "-m", "workers.cli", "enqueue", "--json", "--language", "en"]
    environment = {
        **os.environ,
        "TRANSCRIBE_REDIS_URL": yard.redis.url,
        "TRANSCRIBE_HOME": str(yard.home),
        "PYTHONPATH": str(ROOT),
    }
    commands = [
        subprocess.Popen(
            [*program, *(one.media for one in jobs)], env=environment, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    answers = [json.loads(line) for one in commands for line in one.communicate()[0].splitlines()]
    assert sorted(answer["id"] for answer in answers if answer["is_new"]) == sorted(
        one.id for one in jobs
    )
    yard.start()
    yard.until_ended()
    yard.check()
