"""An address goes in, subtitles come out: the commands as a person types them, a server here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.demo import clips

ROOT = Path(__file__).parents[2]
CLIP = clips()[0].path


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    """Of a clip, on a server of this machine."""
    handler = partial(Quiet, directory=str(CLIP.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{CLIP.name}"
        server.shutdown()


@pytest.fixture
def transcribe(redis_server, tmp_path):
    """The program, as a process, with a home of its own."""

    def run(*arguments, **environment):
        ours = {
            "TRANSCRIBE_HOME": str(tmp_path / "home"),
            "TRANSCRIBE_REDIS_URL": redis_server.url,
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            [sys.executable, "-m", "workers.cli", *arguments],
            cwd=tmp_path,
            env={**os.environ, **ours, **environment},
            capture_output=True,
            timeout=240,
            check=False,
            text=True,
        )

    return run


def job_of(transcribe):
    (job,) = json.loads(transcribe("status", "--json").stdout)["jobs"]
    return job


def test_a_worker_fetches_an_address_of_ones_own_network_and_writes_its_subtitles(
    transcribe, url, tmp_path
):
    assert transcribe("enqueue", "--model", "demo", url).returncode == 0
    ended = transcribe("worker", "--burst", "--lease", "20", TRANSCRIBE_OWN_NETWORKS="127.0.0.1/32")
    assert ended.returncode == 0
    job = job_of(transcribe)
    assert (job["state"], job["reason"]) == ("done", None)
    (srt,) = tmp_path.glob("*.srt")
    assert job["outputs"] == [str(srt)]
    assert " --> " in srt.read_text()
    (media,) = (tmp_path / "home").glob(f"remote/*/{CLIP.name}")
    assert media.read_bytes() == b""  # it was let go
    assert transcribe("clean").returncode == 0
    assert media.exists()  # its subtitles keep belonging to it
    srt.unlink()
    assert transcribe("clean").returncode == 0
    assert not list((tmp_path / "home").glob("remote/*"))


@pytest.mark.slow
def test_without_the_setting_nothing_of_this_network_is_asked(transcribe, url, tmp_path):
    transcribe("enqueue", "--model", "demo", url)
    assert transcribe("worker", "--burst", "--queues", "convert").returncode == 0
    job = job_of(transcribe)
    assert (job["state"], job["error"], job["attempts"]) == ("failed", "BadOption", 1)
    assert "not on the public internet" in job["reason"]
    assert not list(tmp_path.glob("*.srt"))


def test_a_network_that_is_none_is_refused_at_the_start(transcribe):
    ended = transcribe("worker", "--burst", TRANSCRIBE_OWN_NETWORKS="home")
    assert ended.returncode == 2
    assert "'home' is no network" in ended.stderr


@pytest.mark.slow
def test_a_worker_for_what_nobody_uses_yet_says_so_and_starts_nobody(transcribe):
    ended = transcribe("worker", "--burst", "--queues", "text")
    assert ended.returncode == 0
    assert "no job has the stage text yet" in ended.stderr
    assert "working: nobody" in ended.stderr
