from __future__ import annotations

import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.choose import GIB
from models.memory import Gpu, Machine
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


@pytest.fixture
def llm_server():
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if self.path.startswith("/wrong") else 200)
            self.end_headers()
            login = self.path.startswith("/login")
            self.wfile.write(b"<html>login</html>" if login else b'{"data": []}')

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


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


def test_an_llm_may_be_a_server_or_a_file(llm_server, nobody_listens, tmp_path):
    assert doctor.llm(None).state == "note"
    assert doctor.llm(llm_server).state == "good"
    assert doctor.llm(f"{llm_server}/wrong").state == "bad"
    assert doctor.llm(f"{llm_server}/login").state == "bad"
    assert doctor.llm(f"http://127.0.0.1:{nobody_listens}").state == "bad"
    model = tmp_path / "model.gguf"
    assert doctor.llm(str(model)).state == "bad"
    model.write_bytes(b"PK\x03\x04")
    assert "no GGUF" in doctor.llm(str(model)).found
    model.write_bytes(b"GGUF....")
    assert doctor.llm(str(model)).state == "good"


def test_an_examination_looks_at_everything(settings):
    found = {one.what: one.state for one in doctor.examine(settings)}
    assert {"transcribe", "ffmpeg", "ffprobe", "RAM", "jobs", "models", "Redis", "LLM"} <= set(
        found
    )
    assert not Path(settings.home).exists()
