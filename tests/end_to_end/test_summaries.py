"""Summaries as a person asks for them: the real program, a real model that hears, a real server.

No language model writes here: the server's answers are scripted, by the schema that it is sent; and
llama.cpp itself runs a model of random weights, which proves the way there and no more.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from models.demo import EPISODE, clips
from pipeline.types import TextRequest
from tests.models.text import llm_server
from tests.models.text.llm_server import Said, events, serving
from tests.models.text.tiny import write_tiny
from tests.pipeline.summaries.scripted_engine import GARBAGE, WRONG_SCHEMA, own_answer, tokens_in
from tests.pipeline.summaries.talks import talk
from tests.pipeline.summaries.test_job import srt_of

CHAT, COUNT = "POST /v1/chat/completions", "POST /v1/chat/completions/input_tokens"
PATIENCE_S, SOON_S = 120.0, 4.0
DEMO = ("--model", "demo", "--language", "en")


def request_of(body):
    """The question that a client's body holds."""
    system, user = (message["content"] for message in body["messages"])
    schema = json.dumps(body["response_format"]["json_schema"]["schema"])
    return TextRequest(system, user, body["max_tokens"], schema)


def tokens_of(body):
    return 24 + sum(tokens_in(message["content"]) for message in body["messages"])


def writer():
    """llama.cpp's server, with a model that answers honestly and counts what it is asked."""
    routes, unknown = llm_server.llama_cpp()
    routes[CHAT] = lambda body: events(own_answer(request_of(body)))
    routes[COUNT] = lambda body: Said({"input_tokens": tokens_of(body)})
    return routes, unknown


@pytest.fixture
def server():
    with serving(writer) as server:
        yield server


def until(condition):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never happened"
        time.sleep(0.02)


def names(program, pattern="*"):
    return sorted(path.name for path in program.folder.glob(pattern))


@pytest.fixture
def srt(program):
    """An hour of talk in subtitles."""
    path = program.folder / "talk.en.srt"
    path.write_text(srt_of(talk(60)))
    return path


# ── media in, subtitles and summaries out ────────────────────────────────────────────────────


def test_all_files_are_heard_then_all_are_summed_up_and_a_refusal_costs_one_summary(
    program, server
):
    for clip in clips()[:2]:
        shutil.copy(clip.path, program.folder)
    there, honest = [], server.routes[CHAT]
    refusals = [Said({"error": {"message": "no such model"}}, status=400)] * 2  # and once more

    def answer(body):
        there.append(names(program, "*.srt"))
        return refusals.pop() if refusals else honest(body)

    server.routes[CHAT] = answer
    command = (*DEMO, "--summary", "--llm", server.url, "--json", "clip1.wav", "clip2.wav")
    ended = program.run(*command)
    assert there == [["clip1.en.srt", "clip2.en.srt"]] * 3
    assert ended.code == 3
    # whichever was heard first is refused
    refused, done = sorted(ended.outcomes.values(), key=lambda one: -one["exit_code"])
    assert (refused["state"], refused["exit_code"]) == ("done", 3)
    assert refused["error"] == "TextEngineFailed"
    assert [path.rpartition(".")[2] for path in refused["outputs"]] == ["srt"]
    assert "no such model" in refused["summary_failure"]
    stem = Path(done["source"]).stem
    assert [path.rpartition("/")[2] for path in done["outputs"]] == [
        f"{stem}.{rest}" for rest in ("en.srt", "summary.md", "summary.json", "chapters.json")
    ]
    summary = json.loads((program.folder / f"{stem}.summary.json").read_text())
    assert summary["provenance"]["engine"]["home"] == server.url
    assert summary["coverage"]["missing"] == []


@pytest.mark.slow
def test_the_same_command_makes_up_for_a_summary_that_failed_and_does_nothing_twice(
    program, server
):
    shutil.copy(clips()[0].path, program.folder)
    server.script.extend([Said({"error": {"message": "no such model"}}, status=400)] * 2)
    command = (*DEMO, "--summary", "--llm", server.url, "-f", "txt", "clip1.wav")
    ended = program.run(*command)
    assert ended.code == 3
    assert "clip1.wav has no summary: The language model at " in ended.out
    assert names(program) == ["clip1.en.txt", "clip1.wav"]

    for how in ("clip1.chapters.json\n", "clip1.chapters.json exist: --overwrite"):
        ended = program.run(*command)
        assert ended.code == 0
        assert "clip1.en.txt exists" in ended.out  # it has no times: what was heard is still known
        assert "clip1.summary.md" in ended.out
        assert how in ended.out
    assert len(server.chats()) == 3


