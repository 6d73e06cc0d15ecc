from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from models.fetch import FetchOptions
from models.llms import find_llm
from models.text import files
from pipeline.errors import ModelUnavailable
from tests.models.server import Odd, serving
from tests.models.text import llm_server

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SPEC = find_llm("qwen3-4b")
KNOWN = replace(SPEC.gguf_files[0], file_bytes=len(CONTENT), sha256=SHA256)
UNKNOWN = replace(KNOWN, sha256=None)


def options(server, **more):
    return FetchOptions(mirror=server.url, stall_s=5, pauses_s=(), first_pauses_s=(), **more)


def brought(file, folder, fetch):
    return files.brought(SPEC, file, folder, fetch, lambda _: None, lambda _done, _all: None)


@pytest.mark.parametrize(
    ("where", "expected"),
    [("qwen3-4b", False), ("auto", False), ("my.gguf", True), ("./qwen3-4b", True), ("a/b", True)],
)
def test_a_file_is_told_from_a_name(where, expected):
    assert files.is_path(where) == expected


def test_a_file_of_ones_own_is_found_or_told(tmp_path):
    mine = tmp_path / "my.gguf"
    with pytest.raises(ModelUnavailable, match="is not there"):
        files.own_path(str(mine))
    with pytest.raises(ModelUnavailable, match="is not a file"):
        files.own_path(f"{tmp_path}/")
    with pytest.raises(ModelUnavailable, match="is not there"):
        files.own_path("x" * 9999 + ".gguf")
    mine.write_bytes(b"")
    assert files.own_path(str(mine)) == mine


def test_a_model_is_fetched_once_and_verified(tmp_path):
    with serving(CONTENT) as server:
        path = brought(KNOWN, tmp_path, options(server))
        assert path.read_bytes() == CONTENT
        assert files.path_here(KNOWN, tmp_path) == path
        brought(KNOWN, tmp_path, options(server))
    assert [asked.path for asked in server.asked] == [f"/{KNOWN.file_name}"]


def test_a_download_that_broke_off_goes_on_where_it_was(tmp_path):
    with serving(CONTENT, Odd(cut_after=5000)) as server:
        with pytest.raises(ModelUnavailable):
            brought(KNOWN, tmp_path, options(server))
        assert brought(KNOWN, tmp_path, options(server)).read_bytes() == CONTENT
    assert [asked.range for asked in server.asked] == [None, "bytes=5000-"]


def test_a_wrong_file_is_never_taken(tmp_path):
    with (
        serving(CONTENT[::-1]) as server,
        pytest.raises(ModelUnavailable, match=r"SHA-256 .*instead of") as caught,
    ):
        brought(KNOWN, tmp_path, options(server))
    assert files.path_here(KNOWN, tmp_path) is None
    assert "or copy Qwen_Qwen3-4B-Instruct-2507-Q4_K_M.gguf into" in str(caught.value)
    assert "--model" not in str(caught.value)


def test_a_file_without_a_known_hash_is_pinned_by_what_came_first(tmp_path):
    with serving(CONTENT) as server:
        path = brought(UNKNOWN, tmp_path, options(server))
    pin = tmp_path / f"{UNKNOWN.file_name}.sha256"
    assert pin.read_text() == f"{SHA256}  {UNKNOWN.file_name}\n"
    path.unlink()
    with serving(CONTENT[::-1]) as server, pytest.raises(ModelUnavailable, match="instead of"):
        brought(UNKNOWN, tmp_path, options(server))
    with serving(CONTENT) as server:
        assert brought(UNKNOWN, tmp_path, options(server)).read_bytes() == CONTENT


def test_a_file_that_changed_after_it_was_pinned_is_fetched_again(tmp_path):
    with serving(CONTENT) as server:
        path = brought(UNKNOWN, tmp_path, options(server))
        path.write_bytes(CONTENT[:-1] + b"?")
        assert brought(UNKNOWN, tmp_path, options(server)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Linked-Etag": f'"{SHA256}"'}, SHA256),
        ({"X-Linked-Etag": SHA256}, SHA256),
        ({"X-Linked-Etag": '"abc"'}, None),
        ({}, None),
    ],
)
def test_the_hub_tells_the_hash_before_it_sends_us_on(headers, expected):
    moved = llm_server.Said(status=302, headers={"Location": "http://nowhere.invalid/", **headers})
    with llm_server.serving(({}, moved)) as server:
        assert files._published(f"{server.url}/resolve/main/a.gguf", FetchOptions()) == expected
    assert [asked.method for asked in server.asked] == ["HEAD"]


def test_a_hub_that_is_not_there_tells_no_hash():
    assert files._published("http://127.0.0.1:9/", FetchOptions(stall_s=2)) is None


def test_without_a_network_nothing_is_asked(tmp_path):
    with (
        serving(CONTENT) as server,
        pytest.raises(ModelUnavailable, match="TRANSCRIBE_OFFLINE.*or give --llm a GGUF file"),
    ):
        brought(UNKNOWN, tmp_path, options(server, offline=True))
    assert server.asked == []
