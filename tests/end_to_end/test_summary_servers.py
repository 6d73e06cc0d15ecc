"""Language models' servers at their worst: the subtitles are never at risk.

One run of the real program hears some recordings, and has each summed up by a server that
misbehaves in a way of its own; a second run, with the server well, makes the missing summaries.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from models.demo import clips
from tests.end_to_end.test_summaries import CHAT, DEMO, request_of, writer
from tests.models.text import llm_server
from tests.models.text.llm_server import Said, events, serving
from tests.pipeline.summaries.scripted_engine import GARBAGE, WRONG_SCHEMA, data_of, own_answer

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = "1.5"
SLOW_S = 1.0
_LETTERS = re.compile(r"[a-z]+")


def stream(data=b"", **how):
    return Said(data, content_type=llm_server.EVENTS, **how)


def large(body):
    """Ten megabytes in one answer, and honest at that."""
    answer = json.loads(own_answer(request_of(body)))
    return events(json.dumps({**answer, "abstract": "so many words " * 750_000}))


FAULTS = {
    "drips": (stream(endless=b":", pause_s=0.2), "was not done after 1.5 s"),
    "silent": (stream(silent=True), "was silent for 1.5 s"),
    "429": (Said(status=429, headers={"Retry-After": "1"}), "HTTP 429 Too Many Requests"),
    "500": (Said({"error": {"message": "it broke"}}, status=500), "HTTP 500 .*: it broke"),
    "empty": (events(""), "gave an empty answer"),
    "garbage": (events(GARBAGE), "none of its answers is usable"),
    "wrong schema": (events(WRONG_SCHEMA), "none of its answers is usable"),
    "10 MB": (large, "none of its answers is usable"),
    "dies": (stream(events("{").data[:99], is_cut=True), "broke off"),
}
WELL = ("slow to begin", "well")


def letters(text):
    return "".join(_LETTERS.findall(text.lower()))


def spoken_in(srt):
    return letters("".join(line for line in srt.splitlines() if "-->" not in line))


class Town:
    """A server that behaves to each recording as its name says."""

    def __init__(self, folder, server):
        self.folder = folder
        self.server = server
        self.honest = server.routes[CHAT]
        self.is_well = False
        self.stem = ""  # of the recording that is asked about
        self.srts_at_chats = []
        server.routes[CHAT] = self.answer

    def answer(self, body):
        said = letters(data_of(request_of(body)))
        srts = {path: path.read_text() for path in self.folder.glob("*.srt")}
        self.srts_at_chats.append(len(srts))
        whole = (path.name.split(".")[0] for path in srts if spoken_in(srts[path]) == said)
        self.stem = next(whole, self.stem)  # a half follows its whole
        if self.stem == "slow to begin":
            self.server.go.wait(SLOW_S)
        if self.stem in WELL or self.is_well:
            return self.honest(body)
        fault = FAULTS[self.stem][0]
        return fault(body) if callable(fault) else fault


@dataclass(frozen=True, slots=True)
class Days:
    """Two runs: the server misbehaves, then is well."""

    folder: Path
    bad: object
    good: object
    after_bad: dict  # names and when they were written
    after_good: dict
    srts_at_chats: tuple
    retry_chats: int


def written(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def record(folder):
    """Each clip, and what is said last in it: no two recordings are alike."""
    parts = [(clip, begin) for clip in clips() for begin in (0.0, clip.segments[-1].start_s)]
    for name, (clip, begin) in zip((*FAULTS, *WELL), parts, strict=False):
        cut = ("-v", "error", "-ss", str(begin), "-i", clip.path, "-vn", "-ac", "1")
        subprocess.run(["ffmpeg", *cut, folder / f"{name}.wav"], check=True, timeout=60)


@pytest.fixture(scope="module")
def days(tmp_path_factory, new_program):
    home = tmp_path_factory.mktemp("servers")
    folder = home / "media"
    folder.mkdir()
    record(folder)
    program = new_program(home / "home", folder)
    media = sorted(path.name for path in folder.iterdir())
    with serving(writer) as server:
        town = Town(folder, server)
        told = {"TRANSCRIBE_LLM_PATIENCE": PATIENCE_S}
        command = (*DEMO, "--summary", "--llm", server.url, "--json", *media)
        bad, after_bad = program.run(*command, **told), written(folder)
        chats, town.is_well = tuple(town.srts_at_chats), True
        before = len(server.chats())
        good, after_good = program.run(*command, **told), written(folder)
        retry_chats = len(server.chats()) - before
    return Days(folder, bad, good, after_bad, after_good, chats, retry_chats)


def of(stem, names):
    return {name for name in names if name.startswith(f"{stem}.")}


def whole(stem):
    kinds = ("wav", "en.srt", "summary.md", "summary.json", "chapters.json")
    return {f"{stem}.{kind}" for kind in kinds}


def test_all_subtitles_were_there_before_the_first_question(days):
    assert set(days.srts_at_chats) == {len(FAULTS) + len(WELL)}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_the_summary_and_nothing_else(days, fault):
    outcome = days.bad.outcomes[f"{fault}.wav"]
    assert (outcome["state"], outcome["exit_code"]) == ("done", 3)
    assert re.search(FAULTS[fault][1], outcome["summary_failure"])
    assert "\n" not in outcome["summary_failure"]
    assert of(fault, days.after_bad) == {f"{fault}.wav", f"{fault}.en.srt"}
    srt = (days.folder / f"{fault}.en.srt").read_text()
    assert srt.startswith("1\n00:00:0")
    assert len(spoken_in(srt)) > 10
    assert srt.endswith("\n")


@pytest.mark.parametrize("stem", WELL)
def test_the_others_have_their_summaries(days, stem):
    assert days.bad.outcomes[f"{stem}.wav"]["exit_code"] == 0
    assert of(stem, days.after_bad) == whole(stem)


@pytest.mark.parametrize("stem", [*FAULTS, *WELL])
def test_the_same_command_makes_only_the_summaries_that_are_missing(days, stem):
    outcome = days.good.outcomes[f"{stem}.wav"]
    assert (outcome["exit_code"], outcome["summary_failure"]) == (0, None)
    assert of(stem, days.after_good) == whole(stem)
    kept = of(stem, days.after_bad)
    assert {name: days.after_good[name] for name in kept} == {
        name: days.after_bad[name] for name in kept
    }


def test_the_program_ends_with_3_then_with_0_and_asks_each_question_once(days):
    assert (days.bad.code, days.good.code) == (3, 0)
    assert days.retry_chats == len(FAULTS)
    assert "Traceback" not in days.bad.out + days.bad.err + days.good.err


def test_a_server_that_dies_for_good_costs_the_summary_and_tells_why_in_one_line(program):
    shutil.copy(clips()[0].path, program.folder)
    with serving(writer) as server:

        def die(_):
            server.shutdown()
            server.server_close()
            return stream(events("{").data[:99], is_cut=True)

        server.routes[CHAT] = die
        told = {"TRANSCRIBE_LLM_PATIENCE": PATIENCE_S}
        ended = program.run(*DEMO, "--summary", "--llm", server.url, "clip1.wav", **told)
    assert ended.code == 3
    (line,) = [line for line in ended.out.splitlines() if "clip1.wav has no summary" in line]
    assert "connection refused" in line or "broke off" in line
    made = sorted(path.name for path in program.folder.iterdir())
    assert made == ["clip1.en.srt", "clip1.wav"]