def test_a_typo_in_the_models_name_is_told_before_an_hour_of_hearing(program):
    ended = program.run(*DEMO, "--summary", "--llm", "qwen3-4", EPISODE)
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean qwen3-4b" in ended.err


def test_ctrl_c_while_the_model_is_silent_keeps_what_was_answered(program, server, srt):
    shutil.copy(clips()[0].path, program.folder / "talk.wav")
    silent = Said(b"", content_type=llm_server.EVENTS, silent=True)
    honest, asked = server.routes[CHAT], []

    def answer(body):
        asked.append(body)
        return silent if len(asked) == 3 else honest(body)

    server.routes[CHAT] = answer
    process = program.start(*DEMO, "--summary", "--llm", server.url, "talk.wav")
    until(lambda: len(asked) == 3)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=SOON_S)
    assert process.returncode == 130
    assert "the same command goes on from here" in said
    assert server.left.wait(SOON_S)  # it need not write for nobody
    assert names(program) == ["talk.en.srt", "talk.wav"]
    assert len(list(program.home.glob("jobs/*/notes-*.json"))) == 2


# ── transcripts that exist ───────────────────────────────────────────────────────────────────


def test_a_transcript_is_summed_up_with_every_minute_of_it(program, server, srt):
    ended = program.run(
        *("summarise", srt.name, "--llm", server.url, "--style", "meeting"),
        *("--summary-language", "de", "--glossary", "Ada Lovelace", "--summary-format", "md"),
        *("--summary-format", "json", "--summary-format", "chapters.vtt"),
    )
    assert ended.code == 0
    assert names(program, "talk.*") == [
        *("talk.chapters.vtt", "talk.en.srt", "talk.summary.json", "talk.summary.md")
    ]
    summary = json.loads((program.folder / "talk.summary.json").read_text())
    coverage = summary["coverage"]
    assert coverage["covered_s"] == coverage["speech_s"] > 3000
    assert coverage["requests"] == len(server.chats()) > 1
    assert summary["actions"]
    system = server.chats()[0].body["messages"][0]["content"]
    assert "German" in system
    assert "Ada Lovelace" in system


def test_a_run_after_a_crash_asks_only_for_the_rest(program, server, srt):
    silent = Said(b"", content_type=llm_server.EVENTS, silent=True)
    honest, crashed, undisturbed = server.routes[CHAT], [], []

    def answer_two(body):
        crashed.append(body)
        return silent if len(crashed) == 3 else honest(body)

    command = ("summarise", srt.name, "--llm", server.url)
    server.routes[CHAT] = answer_two
    process = program.start(*command)
    until(lambda: len(crashed) == 3)
    process.kill()
    process.communicate(timeout=SOON_S)
    assert names(program) == [srt.name]
    assert len(list(program.home.glob("jobs/*/notes-*.json"))) == 2

    before = len(server.chats())
    server.routes[CHAT] = honest
    assert program.run(*command).code == 0
    rest = [asked.body for asked in server.chats()[before:]]
    assert program.run(*command, "--overwrite").code == 0
    undisturbed = [asked.body for asked in server.chats()[before + len(rest) :]]
    assert undisturbed == [*crashed[:2], *rest]
    assert not list(program.home.glob("jobs/*/notes-*.json"))


def test_a_server_is_told_of_once_for_all_files(program, server, srt):
    other = shutil.copy(srt, srt.with_name("other.en.srt"))
    ended = program.run("summarise", srt.name, Path(other).name, "--llm", server.url)
    assert ended.code == 0
    assert ended.out.count(" on llama.cpp at ") == 1


def test_what_the_environment_says_is_taken_and_its_key_is_sent(program, server, srt):
    told = {"TRANSCRIBE_LLM": server.url, "TRANSCRIBE_LLM_KEY": "secret"}
    ended = program.run("summarise", srt.name, **told)
    assert ended.code == 0
    assert {asked.key for asked in server.asked} == {"Bearer secret"}
    assert "secret" not in ended.out + ended.err


