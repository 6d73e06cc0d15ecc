from __future__ import annotations

import shutil
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from models.fetch import FetchOptions
from models.llms import find_llm
from models.memory import Gpu, Machine
from models.text import llama_process, opening
from models.text.chat import nothing
from models.text.choose_llm import GIB
from models.text.opening import TextEngineOptions, start_text_engine
from models.text.wire import Patience
from pipeline.errors import BadCheckpoint, BadOption, ModelUnavailable
from pipeline.types import TextRequest

pytest.importorskip("xllamacpp")

ASKED = TextRequest("sys", "hello", 20)
QUICK = Patience(connect_s=2, silence_s=30, total_s=30, pauses_s=(0.01,), beat_s=0.05)
GPU = Gpu(0, "A GPU", 80 * GIB, 80 * GIB, (8, 0))


def with_ram(gib, *gpus):
    return lambda _: Machine(int(gib * GIB), int(gib * GIB), "test", gpus, cpu_int8=True)


@pytest.fixture
def options(tmp_path):
    offline = FetchOptions(offline=True)
    return TextEngineOptions(tmp_path, threads=1, fetch=offline, patience=QUICK)


@pytest.fixture
def notes():
    return []


def started(*arguments, **more):
    """The engine, closed at the end."""
    return closing(start_text_engine(*arguments, **more))


def test_a_file_is_run_here(options, notes, tiny):
    with started(str(tiny), options, notes.append, look=with_ram(4)) as engine:
        assert engine.description.context_tokens == 2048
        assert engine.answer(ASKED, nothing).answer_tokens == 20
    assert notes == [engine.description.reason]


_LIMITED = (  # and not this process, which may hold more by now
    "import os, resource, sys; "
    "resource.setrlimit(resource.RLIMIT_DATA, (384 << 20, 384 << 20)); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.fixture
def little_memory(monkeypatch):
    """Children get 384 MiB, whatever they believe to be free."""
    command = (sys.executable, "-c", _LIMITED, *llama_process._COMMAND)
    monkeypatch.setattr(llama_process, "_COMMAND", command)


def test_less_is_tried_when_memory_turns_out_to_be_short(options, notes, tiny, little_memory):
    """As if much of what was free had gone between looking and loading."""
    key = b"llama.context_length\x04\x00\x00\x00"
    long = tiny.with_name("long.gguf")
    trained_for_more = key + (2**20).to_bytes(4, "little")
    trained_for = key + (2048).to_bytes(4, "little")
    long.write_bytes(tiny.read_bytes().replace(trained_for, trained_for_more))
    wide = replace(options, context_tokens=2**20)  # 3.5 GiB for cache and mask
    with started(str(long), wide, notes.append, look=with_ram(8)) as engine:
        assert 2**14 <= engine.description.context_tokens <= 2**18
        assert engine.answer(ASKED, nothing).answer_tokens == 20
    assert "long.gguf does not fit into memory (llama.cpp: " in notes[1]
    assert notes[1].endswith("Trying less.")


def test_a_gpu_that_llama_cpp_cannot_use_is_told(options, notes, tiny):
    with started(str(tiny), options, notes.append, look=with_ram(4, GPU)) as engine:
        assert " on cpu" in engine.description.reason
    assert "cannot use the GPU (A GPU)" in notes[0]
    with pytest.raises(BadOption, match="no device cuda"):
        started(str(tiny), replace(options, device="cuda"), notes.append, look=with_ram(4, GPU))


def test_a_model_that_cannot_be_fetched_is_told(options, notes):
    with pytest.raises(ModelUnavailable, match=r"qwen3-4b is not on this machine.*forbids"):
        started("qwen3-4b", options, notes.append, look=with_ram(16))


def test_if_any_would_do_one_that_is_here_is_taken(options, notes, tiny, monkeypatch):
    spec = find_llm("qwen2.5-0.5b")
    [file, _] = spec.gguf_files
    shutil.copy(tiny, options.weights_dir / file.file_name)
    known = replace(spec, gguf_files=(replace(file, sha256=None),))
    models = tuple(known if each is spec else each for each in opening.LLMS)
    monkeypatch.setattr(opening, "LLMS", models)
    with started("auto", options, notes.append, look=with_ram(16)) as engine:
        assert engine.description.model == "qwen2.5-0.5b, q4_k_m"
    assert "qwen3-4b is not on this machine" in notes[0]
    assert "a model that is on this machine is taken" in notes[0]


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("qwen3", BadOption, "did you mean .*qwen3-4b"),
        ("", BadOption, "no language model"),
        ("nowhere/my.gguf", ModelUnavailable, "is not there"),
        (__file__ + "/../conftest.py", BadCheckpoint, "does not begin"),
        ("llama-3.3-70b", ModelUnavailable, "does not fit into memory: it needs 4"),
    ],
)
def test_what_cannot_be_is_told(options, notes, where, error, words):
    with pytest.raises(error, match=words):
        started(where, options, notes.append, look=with_ram(8))


@pytest.mark.parametrize("tokens", [0, 1023, 2**20 + 1])
def test_an_impossible_context_is_refused(tmp_path, tokens):
    with pytest.raises(BadOption, match="1024 to 1048576"):
        TextEngineOptions(tmp_path, context_tokens=tokens)


def test_a_key_is_not_shown(tmp_path):
    assert "s3cret" not in repr(TextEngineOptions(tmp_path, key="s3cret"))
