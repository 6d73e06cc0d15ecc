from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from models.registry import find
from models.weights import Weights, at_hand, locate, resolve_default
from pipeline.errors import BadOption, ModelUnavailable, StorageFailed

CONTENT = b"weights of a model" * 1000
LENGTH = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Answer(BaseHTTPRequestHandler):
    """What the server says; the content and headers are the server's."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.silent.is_set():
            self.server.over.wait(20)
            return
        self.send_response(self.server.status)
        if self.server.length is not None:
            self.send_header("Content-Length", str(self.server.length))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_):
        pass


@contextmanager
def serving(content=CONTENT, *, status=200, length=LENGTH, silent=False):
    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.asked, server.content, server.status, server.length = [], content, status, length
    server.silent, server.over = threading.Event(), threading.Event()
    if silent:
        server.silent.set()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def table_of(server, sha256=SHA256):
    port = server.server_address[1]
    return {"small": f"http://127.0.0.1:{port}/main/{sha256}/small.pt"}


def closed_table():
    """A table whose server refuses: the port was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"small": f"http://127.0.0.1:{free.getsockname()[1]}/main/{SHA256}/small.pt"}


@pytest.fixture
def notes():
    return []


def test_the_demo_needs_no_file(tmp_path, notes):
    assert locate("demo", tmp_path, notes.append, {}) == Weights("demo", None, find("demo"))


@pytest.mark.parametrize("name", ["mine.pt", "folder/mine.bin"])
def test_a_file_of_ones_own_is_taken_as_it_is(tmp_path, notes, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"anything")
    found = locate(name, tmp_path, notes.append, {})
    assert found.path.samefile(path)
    assert (found.name, found.spec) == (path.name, None)


def test_a_file_of_ones_own_that_is_not_there_is_said_so(tmp_path, notes):
    with pytest.raises(ModelUnavailable, match=r"mine\.pt is not there; give the path of"):
        locate(str(tmp_path / "mine.pt"), tmp_path, notes.append, {})


def test_a_folder_is_not_a_checkpoint(tmp_path, notes):
    with pytest.raises(ModelUnavailable, match="is not a file"):
        locate(str(tmp_path), tmp_path, notes.append, {})


def test_an_unknown_name_is_refused(tmp_path, notes):
    with pytest.raises(BadOption):
        locate("smal", tmp_path, notes.append, {})


def test_a_file_with_the_right_sum_is_used_without_the_network(tmp_path, notes):
    (tmp_path / "small.pt").write_bytes(CONTENT)
    found = locate("small", tmp_path, notes.append, closed_table())
    assert found == Weights("small", tmp_path / "small.pt", find("small"))
    assert notes == []


def test_a_missing_model_is_downloaded_once_and_the_note_says_so(tmp_path, notes):
    folder = tmp_path / "not" / "yet"
    with serving() as server:
        found = locate("small", folder, notes.append, table_of(server))
        assert found.path.read_bytes() == CONTENT
        locate("small", folder, notes.append, table_of(server))
        assert len(server.asked) == 1
    assert len(notes) == 1
    assert "small is not on this machine; downloading" in notes[0]
    assert list(folder.iterdir()) == [found.path]


def test_a_damaged_file_is_replaced_and_the_note_says_so(tmp_path, notes):
    (tmp_path / "small.pt").write_bytes(CONTENT[:-1])
    with serving() as server:
        found = locate("small", tmp_path, notes.append, table_of(server))
    assert found.path.read_bytes() == CONTENT
    assert "SHA-256 differs" in notes[0]


def test_without_a_network_the_message_says_how_to_go_on(tmp_path, notes):
    with pytest.raises(ModelUnavailable) as caught:
        locate("small", tmp_path, notes.append, closed_table())
    message = str(caught.value)
    for part in (f"copy small.pt from another machine into {tmp_path}", "connect",
                 "--model path/to/small.pt", "transcribe demo", "--model demo"):  # fmt: skip
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "answer",
    [
        {"content": b"another" * 10, "length": 70},
        {"content": CONTENT[:100]},
        {"content": b"<html>please log in</html>", "length": None},
        {"content": b"", "length": 0, "status": 404},
        {"content": b"", "length": 0, "status": 503},
    ],
    ids=["other bytes", "cut short", "login page", "gone", "busy"],
)
def test_a_bad_download_leaves_nothing_behind(tmp_path, notes, answer):
    with serving(**answer) as server, pytest.raises(ModelUnavailable, match="transcribe demo"):
        locate("small", tmp_path, notes.append, table_of(server))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_the_damaged_file_where_it_is(tmp_path, notes):
    (tmp_path / "small.pt").write_bytes(b"mine")
    with pytest.raises(ModelUnavailable):
        locate("small", tmp_path, notes.append, closed_table())
    assert (tmp_path / "small.pt").read_bytes() == b"mine"


def test_a_silent_server_is_given_up(tmp_path, notes):
    before = socket.getdefaulttimeout()
    with serving(silent=True) as server, pytest.raises(ModelUnavailable, match="timed out"):
        locate("small", tmp_path, notes.append, table_of(server), stall_s=0.2)
    assert socket.getdefaulttimeout() == before


def test_a_folder_that_cannot_be_made_is_a_storage_failure(tmp_path, notes):
    (tmp_path / "file").write_bytes(b"")
    with serving() as server, pytest.raises(StorageFailed, match="cannot be stored"):
        locate("small", tmp_path / "file" / "weights", notes.append, table_of(server))


def test_at_hand_lists_the_smallest_first(tmp_path):
    for name in ("large-v3", "tiny", "small.en", "demo", "unknown"):
        (tmp_path / f"{name}.pt").write_bytes(b"")
    (tmp_path / "medium.pt").mkdir()
    assert at_hand(tmp_path) == ("tiny", "small.en", "large-v3")
    assert at_hand(tmp_path / "missing") == ()


@pytest.mark.parametrize(
    ("there", "chosen", "reason"),
    [
        ((), "small", "no other model"),
        (("tiny", "small", "large-v3"), "small", "small is the default"),
        (("tiny", "base"), "base", "small is not on this machine; base is"),
        (("base", "large-v3-turbo"), "large-v3-turbo", "large-v3-turbo is"),
        (("tiny", "base.en"), "tiny", "tiny is"),
        (("base.en",), "base.en", "base.en is"),
    ],
)
def test_the_default_is_small_or_else_the_largest_there(tmp_path, there, chosen, reason):
    for name in there:
        (tmp_path / f"{name}.pt").write_bytes(b"")
    name, why = resolve_default(tmp_path)
    assert name == chosen
    assert reason in why