ENDLESS = Said(
    events("{").data.replace(b"data: [DONE]\n\n", b""),
    content_type=llm_server.EVENTS,
    endless=events("x" * 60_000).data.partition(b"data: [DONE]")[0],
)
FAULTS = {
    "garbage": (events(GARBAGE), "none of its answers is usable"),
    "another schema": (events(WRONG_SCHEMA), "none of its answers is usable"),
    "nothing": (events(""), "gave an empty answer"),
    "a page": (Said(b"<html>login</html>", content_type="text/html"), "no stream"),
    "a redirect": (
        Said(b"", status=302, headers={"Location": "http://127.0.0.1:1/"}),
        "sends us on to http://127.0.0.1:1/, which is not followed",
    ),
    "more than anybody reads": (ENDLESS, "sent more than"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_a_server_answers_the_reason_is_told_and_nothing_is_written(program, srt, fault):
    said, reason = FAULTS[fault]
    routes, unknown = writer()
    with serving((routes | {CHAT: said}, unknown)) as server:
        ended = program.run("summarise", srt.name, "--llm", server.url)
    assert ended.code == 3
    assert f"{srt.name} has no summary: " in ended.out
    assert reason in ended.out
    assert "Traceback" not in ended.out + ended.err
    assert names(program) == [srt.name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Said({"error": {"message": "out of order"}}, status=500), "HTTP 500"),
        (Said(b"", status=429, headers={"Retry-After": "1"}), "HTTP 429"),
        (Said(events("{").data[:99], content_type=llm_server.EVENTS, is_cut=True), "broke off"),
    ],
)
def test_what_may_pass_is_asked_for_again_and_then_given_up(program, srt, fault, reason):
    routes, unknown = writer()
    with serving((routes | {CHAT: fault}, unknown)) as server:
        ended = program.run("summarise", srt.name, "--llm", server.url)
        tries = len(server.chats())
    assert ended.code == 3
    assert reason in ended.out
    assert 5 <= tries <= 15
    assert names(program) == [srt.name]


@pytest.mark.slow
def test_a_server_that_is_down_costs_no_subtitles(program):
    shutil.copy(clips()[0].path, program.folder)
    ended = program.run(*DEMO, "--summary", "--llm", "http://127.0.0.1:9", "clip1.wav")
    assert ended.code == 3
    assert (
        "clip1.wav has no summary: The language model's server at http://127.0.0.1:9" in ended.out
    )
    assert names(program) == ["clip1.en.srt", "clip1.wav"]


# ── without a server ─────────────────────────────────────────────────────────────────────────


def test_without_a_model_sentences_are_picked_and_the_way_to_a_model_is_told(program, srt):
    other = shutil.copy(srt, srt.with_name("other.en.srt"))
    ended = program.run("summarise", srt.name, Path(other).name, TRANSCRIBE_OFFLINE="1")
    assert ended.code == 0
    assert ended.out.count("extractive, no LLM: ") == 1
    assert "extractive, no LLM" in Path(other).with_name("other.summary.md").read_text()
    assert "give --llm" in ended.out
    assert "extractive, no LLM" in (program.folder / "talk.summary.md").read_text()


@pytest.mark.slow
def test_llama_cpp_itself_may_write_nonsense_and_nothing_is_at_risk(program):
    """Random weights and a grammar: a summary, if the answer ends in time; else a reason."""
    pytest.importorskip("xllamacpp")
    path = write_tiny(program.folder / "tiny.gguf")
    key = b"llama.context_length\x04\x00\x00\x00"
    short, long = ((key + tokens.to_bytes(4, "little")) for tokens in (2048, 8192))
    path.write_bytes(path.read_bytes().replace(short, long))
    for name in ("talk", "other"):
        (program.folder / f"{name}.en.srt").write_text(srt_of(talk(1)))
    files = ("talk.en.srt", "other.en.srt")
    ended = program.run("summarise", *files, "--llm", "tiny.gguf", "--threads", "1", "--json")
    assert "Traceback" not in ended.out + ended.err
    assert ended.err.count(" on cpu") == 1  # it was loaded once, and why so
    for name, outcome in ended.outcomes.items():
        assert outcome["exit_code"] in (0, 3)
        made = names(program, f"{name.partition('.')[0]}.summary.*")
        assert bool(made) == (outcome["exit_code"] == 0)
