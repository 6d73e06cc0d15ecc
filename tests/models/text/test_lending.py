"""Who is lent a language model, and what they are told where there is none."""

from __future__ import annotations

import sys
import weakref
from dataclasses import replace

import pytest

from models.fetch import FetchOptions
from models.memory import Machine
from models.pool import Pool, PoolOptions
from models.text import lending, opening
from models.text.choose_llm import GIB
from pipeline.errors import BadCheckpoint, BadOption, ModelUnavailable, TextEngineFailed
from pipeline.types import SpeechOptions
from tests.models.text import llm_server


@pytest.fixture
def options(tmp_path):
    return PoolOptions(tmp_path, device="cpu", threads=1, fetch=FetchOptions(offline=True))


@pytest.fixture
def notes():
    return []


def machine(gib):
    return lambda _: Machine(gib * GIB, gib * GIB, "test", (), cpu_int8=True)


def borrowed(llm, options, notes, gib=16):
    """The description of what is lent, None for nobody."""
    look = machine(gib)
    with lending.lent(llm, options, notes.append, opening.silent, look, lambda: None) as engine:
        return engine and engine.description


def test_a_server_that_is_named_wins_over_the_machines_own(options, notes):
    with (
        llm_server.serving(llm_server.vllm) as named,
        llm_server.serving(llm_server.llama_cpp) as own,
    ):
        options = replace(options, llm=own.url, llm_key="secret")
        assert borrowed(named.url, options, notes).model == "Qwen/Qwen3-8B"
        assert borrowed(None, options, notes).home == own.url
        assert {asked.key for asked in (*named.asked, *own.asked)} == {"Bearer secret"}


def test_none_is_none_whoever_says_it(options, notes):
    assert borrowed("none", replace(options, llm="http://127.0.0.1:1"), notes) is None
    assert borrowed(None, replace(options, llm="none"), notes) is None
    assert notes == []


def test_where_nobody_names_one_the_lack_of_it_is_told_with_a_remedy(options, notes, monkeypatch):
    assert borrowed(None, options, notes) is None
    assert borrowed(None, options, notes, gib=0) is None
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as where it is not installed
    assert borrowed(None, options, notes) is None
    assert all(note.startswith("extractive, no LLM: ") for note in notes)
    network, memory, library = notes
    assert "give --llm a GGUF file, a server's address" in network
    assert "memory" in memory
    assert "pip install 'transcribe[llm]'" in library


@pytest.mark.parametrize("failure", [BadCheckpoint("broken"), TextEngineFailed("it crashed")])
def test_a_model_that_nobody_named_and_that_does_not_start_is_a_lack_too(
    options, notes, failure, monkeypatch
):
    def broken(*_):
        raise failure

    monkeypatch.setattr(opening, "_Home", broken)
    assert borrowed(None, options, notes) is None
    assert notes == [f"extractive, no LLM: {failure}"]


def test_the_lack_of_one_that_is_named_is_an_error(options, notes):
    with pytest.raises(ModelUnavailable):
        borrowed("qwen3-4b", options, notes)
    with pytest.raises(BadOption):
        borrowed("qwen3-4", options, notes)
    closed = {"GET /props": llm_server.Said({"error": {"message": "who are you"}}, status=401)}
    with (
        llm_server.serving((closed, llm_server.Said(status=404))) as server,
        pytest.raises(TextEngineFailed, match="TRANSCRIBE_LLM_KEY"),
    ):
        borrowed(None, replace(options, llm=server.url), notes)
    assert notes == []


def test_what_goes_wrong_while_it_is_used_is_no_lack(options, notes, tiny, monkeypatch):
    """Of whoever asks, not of the loan."""
    monkeypatch.setattr(lending, "AUTO", str(tiny))

    def use():
        with lending.lent(
            None, options, notes.append, opening.silent, machine(16), lambda: None
        ) as engine:
            assert engine.description.context_tokens == 2048
            raise TextEngineFailed("nonsense")

    with pytest.raises(TextEngineFailed, match="nonsense"):
        use()


def test_whisper_gives_its_memory_back_before_the_language_model_is_chosen(options, notes):
    seen = []

    def look(visible):
        seen.append(whisper())
        return machine(16)(visible)

    def nobody():
        return None

    whisper, english = nobody, SpeechOptions(model="demo", language="en")
    pool = Pool(options, notes.append, look=look)
    with pool.speech(english) as engine:
        whisper = weakref.ref(engine)
        with pool.text("none"), pool.speech(english) as again:
            assert again is engine  # another file is heard with it: it stays
    del engine, again
    assert whisper() is not None  # kept for the next file
    seen.clear()
    with pool.text(None):
        assert seen == [None]
