"""Who is lent a language model, and what they are told where there is none."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import weakref
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier, Event, Thread

import pytest

from models.fetch import FetchOptions
from models.lent import LentText
from models.memory import Machine
from models.pool import Pool, PoolOptions
from models.text import chat, lending, opening
from models.text.choose_llm import GIB
from models.text.wire import Patience
from pipeline.errors import (
    BadCheckpoint,
    BadOption,
    ModelUnavailable,
    OutOfMemory,
    TextEngineFailed,
)
from pipeline.types import SpeechOptions, TextRequest
from tests.models.text import llm_server

ASKED = TextRequest("sys", "hello the", 20)
ENGLISH = SpeechOptions(model="demo", language="en")
PATIENCE_S = 20.0


@pytest.fixture
def options(tmp_path):
    return PoolOptions(tmp_path, device="cpu", threads=1, fetch=FetchOptions(offline=True))


@pytest.fixture
def notes():
    return []


@contextmanager
def resting(pool):
    """Leave no child behind."""
    try:
        yield pool
    finally:
        pool.rest()


def machine(gib):
    return lambda _: Machine(gib * GIB, gib * GIB, "test", (), cpu_int8=True)


def pool_of(options, notes, gib=16, now_s=lambda: 0.0):
    return Pool(options, notes.append, look=machine(gib), now_s=now_s)


def borrowed(llm, options, notes, gib=16):
    """The description of what is lent, None for nobody."""
    with pool_of(options, notes, gib).text(llm) as engine:
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
    assert "pip install '.[llm]'" in library


def test_a_lack_is_told_once_and_not_looked_into_again_for_some_minutes(
    options, notes, monkeypatch
):
    """Of a thousand files without a network, one waits for it."""
    tries, clock = [], [0.0]

    def away(*_):
        tries.append(clock[0])
        raise ModelUnavailable("no network")

    monkeypatch.setattr(opening.files, "brought", away)
    pool = pool_of(options, notes, now_s=lambda: clock[0])
    for clock[0] in (0.0, 1.0, lending.LACK_S - 1, lending.LACK_S, lending.LACK_S + 1):
        with pool.text(None) as engine:
            assert engine is None
    assert tries == [0.0, lending.LACK_S]
    assert notes == ["extractive, no LLM: no network"] * 2
    with pytest.raises(ModelUnavailable), pool.text("qwen3-4b"):  # whoever names one is told
        pass


def test_memory_is_looked_at_for_each_file_and_its_lack_is_told_once(options, notes, tiny):
    looked, free_gib = [], 0

    def look(visible):
        looked.append(free_gib)
        return replace(machine(16)(visible), ram_free_bytes=free_gib * GIB)

    with resting(Pool(options, notes.append, look=look, now_s=lambda: 0.0)) as pool:
        for _ in range(3):
            with pool.text(None) as engine:
                assert engine is None
        free_gib = 16
        with pool.text(None):  # it fits now, and cannot be fetched: that is another lack
            pass
    assert looked == [0, 0, 0, 16]
    short, network = notes
    assert "does not fit into memory" in short
    assert "is not on this machine" in network


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
    for where in ("http://", "ftp://host"):
        with pytest.raises(BadOption, match="is no address.* begins with http:// or https://"):
            borrowed(where, options, notes)
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
    with resting(pool_of(options, notes)) as pool:

        def use():
            with pool.text(None) as engine:
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

    whisper = nobody
    pool = Pool(options, notes.append, look=look)
    with pool.speech(ENGLISH) as engine:
        whisper = weakref.ref(engine)
        with pool.text("none"), pool.speech(ENGLISH) as again:
            assert again is engine  # another file is heard with it: it stays
    del engine, again
    assert whisper() is not None  # kept for the next file
    seen.clear()
    with pool.text(None):
        assert seen == [None]


# ── what is kept for the next file ───────────────────────────────────────────────────────────


def child_of(engine):
    return engine._child._process.pid


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def kept(options, notes, tiny):
    """A pool that has lent a model once, and the process in which that runs."""
    pytest.importorskip("xllamacpp")
    with resting(pool_of(options, notes)) as pool:
        with pool.text(str(tiny)) as engine:
            pass
        yield pool, child_of(engine)


def test_all_files_of_a_batch_have_the_same_loaded_model(kept, notes, tiny):
    pool, child = kept
    for _ in range(3):
        with pool.text(str(tiny)) as engine:
            assert engine.answer(ASKED, lambda: None).text
            assert child_of(engine) == child
    assert notes == [engine.description.reason]


def test_nobody_wants_it_any_more_when_the_pool_rests(kept):
    pool, child = kept
    assert is_alive(child)
    pool.rest()
    assert not is_alive(child)


def test_it_stays_while_it_is_used_though_the_pool_rests(kept, tiny):
    pool, child = kept
    with pool.text(str(tiny)) as engine:
        pool.rest()
        assert child_of(engine) == child
        assert engine.answer(ASKED, lambda: None).text


def test_another_model_takes_its_place(kept, notes, tiny, tmp_path):
    pool, child = kept
    other = shutil.copy(tiny, tmp_path / "other.gguf")
    with pool.text(str(other)) as engine:
        assert engine.description.model == "other.gguf, f32"
        assert not is_alive(child)
    assert len(notes) == 2


def test_none_and_a_server_do_not_wait_for_whoever_uses_it(kept, tiny):
    pool, child = kept
    with llm_server.serving(llm_server.vllm) as server, pool.text(str(tiny)):
        with pool.text("none") as nobody, pool.text(server.url) as far:
            assert nobody is None
            assert far.description.home == server.url
        assert is_alive(child)


def test_whisper_gives_its_memory_back_for_a_server_too(options, notes):
    """It may be a program of the same machine."""
    pool = pool_of(options, notes)
    with pool.speech(ENGLISH) as engine:
        whisper = weakref.ref(engine)
    del engine
    assert whisper() is not None
    with llm_server.serving(llm_server.vllm) as server, pool.text(server.url):
        assert whisper() is None


def test_whisper_and_the_language_model_are_never_loaded_at_once(kept, tiny):
    pool, child = kept
    with pool.speech(ENGLISH):
        assert not is_alive(child)
        with pool.speech(ENGLISH):  # two files are heard together
            pass
    with pool.text(str(tiny)) as engine:
        assert isinstance(pool._engines.thing, LentText)
        child = child_of(engine)
    with pool.speech(ENGLISH):
        assert not is_alive(child)


def test_whoever_wants_to_write_waits_until_nobody_hears(options, notes, tiny):
    asked, order = Event(), []

    def look(visible):
        order.append("loads")
        return machine(16)(visible)

    with resting(Pool(options, notes.append, look=look, heed=asked.set)) as pool:

        def write():
            with pool.text(str(tiny)) as engine:
                order.append(engine.description.home)

        with pool.speech(ENGLISH):
            order.clear()
            writer = Thread(target=write)
            writer.start()
            assert asked.wait(PATIENCE_S)  # it waits, and heeds
            assert order == []
        writer.join(PATIENCE_S)
    assert order == ["loads", "llama.cpp on this machine"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_died_between_two_files_costs_no_question(kept, tiny, number):
    pool, child = kept
    os.kill(child, number)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    with pool.text(str(tiny)) as engine:
        assert engine.answer(ASKED, lambda: None).text


def test_one_that_hangs_is_loaded_anew_for_the_next_file(kept, tiny):
    pool, child = kept
    with pool.text(str(tiny)) as engine:
        os.kill(child, signal.SIGSTOP)
        impatience = Patience(silence_s=0.1, pauses_s=(), beat_s=0.05)
        engine._options = replace(engine._options, patience=impatience)
        engine._chat._patience = impatience
        with pytest.raises(TextEngineFailed):
            engine.answer(ASKED, lambda: None)
    with pool.text(str(tiny)) as engine:
        assert child_of(engine) != child
        assert engine.answer(ASKED, lambda: None).text


def test_a_lack_of_memory_while_it_is_used_gives_all_back(kept, tiny):
    pool, child = kept
    with pytest.raises(OutOfMemory), pool.text(str(tiny)):
        raise OutOfMemory("no room")
    assert not is_alive(child)


@pytest.mark.parametrize("error", [TextEngineFailed("nonsense"), KeyboardInterrupt()])
def test_what_else_goes_wrong_in_one_file_does_not_cost_the_next_its_model(kept, tiny, error):
    pool, child = kept
    with pytest.raises(type(error)), pool.text(str(tiny)):
        raise error
    with pool.text(str(tiny)) as engine:
        assert child_of(engine) == child


def test_threads_share_it(kept, tiny):
    pool, child = kept
    together, seen = Barrier(2), []

    def work():
        with pool.text(str(tiny)) as engine:
            together.wait(PATIENCE_S)
            seen.append((child_of(engine), engine.answer(ASKED, lambda: None).text))

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert {pid for pid, _ in seen} == {child}
    assert len(seen) == 2
    assert len(set(seen)) == 1


# ── servers ──────────────────────────────────────────────────────────────────────────────────


def test_a_server_is_told_of_once_and_its_engine_is_kept(options, notes):
    pool = pool_of(options, notes)
    with llm_server.serving(llm_server.llama_cpp) as server:
        with pool.text(server.url) as first:
            pass
        with pool.text(server.url) as second:
            pass
    assert second is first
    assert notes == [first.description.reason]


def test_a_server_with_another_model_than_before_is_another_engine_and_is_told_of(options, notes):
    """The second file's summary must not say that the first file's model wrote it."""
    pool = pool_of(options, notes)
    with llm_server.serving(llm_server.vllm) as server:
        with pool.text(server.url) as first:
            pass
        models = {"data": [{"id": "other", "max_model_len": 4096}]}
        server.routes["GET /v1/models"] = llm_server.Said(models)
        with pool.text(server.url) as second:
            found = second.description
    assert (found.model, found.context_tokens) == ("other", 4096)
    assert notes == [first.description.reason, found.reason]


@pytest.mark.parametrize("is_named", [True, False])
def test_a_server_that_is_down_is_asked_now_and_then_and_not_for_each_file(
    options, notes, is_named, monkeypatch
):
    """Of a thousand files without it, one waits for it."""
    where, clock, asked = "http://127.0.0.1:1", [0.0], []

    def connect(*arguments):
        asked.append(clock[0])
        return chat.connect(*arguments)

    monkeypatch.setattr(lending, "connect", connect)
    options = replace(options, llm=None if is_named else where, llm_patience_s=0.1)
    pool, reasons = pool_of(options, notes, now_s=lambda: clock[0]), set()
    for clock[0] in (0.0, 1.0, lending.AWAY_S - 1, lending.AWAY_S, lending.AWAY_S + 1):
        with pytest.raises(TextEngineFailed) as raised, pool.text(where if is_named else None):
            pass
        reasons.add(str(raised.value))
    assert asked == [0.0, lending.AWAY_S]
    (reason,) = reasons
    assert "http://127.0.0.1:1 is not there (connection refused)" in reason
    with llm_server.serving(llm_server.vllm) as other, pool.text(other.url):
        pass  # others are asked


SILENT = llm_server.Said(b"", content_type=llm_server.EVENTS, silent=True)


def test_a_server_that_is_silent_to_two_files_is_asked_now_and_then_too(options, notes):
    clock, options = [0.0], replace(options, llm_patience_s=0.2)
    pool = pool_of(options, notes, now_s=lambda: clock[0])
    with llm_server.serving(llm_server.vllm, SILENT, SILENT) as server:
        for clock[0] in (0.0, 1.0, 2.0, lending.AWAY_S):
            with pytest.raises(TextEngineFailed, match="silent"), pool.text(server.url) as engine:
                engine.answer(ASKED, lambda: None)
        assert len(server.chats()) == 2
        clock[0] = lending.AWAY_S + 1.0
        with pool.text(server.url) as engine:
            assert engine.answer(ASKED, lambda: None).text == "one two"


def test_one_file_that_is_too_much_for_a_server_costs_no_other_its_summary(options, notes):
    pool = pool_of(replace(options, llm_patience_s=0.2), notes)
    with llm_server.serving(llm_server.vllm, *[SILENT, llm_server.events("one two")] * 2) as server:
        for _ in range(2):
            with pytest.raises(TextEngineFailed, match="silent"), pool.text(server.url) as engine:
                engine.answer(ASKED, lambda: None)
            with pool.text(server.url) as engine:
                assert engine.answer(ASKED, lambda: None).text == "one two"


@pytest.mark.parametrize(
    "said",
    [
        llm_server.Said({"error": "no such token"}, status=400),
        llm_server.Said(b"what?", content_type="text/plain"),
    ],
)
def test_a_server_that_answers_what_it_should_not_is_asked_by_the_next_file(options, notes, said):
    pool = pool_of(options, notes)
    with llm_server.serving(llm_server.vllm, said) as server:
        with pytest.raises(TextEngineFailed), pool.text(server.url) as engine:
            engine.answer(ASKED, lambda: None)
        with pool.text(server.url) as engine:
            assert engine.answer(ASKED, lambda: None).text == "one two"


def test_a_lack_of_memory_at_a_server_is_a_failure_of_that_server(options, notes):
    """Nobody here has memory that could be waited for."""
    words = "model requires more system memory (5.6 GiB) than is available (3.1 GiB)"
    lack = llm_server.Said({"error": words}, status=400)
    with (
        llm_server.serving(llm_server.ollama, lack) as server,
        pytest.raises(TextEngineFailed, match="requires more system memory"),
        pool_of(options, notes).text(server.url) as engine,
    ):
        engine.answer(ASKED, lambda: None)
