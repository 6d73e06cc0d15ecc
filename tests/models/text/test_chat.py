from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from models.text.address import address_of
from models.text.chat import connect, nothing
from models.text.wire import Patience
from pipeline.errors import BadOption, ModelUnavailable, OutOfMemory, TextEngineFailed
from pipeline.types import TextRequest
from tests.models.text.llm_server import (
    EVENTS,
    LINES,
    Said,
    events,
    llama_cpp,
    lm_studio,
    objects,
    old_llama_cpp,
    ollama,
    other,
    serving,
    vllm,
)

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
ASKED = TextRequest("Summarise.", "hello the", 200)
BY_SCHEMA = replace(ASKED, schema=json.dumps(SCHEMA))
QUICK = Patience(
    connect_s=2, silence_s=2, total_s=4, answer_bytes=1 << 20, pauses_s=(0.01, 0.01), beat_s=0.02
)
KINDS = {
    llama_cpp: ("llama.cpp", "qwen3-4b.gguf", 8192),
    old_llama_cpp: ("llama.cpp", "qwen3-4b.gguf", 8192),
    ollama: ("Ollama", "llama3.2:latest", 16_384),
    vllm: ("vLLM", "Qwen/Qwen3-8B", 40_960),
    lm_studio: ("LM Studio", "qwen3-8b", 12_288),
    other: ("OpenAI's API", "mystery", 4096),
}
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
known_kinds = pytest.mark.parametrize(
    "kind", [llama_cpp, ollama, vllm, lm_studio], ids=lambda kind: kind.__name__
)


def engine_of(server, *, name="", tokens=None, key=None, patience=QUICK):
    return connect(address_of(server.url + name, key), tokens, patience)


# ── who is there ─────────────────────────────────────────────────────────────────────────────


@every_kind
def test_a_server_is_found_out_by_asking(kind):
    with serving(kind) as server:
        found = engine_of(server).description
    name, model, tokens = KINDS[kind]
    assert (found.model, found.context_tokens, found.home) == (model, tokens, server.url)
    assert f"{model} on {name} at {server.url}: {tokens} tokens" in found.reason
    assert found.follows_schemas == (kind is not other)


@every_kind
def test_an_address_may_end_as_clients_of_openai_want_it(kind):
    with serving(kind) as server:
        assert engine_of(server, name="/v1/").description.model == KINDS[kind][1]


@every_kind
def test_the_context_may_be_limited(kind):
    with serving(kind) as server:
        assert engine_of(server, tokens=3000).description.context_tokens == 3000


def test_ollama_gives_no_more_than_the_model_has():
    with serving(ollama) as server:
        assert engine_of(server, tokens=200_000).description.context_tokens == 131_072


def test_a_model_that_lm_studio_must_load_first_is_given_its_default_context():
    with serving(lm_studio("not-loaded")) as server:
        found = engine_of(server).description
    assert found.context_tokens == 4096
    assert "not loaded yet" in found.reason


def test_a_model_is_named_behind_the_address():
    with serving(ollama) as server:
        assert engine_of(server, name="#llama3.2").description.model == "llama3.2:latest"


def test_a_model_that_is_not_there_is_answered_with_those_that_are():
    with (
        serving(ollama) as server,
        pytest.raises(ModelUnavailable, match=r"no model phi: .*has llama3\.2:latest"),
    ):
        engine_of(server, name="#phi")


def test_of_several_models_one_must_be_named():
    routes, unknown = vllm()
    models = [{"id": name, "max_model_len": 4096} for name in ("one", "two")]
    routes["GET /v1/models"] = Said({"object": "list", "data": models})
    with (
        serving((routes, unknown)) as server,
        pytest.raises(ModelUnavailable, match="several models: .*#one.*it has one, two"),
    ):
        engine_of(server)


def test_the_model_that_ollama_runs_already_is_taken():
    with serving(ollama(running=["phi4:latest"])) as server:
        assert engine_of(server).description.model == "phi4:latest"


def test_a_server_without_models_says_so():
    routes, unknown = ollama()
    routes["GET /api/tags"] = Said({"models": []})
    with (
        serving((routes, unknown)) as server,
        pytest.raises(ModelUnavailable, match="Ollama has no language model yet"),
    ):
        engine_of(server)


