from __future__ import annotations

import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models.choose import GIB
from models.llms import find_llm
from models.memory import Gpu, Machine
from tests.models.text import llm_server
from tests.models.text.tiny import write_tiny
from workers import doctor
from workers.settings import load

MACHINE = Machine(8 * GIB, 6 * GIB, "MemAvailable of this machine", (), cpu_int8=True)


@pytest.fixture
def settings(tmp_path):
    environment = {
        "TRANSCRIBE_HOME": str(tmp_path / "home"),
        "TRANSCRIBE_WEIGHTS": str(tmp_path / "weights"),
    }
    return load(environment)


@pytest.fixture
def nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]  # bound, but not listening: connections are refused


def test_a_program_that_is_there_is_good_and_says_its_version():
    finding = doctor.program("ffmpeg")
    assert finding.state == "good"
    assert finding.found.startswith("version ")


def test_a_program_that_is_missing_or_broken_is_bad_and_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.program("ffmpeg").state == "bad"
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    finding = doctor.program("ffmpeg")
    assert (finding.state, finding.remedy[:14]) == ("bad", "install ffmpeg")
    assert "3" in finding.found


def test_gpus_and_what_is_to_be_said_of_others_are_listed():
    gpu = Gpu(0, "RTX 3060", 12 * GIB, 5 * GIB, (8, 6))
    findings = list(doctor.gpus(replace(MACHINE, gpus=(gpu,), notes=("GPU 1 is hidden",))))
    assert [one.found for one in findings] == ["RTX 3060, 5.0 of 12.0 GiB free", "GPU 1 is hidden"]
    assert [one.state for one in doctor.gpus(MACHINE)] == ["note"]


def test_a_folder_that_can_be_made_is_good_and_is_not_made(tmp_path):
    finding = doctor.folder("jobs", tmp_path / "not" / "yet", "TRANSCRIBE_HOME")
    assert finding.state == "good"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_bad(tmp_path):
    (tmp_path / "file").write_text("x")
    finding = doctor.folder("jobs", tmp_path / "file" / "jobs", "TRANSCRIBE_HOME")
    assert finding.state == "bad"
    assert "TRANSCRIBE_HOME" in finding.remedy


def test_a_folder_that_cannot_be_looked_at_is_bad(tmp_path):
    finding = doctor.folder("jobs", tmp_path / ("x" * 300), "TRANSCRIBE_HOME")
    assert finding.state == "bad"
    assert "too long" in finding.found


def test_variables_that_no_run_could_use_are_bad(settings):
    assert list(doctor.asked(settings)) == []
    wrong = replace(settings, model="nonsense", mirror="nonsense")
    assert [one.state for one in doctor.asked(wrong)] == ["bad", "bad"]
    right = replace(settings, model="small", mirror="https://models.example.org")
    assert [one.state for one in doctor.asked(right)] == ["good", "good"]


def test_what_would_be_chosen_is_told_with_whether_it_is_here(settings):
    english, other = doctor.chosen(MACHINE, settings)
    assert (english.state, other.state) == ("note", "note")
    assert english.found.startswith("small, int8")
    settings.weights_dir.mkdir()
    (settings.weights_dir / "small.pt").write_bytes(b"weights")
    english, other = doctor.chosen(MACHINE, replace(settings, offline=True))
    assert (english.state, other.state) == ("good", "bad")
    assert "transcribe models fetch" in other.remedy


