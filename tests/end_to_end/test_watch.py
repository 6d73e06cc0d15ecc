"""Watched folders as a person sees them: the real program, a real model, real files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time

import pytest
import srt

from models.demo import EPISODE

RECORDINGS = EPISODE.parent
PATIENCE_S = 120.0
QUICK = ("--model", "demo", "--quiet-time", "0.5", "--every", "0.5")


def until(condition):
    """Wait for something that another process does."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def inbox(program):
    folder = program.folder / "in"
    folder.mkdir()
    return folder


def copy(name, folder, target=None):
    return shutil.copy(RECORDINGS / name, folder / (target or name))


def subtitles(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.srt"))}


def test_once_does_what_is_there_and_a_second_time_nothing(program, inbox):
    copy("clip1.wav", inbox)
    (inbox / "show").mkdir()
    copy("clip2.wav", inbox / "show")
    (inbox / "notes.txt").write_text("not media")
    (inbox / "half.mp3.part").write_bytes(b"half")
    (inbox / "broken.mp3").write_text("not media either")
    os.mkfifo(inbox / "pipe.mp3")
    (inbox / "folder.mp3").mkdir()
    (inbox / os.fsdecode(b"caf\xe9.txt")).write_text("latin")
    first = program.run("watch", inbox, "--once", "--json", "--error-files", *QUICK)
    assert first.code == 2, first.err
    assert first.outcomes["clip1.wav"]["state"] == "done"
    assert first.outcomes["clip2.wav"]["state"] == "done"
    assert first.outcomes["broken.mp3"]["error"] == "NotMedia"
    assert len(first.outcomes) == 3
    assert sorted(subtitles(inbox)) == ["clip1.en.srt", "clip2.en.srt"]
    assert "not media" in (inbox / "broken.mp3.error.txt").read_text()

    second = program.run("watch", inbox, "--once", "--json", *QUICK)
    assert (second.code, second.outcomes) == (0, {})
    listed = program.run("status", "--failed")
    assert "broken.mp3 is not media" in " ".join(listed.out.split())


def test_what_is_dropped_while_it_watches_is_done_and_told(program, inbox):
    log = program.folder / "log"
    hook = program.folder / "hook"
    hook.write_text(f'#!/bin/sh\necho "$TRANSCRIBE_STATE $TRANSCRIBE_SOURCE" >> {log}\n')
    hook.chmod(0o755)
    process = program.start("watch", inbox, "--on-done", hook, *QUICK)
    try:
        copy("clip1.wav", inbox)
        until((inbox / "clip1.en.srt").exists)
        copy("clip3.ogg", inbox, "second.ogg")
        until((inbox / "second.en.srt").exists)
        until(lambda: log.exists() and log.read_text().count("\n") == 2)
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert log.read_text().splitlines() == [f"done {inbox}/clip1.wav", f"done {inbox}/second.ogg"]


def test_after_success_media_are_moved_and_nothing_else_is(program, inbox):
    copy("clip1.wav", inbox)
    (inbox / "broken.mp3").write_text("not media")
    archive = program.folder / "archive"
    ended = program.run("watch", inbox, "--once", "--after", f"move:{archive}", *QUICK)
    assert ended.code == 2
    assert sorted(path.name for path in archive.iterdir()) == ["clip1.en.srt", "clip1.wav"]
    assert [path.name for path in inbox.iterdir()] == ["broken.mp3"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--after", "burn"), "write move:DIR or delete"),
        (("--on-done", "no-such-program"), "no such program"),
        (("--webhook", "https://example.org/x"), "TRANSCRIBE_WEBHOOK_SECRET"),
        (("--extensions", ","), "names none"),
        (("--existing", "eat"), "is not one of"),
    ],
)
def test_a_flag_that_makes_no_sense_is_explained(program, inbox, flags, words):
    ended = program.run("watch", inbox, "--once", *flags)
    assert ended.code == 2
    assert words in " ".join(ended.err.split()) + " ".join(ended.out.split())


def test_a_file_instead_of_a_folder_is_explained(program, inbox):
    ended = program.run("watch", copy("clip1.wav", inbox), "--once")
    assert ended.code == 2
    assert "is a file" in ended.out + ended.err


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))]
)
def test_a_watcher_that_is_killed_at_any_point_loses_and_doubles_nothing(
    program, inbox, new_program, tmp_path, seed
):
    names = ("clip1.wav", "clip3.ogg", "clip5.mp4", "clip6.mp4")
    for name in names:
        copy(name, inbox)
    chance = random.Random(seed)
    for _ in range(4):
        process = program.start("watch", inbox, *QUICK)
        time.sleep(chance.uniform(0.5, 9.0))  # the fault, not a wait
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        assert all(list(srt.parse(text.decode())) for text in subtitles(inbox).values())
    assert program.run("watch", inbox, "--once", *QUICK).code == 0

    other = new_program(tmp_path / "other", tmp_path)
    calm = tmp_path / "calm"
    calm.mkdir()
    for name in names:
        copy(name, calm)
    assert other.run("watch", calm, "--once", *QUICK).code == 0
    assert subtitles(inbox) == subtitles(calm)
    assert {path.name for path in inbox.iterdir()} == {path.name for path in calm.iterdir()}