def test_a_key_is_sent_and_never_shown():
    with serving(vllm) as server:
        engine = engine_of(server, key="s3cret")
        engine.answer(ASKED, nothing)
    assert {asked.key for asked in server.asked} == {"Bearer s3cret"}
    assert "s3cret" not in repr(engine.description) + repr(engine._address)


def test_a_server_that_wants_a_key_is_told_so():
    refusal = Said({"error": {"message": "Invalid API Key", "code": 401}}, status=401)
    with (
        serving(({}, refusal)) as server,
        pytest.raises(TextEngineFailed, match="401 Unauthorized: Invalid API Key.*_LLM_KEY"),
    ):
        engine_of(server)


def test_a_web_server_is_no_language_model():
    page = Said(b"<html>hello</html>", content_type="text/html")
    with (
        serving(({}, page)) as server,
        pytest.raises(TextEngineFailed, match="no server of language models"),
    ):
        engine_of(server)


def test_a_model_that_is_still_loaded_is_waited_for():
    routes, unknown = llama_cpp()
    answers = iter(
        [Said({"error": {"message": "Loading model"}}, status=503), routes["GET /props"]]
    )
    routes["GET /props"] = lambda _: next(answers)
    with serving((routes, unknown)) as server:
        assert engine_of(server).description.context_tokens == 8192


def test_a_server_that_is_only_busy_is_not_taken_for_another():
    busy = Said({"error": "overloaded"}, status=503)
    with (
        serving(({}, busy)) as server,
        pytest.raises(TextEngineFailed, match="503 Service Unavailable: overloaded"),
    ):
        engine_of(server)


@pytest.mark.parametrize(
    "where",
    ["http://", "http://host:99999", "http://[::1", "ftp://host", "http://a b", "http://h\n.de"],
)
def test_what_is_no_address_is_refused(where):
    with pytest.raises(BadOption, match="is no address"):
        address_of(where)


@pytest.mark.parametrize("where", ["http://me:secret@host", "http://host/?key=secret"])
def test_an_address_with_a_secret_is_refused_without_showing_it(where):
    with pytest.raises(BadOption, match="TRANSCRIBE_LLM_KEY") as caught:
        address_of(where)
    assert "secret" not in str(caught.value)


def test_an_address_is_shown_as_it_was_given():
    for where in ("http://localhost:11434", "https://llm.example/base", "http://[::1]:8080"):
        assert str(address_of(f"{where}/v1#m")) == where


# ── what is asked and answered ───────────────────────────────────────────────────────────────


@every_kind
def test_an_answer_is_put_together(kind):
    with serving(kind) as server:
        answer = engine_of(server).answer(ASKED, nothing)
    assert answer.text == "one two"
    assert (answer.prompt_tokens, answer.answer_tokens, answer.is_cut) == (47, 20, False)


@known_kinds
def test_an_answer_that_hit_its_limit_says_so(kind):
    cut = objects("one", ending="length") if kind is ollama else events("one", ending="length")
    with serving(kind, cut) as server:
        assert engine_of(server).answer(ASKED, nothing).is_cut


@every_kind
def test_the_likeliest_answer_is_asked_for_by_the_schema(kind):
    with serving(kind) as server:
        engine_of(server).answer(BY_SCHEMA, nothing)
    [asked] = server.chats()
    body = asked.body
    assert body["messages"] == [
        {"role": "system", "content": "Summarise."},
        {"role": "user", "content": "hello the"},
    ]
    assert body["stream"] is True
    if kind is ollama:
        options = {"num_ctx": 16_384, "num_predict": 200, "temperature": 0, "seed": 1}
        assert (body["options"], body["format"]) == (options, SCHEMA)
        assert (body["truncate"], body["shift"]) == (False, False)
        assert "think" not in body
        return
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0, 1, 200)
    assert ("cache_prompt" in body) == (KINDS[kind][0] == "llama.cpp")
    form = {"name": "answer", "strict": True, "schema": SCHEMA}
    wanted = None if kind is other else {"type": "json_schema", "json_schema": form}
    assert body.get("response_format") == wanted


