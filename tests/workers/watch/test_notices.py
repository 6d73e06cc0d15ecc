"""Others are told how files ended, in turn, in the background, and nobody waits for them."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from pipeline import codec
from pipeline.errors import BadOption, TranscribeError
from pipeline.types import Outcome
from workers.watch.notices import Command, Notices, command

PATIENCE_S = 20.0
DONE = Outcome(Path("/media/talk.mp4"), "done", (Path("/media/talk.en.srt"),), language="en")


def outcome(number):
    return Outcome(Path(f"/media/{number}.mp4"), "done")


class Scripted:
    """A teller that does what it is told to, and remembers what it was given."""

    def __init__(self, act=lambda outcome, pause: None):
        self.act = act
        self.told = []

    def tell(self, outcome, pause):
        self.act(outcome, pause)
        self.told.append(outcome)


# ── the queue ────────────────────────────────────────────────────────────────────────────────


def test_every_teller_is_told_of_all_in_order():
    one, two, remarks = Scripted(), Scripted(), []
    notices = Notices((one, two), remarks.append)
    told = [outcome(number) for number in range(50)]
    for each in told:
        notices.tell(each)
    notices.close(PATIENCE_S)
    assert (one.told, two.told, remarks) == (told, told, [])


def test_what_fails_is_a_remark_and_the_next_is_told():
    def act(outcome, pause):
        if "0" in outcome.source.name:
            raise TranscribeError("nobody listens")
        if "1" in outcome.source.name:
            raise ZeroDivisionError

    teller, remarks = Scripted(act), []
    notices = Notices((teller,), remarks.append)
    for number in range(3):
        notices.tell(outcome(number))
    notices.close(PATIENCE_S)
    assert teller.told == [outcome(2)]
    assert remarks == [
        "nobody listens",
        "Nobody was told of /media/1.mp4: internal error ZeroDivisionError().",
    ]


def hanging(begun, over):
    def hang(outcome, pause):
        begun.set()
        over.wait(PATIENCE_S)

    return Scripted(hang)


def test_a_teller_that_hangs_delays_neither_work_nor_others():
    begun, over, all_told = threading.Event(), threading.Event(), threading.Event()
    quick = Scripted(lambda outcome, pause: outcome.source.stem == "3" and all_told.set())
    slow, remarks = hanging(begun, over), []
    notices = Notices((slow, quick), remarks.append)
    for number in range(4):
        notices.tell(outcome(number))
    assert begun.wait(PATIENCE_S)
    assert all_told.wait(PATIENCE_S)
    notices.close(0.1)
    assert remarks == ["4 notices were not passed on in time."]
    over.set()


def test_too_many_that_wait_are_dropped_with_a_remark():
    begun, over = threading.Event(), threading.Event()
    slow, remarks = hanging(begun, over), []
    notices = Notices((slow,), remarks.append, most=2)
    notices.tell(outcome(0))
    assert begun.wait(PATIENCE_S)
    for number in range(1, 4):
        notices.tell(outcome(number))
    assert remarks == ["2 notices wait already, so nobody is told of /media/3.mp4."]
    over.set()
    notices.close(PATIENCE_S)
    assert slow.told == [outcome(0), outcome(1), outcome(2)]


def test_whoever_waits_to_try_again_gives_up_when_the_time_is_over():
    begun, gave_up = threading.Event(), []
    ended = threading.Event()

    def wait(outcome, pause):
        begun.set()
        gave_up.append(pause(PATIENCE_S))
        ended.set()
        raise TranscribeError("still nobody")

    remarks = []
    notices = Notices((Scripted(wait),), remarks.append)
    notices.tell(DONE)
    assert begun.wait(PATIENCE_S)
    notices.close(0.0)
    assert ended.wait(PATIENCE_S / 2)
    assert gave_up == [True]
    assert "1 notice was not passed on in time." in remarks


def test_closing_without_anything_to_tell_takes_no_time():
    Notices((Scripted(),), print).close(PATIENCE_S)


# ── a command ────────────────────────────────────────────────────────────────────────────────


def never(_):
    raise AssertionError("a command is not tried again")


def script(tmp_path, text):
    path = tmp_path / "on done.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Command((str(path),), limit_s=PATIENCE_S)


def test_a_command_is_given_the_outcome(tmp_path):
    told = script(tmp_path, 'cat > "$0.json"; env > "$0.env"')
    told.tell(DONE, never)
    (given,) = tmp_path.glob("*.json")
    assert codec.loads(given.read_text(), Outcome) == DONE
    said = given.with_suffix(".env").read_text().splitlines()
    assert "TRANSCRIBE_STATE=done" in said
    assert "TRANSCRIBE_SOURCE=/media/talk.mp4" in said
    assert "TRANSCRIBE_OUTPUTS=/media/talk.en.srt" in said
    assert "TRANSCRIBE_LANGUAGE=en" in said
    assert "TRANSCRIBE_REASON=" in said
    assert f"PATH={os.environ['PATH']}" in said  # and all that we have ourselves


def test_names_reach_a_command_byte_by_byte(tmp_path):
    source = Path(os.fsdecode(b"/media/caf\xe9\n$(touch x).mp4"))
    told = script(tmp_path, 'printf %s "$TRANSCRIBE_SOURCE" > "$0.txt"; cat > "$0.json"')
    told.tell(Outcome(source, "failed", reason="none"), never)
    assert (tmp_path / "on done.sh.txt").read_bytes() == os.fsencode(source)
    assert json.loads((tmp_path / "on done.sh.json").read_text())["source"] == str(source)


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path):
    told = script(tmp_path, "echo one >&2; echo no mail server. >&2; exit 3")
    with pytest.raises(TranscribeError) as caught:
        told.tell(DONE, never)
    assert str(caught.value) == (
        f"--on-done: {tmp_path}/on done.sh, told of /media/talk.mp4, "
        "ended with exit code 3: no mail server."
    )


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path):
    fifo = tmp_path / "life"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    told = script(tmp_path, f'exec 3> "{fifo}"; echo begun >&3; sleep 100 & wait')
    with pytest.raises(TranscribeError, match="took longer than 1 s"):
        Command(told.words, limit_s=1.0).tell(DONE, never)
    os.set_blocking(reader, True)
    assert os.read(reader, 100) == b"begun\n"
    assert os.read(reader, 100) == b""  # the end: nobody holds it open any more
    os.close(reader)


def test_a_command_that_leaves_something_running_keeps_nobody_waiting(tmp_path):
    told = script(tmp_path, 'sleep 60 & echo $! > "$0.pid"')
    told.tell(DONE, never)
    os.kill(int((tmp_path / "on done.sh.pid").read_text()), 9)


def test_a_command_that_does_not_read_what_it_is_given_is_fine():
    Command(("true",)).tell(Outcome(Path("/x.mp3"), "failed", reason="long " * 50_000), never)


def test_the_words_of_a_command_are_a_shells_without_a_shell():
    assert command("printf '%s now' \"a b\"").words == ("printf", "%s now", "a b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no such program"),
        ("no-such-program-here x", "there is no such program"),
        ("echo 'a", "No closing quotation: check the quotes"),
    ],
)
def test_a_command_that_cannot_be_is_refused_at_once(text, reason):
    with pytest.raises(BadOption, match=reason):
        command(text)