def test_a_machine_on_which_nothing_fits_is_bad(settings):
    findings = list(doctor.chosen(replace(MACHINE, ram_free_bytes=GIB // 10), settings))
    assert [one.state for one in findings] == ["bad", "bad"]
    assert "0.1 GiB are free" in findings[0].found


def test_redis_is_bad_when_it_was_named_and_does_not_answer(nobody_listens):
    (finding,) = doctor.redis(f"redis://127.0.0.1:{nobody_listens}/0")
    assert (finding.state, finding.what) == ("bad", "Redis")
    assert finding.remedy == "start Redis, or correct TRANSCRIBE_REDIS_URL"
    (finding,) = doctor.redis("nonsense://x")
    assert (finding.state, finding.remedy[:4]) == ("bad", "give")


def test_a_redis_that_may_lose_jobs_is_bad_and_each_reason_has_its_remedy(redis_server):
    answers, *problems = doctor.redis(redis_server.url)
    assert answers.state == "good"
    assert "version" in answers.found
    (in_memory,) = (one for one in problems if "memory only" in one.found)
    assert (in_memory.state, in_memory.remedy[:20]) == ("bad", "set appendonly yes (")


def with_llm(settings, llm, **changes):
    return doctor.llm(replace(settings, llm=llm, **changes))


def test_an_llms_server_is_asked_which_model_it_has(settings, nobody_listens):
    with llm_server.serving(llm_server.vllm) as server:
        found = with_llm(settings, f"{server.url}/v1", llm_key="secret")
        assert {asked.key for asked in server.asked} == {"Bearer secret"}
        other = with_llm(settings, f"{server.url}#no-such-model")
    assert found.state == "good"
    assert "Qwen/Qwen3-8B on vLLM" in found.found
    assert (other.state, "Qwen/Qwen3-8B" in other.found + other.remedy) == ("bad", True)
    down = with_llm(settings, f"http://127.0.0.1:{nobody_listens}")
    assert (down.state, "start it" in down.remedy) == ("bad", True)
    assert with_llm(settings, "http://127.0.0.1:port").state == "bad"


def test_an_llms_server_that_says_nothing_or_nonsense_is_bad(settings):
    nonsense = ({}, llm_server.Said(b"<html>login</html>", content_type="text/html"))
    with llm_server.serving(nonsense) as server:
        assert with_llm(settings, server.url).state == "bad"


def test_an_llm_may_be_a_file(settings, tmp_path):
    pytest.importorskip("xllamacpp")
    model = tmp_path / "model.gguf"
    assert with_llm(settings, str(model)).state == "bad"
    model.write_bytes(b"PK\x03\x04")
    assert with_llm(settings, str(model)).state == "bad"
    assert with_llm(settings, str(write_tiny(model))) == doctor.Finding("LLM", "good", str(model))


def test_an_llm_may_be_a_name(settings):
    pytest.importorskip("xllamacpp")
    assert with_llm(settings, "qwen3-4b").state == "note"
    assert "downloads are off" in with_llm(settings, "qwen3-4b", offline=True).found
    assert with_llm(settings, "qwen3-4b", offline=True).state == "bad"
    wrong = with_llm(settings, "qwen3-4")
    assert (wrong.state, "qwen3-4b" in wrong.found + wrong.remedy) == ("bad", True)
    (file, *_) = find_llm("qwen3-4b").gguf_files
    settings.weights_dir.mkdir(parents=True, exist_ok=True)
    (settings.weights_dir / file.file_name).touch()
    for name in ("qwen3-4b", "auto", None):
        assert with_llm(settings, name) == doctor.Finding("LLM", "good", "here: qwen3-4b")


def test_without_an_llm_nothing_is_bad(settings, monkeypatch):
    assert "extractive" in with_llm(settings, "none").found
    assert with_llm(settings, None, offline=True).state == "note"
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as where it is not installed
    assert with_llm(settings, None).state == "note"
    assert ".[llm]" in with_llm(settings, None).found
    named = with_llm(settings, "qwen3-4b")
    assert (named.state, ".[llm]" in named.found + named.remedy) == ("bad", True)


def test_an_examination_looks_at_everything(settings):
    found = {one.what: one.state for one in doctor.examine(settings)}
    assert {"transcribe", "ffmpeg", "ffprobe", "RAM", "jobs", "models", "Redis", "LLM"} <= set(
        found
    )
    assert not Path(settings.home).exists()