def test_a_model_that_can_think_aloud_is_told_not_to():
    with serving(ollama(capabilities=["completion", "thinking"])) as server:
        engine_of(server).answer(ASKED, nothing)
    assert server.chats()[0].body["think"] is False


@pytest.mark.parametrize(
    ("kind", "tokens", "path"),
    [
        (llama_cpp, 47, "/v1/chat/completions/input_tokens"),
        (old_llama_cpp, 7, "/tokenize"),
        (vllm, 47, "/tokenize"),
        (ollama, 19 + 128, None),
        (lm_studio, 19 + 128, None),
        (other, 19 + 128, None),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_tokens_are_counted_by_the_server_or_bounded_by_bytes(kind, tokens, path):
    with serving(kind) as server:
        engine = engine_of(server)
        before = len(server.asked)
        assert engine.count_tokens(BY_SCHEMA) == tokens
        assert [asked.path for asked in server.asked[before:]][-1:] == ([path] if path else [])


def test_what_may_not_fit_is_refused_where_it_could_be_cut_silently():
    with serving(lm_studio) as server:
        engine = engine_of(server)
        with pytest.raises(TextEngineFailed, match="may not fit into the 12288"):
            engine.answer(replace(ASKED, user="ж" * 6000), nothing)
        assert server.chats() == []


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_in_a_field_of_their_own_are_dropped(name):
    said = events("one", thoughts=["let me see", "…"], name=name)
    with serving(vllm, said) as server:
        assert engine_of(server).answer(ASKED, nothing).text == "one"


def test_thoughts_in_the_answer_are_dropped():
    with serving(lm_studio, events("<think>\nlet me", " see</think>\n\n{", "}")) as server:
        assert engine_of(server).answer(ASKED, nothing).text == "{}"


def test_a_model_that_only_thinks_has_failed():
    said = objects("<think>let me see", ending="length")
    with (
        serving(ollama, said) as server,
        pytest.raises(TextEngineFailed, match="empty answer: it thought until"),
    ):
        engine_of(server).answer(ASKED, nothing)


# ── faults ───────────────────────────────────────────────────────────────────────────────────

FAULTS = {
    "empty": (events(), "empty answer"),
    "nothing at all": (Said(content_type=EVENTS), "broke off in the middle"),
    "garbage": (Said(b"\x00\xff" * 999 + b"\n", content_type=EVENTS), "not .*stream of events"),
    "no JSON": (Said(b"data: {oops\n\n", content_type=EVENTS), "no JSON"),
    "deep JSON": (Said(b"data: " + b"[" * 99_999 + b"\n", content_type=EVENTS), "no JSON"),
    "other JSON": (Said(b"data: [1]\n\n", content_type=EVENTS), "another kind"),
    "odd JSON": (
        Said(b'data: {"choices":[{"delta":7},3],"usage":9}\n\n', content_type=EVENTS),
        "broke off",
    ),
    "a page": (Said(b"<html>", content_type="text/html"), "with text/html, no stream"),
    "no stream": (Said({"choices": []}), "with application/json, no stream"),
    "10 MB": (Said(b"data: ", content_type=EVENTS, endless=b"x" * 65_536), "more than 1048576"),
    "cut": (replace(events("one"), body=b'data: {"choices":[]}\n\n', is_cut=True), "broke off"),
    "redirect": (
        Said(status=307, headers={"Location": "http://evil.example/"}),
        "sends us on to http://evil.example/, which is not followed",
    ),
    "an error in the stream": (
        Said(b'data: {"error":{"message":"the engine died"}}\n\n', content_type=EVENTS),
        "gave up: the engine died",
    ),
    "400": (Said({"error": {"message": "bad schema"}}, status=400), "400 Bad Request: bad schema"),
    "404": (Said({"error": "model 'x' not found"}, status=404), "404 Not Found: model 'x' not"),
    "422": (Said({"object": "error", "message": "no"}, status=422), "422 .*: no"),
    "escapes": (Said(b"\x1b[31mred\x1b[0m\nand more", status=400), r": \[31mred\[0m and more"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told(fault):
    said, words = FAULTS[fault]
    with serving(llama_cpp, *[said] * 9) as server:
        engine = engine_of(server)
        with pytest.raises(TextEngineFailed, match=words):
            engine.answer(ASKED, nothing)
        assert len(server.chats()) <= 3


@pytest.mark.parametrize(
    "fault",
    [
        Said(b'{"error":"llama runner process has terminated"}\n', content_type=LINES),
        Said(b"oops\n", content_type=LINES),
        Said(b'{"message":{"content":"one"},"done":false}\n', content_type=LINES),
        Said(b'{"message":7}\n[]\n', content_type=LINES),
    ],
)
def test_ollama_s_faults_are_told(fault):
    with serving(ollama, *[fault] * 9) as server:
        engine = engine_of(server)
        with pytest.raises(TextEngineFailed):
            engine.answer(ASKED, nothing)


def test_a_server_that_is_not_there_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        where = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TextEngineFailed, match=f"at {where} is not there .*start it"):
            connect(address_of(where), None, QUICK)


def test_what_speaks_no_http_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            with suppress(OSError):  # the end of the test
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(999)
                        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        where = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(TextEngineFailed, match="does not speak HTTP"):
            connect(address_of(where), None, QUICK)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_what_may_pass_is_tried_again(status):
    with serving(vllm, Said(status=status), Said(status=status)) as server:
        assert engine_of(server).answer(ASKED, nothing).text == "one two"
        assert len(server.chats()) == 3


@pytest.mark.parametrize("fault", [Said(status=500), Said(b"", content_type=EVENTS, is_cut=True)])
def test_what_does_not_pass_is_given_up_after_as_many_tries_as_allowed(fault):
    with serving(vllm, *[fault] * 99) as server:
        engine = engine_of(server)
        with pytest.raises(TextEngineFailed):
            engine.answer(ASKED, nothing)
        assert len(server.chats()) == 1 + len(QUICK.pauses_s)


def test_the_pause_that_a_server_asks_for_is_kept_but_not_any():
    busy = Said(status=429, headers={"Retry-After": "86400"})
    with serving(vllm, busy) as server:
        engine = engine_of(server, patience=replace(QUICK, longest_pause_s=0.3))
        began_s = time.monotonic()
        assert engine.answer(ASKED, nothing).text == "one two"
        assert 0.3 <= time.monotonic() - began_s < 2


def test_a_model_that_does_not_fit_there_is_a_lack_of_memory():
    words = "model requires more system memory (5.6 GiB) than is available (3.1 GiB)"
    with serving(ollama, *[Said({"error": words}, status=500)] * 9) as server:
        engine = engine_of(server)
        with pytest.raises(OutOfMemory, match="requires more system memory"):
            engine.answer(ASKED, nothing)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Said(b"", content_type=EVENTS, silent=True), "was silent for 0.2 s"),
        (
            Said(b"", content_type=EVENTS, endless=b": still here\n\n", pause_s=0.02),
            "was not done after 0.5 s",
        ),
        (Said(b"", content_type=EVENTS, endless=b"x", pause_s=0.02), "was not done after 0.5 s"),
    ],
)
def test_silence_and_endless_drips_come_to_an_end(said, words):
    patience = replace(QUICK, silence_s=0.2, total_s=0.5)
    with serving(vllm, said) as server:
        engine = engine_of(server, patience=patience)
        with pytest.raises(TextEngineFailed, match=words):
            engine.answer(ASKED, nothing)
        assert server.left.wait(5)
        assert len(server.chats()) == 1


def test_whoever_waits_is_heeded_and_the_line_is_cut():
    calls = []

    def heed():
        calls.append(time.monotonic())
        if len(calls) == 5:
            raise InterruptedError

    with serving(vllm, Said(b"", content_type=EVENTS, silent=True)) as server:
        engine = engine_of(server)
        with pytest.raises(InterruptedError):
            engine.answer(ASKED, heed)
        assert server.left.wait(5)
    assert calls[-1] - calls[0] < 1


def test_between_two_tries_whoever_waits_is_heeded():
    calls = []

    def heed():
        calls.append(1)
        if len(calls) > 5:
            raise InterruptedError

    with serving(vllm, *[Said(status=503)] * 9) as server:
        engine = engine_of(server, patience=replace(QUICK, pauses_s=(60,), total_s=99))
        with pytest.raises(InterruptedError):
            engine.answer(ASKED, heed)
