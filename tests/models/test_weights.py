from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from models.digest import remember, stamp_of
from models.fetch import FetchOptions
from models.part import open_part
from models.registry import find
from models.weights import (
    AUTO,
    Weights,
    at_hand,
    canonical,
    imported,
    is_path,
    is_whisper_cpp,
    locate,
    published,
    remove,
)
from pipeline.errors import BadOption, Busy, ModelUnavailable, StorageFailed
from tests.models.server import serving

CONTENT = b"weights of a model" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OFFLINE = FetchOptions(offline=True)


@pytest.fixture
def notes():
    return []


def unwatched(_done_bytes, _total_bytes):
    pass


def small():
    """The row of a model that is smaller than any."""
    return replace(find("small"), file_bytes=len(CONTENT), sha256=SHA256)


@pytest.mark.parametrize(
    ("model", "path", "whisper_cpp"),
    [
        ("small", False, False),
        ("large-v3", False, False),
        ("mine.pt", True, False),
        ("./mine", True, False),
        ("ggml-small-q5_1.bin", True, True),
        ("/models/ggml-small.bin", True, True),
    ],
)
def test_a_separator_or_a_suffix_means_a_file(model, path, whisper_cpp):
    assert is_path(model) == path
    assert is_whisper_cpp(model) == whisper_cpp


def test_every_model_has_one_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert canonical("turbo") == "large-v3-turbo"
    assert canonical("mine.bin") == str(tmp_path / "mine.bin")
    assert canonical("auto") == AUTO
    with pytest.raises(BadOption):
        canonical("smal")


def test_the_demo_needs_no_file(tmp_path, notes):
    found = locate("demo", tmp_path, OFFLINE, notes.append, unwatched)
    assert found == Weights("demo", None, find("demo"), None)


@pytest.mark.parametrize("name", ["mine.pt", "folder/mine.bin"])
def test_a_file_of_ones_own_is_taken_as_it_is(tmp_path, notes, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"anything")
    found = locate(name, tmp_path, OFFLINE, notes.append, unwatched)
    assert found.path.samefile(path)
    assert (found.name, found.spec, found.sha256) == (path.name, None, None)


def test_a_file_of_ones_own_that_is_not_there_is_said_so(tmp_path, notes):
    with pytest.raises(ModelUnavailable, match=r"mine\.pt is not there; give the path of"):
        locate(str(tmp_path / "mine.pt"), tmp_path, OFFLINE, notes.append, unwatched)


def test_a_folder_is_not_a_checkpoint(tmp_path, notes):
    with pytest.raises(ModelUnavailable, match="is not a file"):
        locate(str(tmp_path), tmp_path, OFFLINE, notes.append, unwatched)


def test_an_unknown_name_is_refused(tmp_path, notes):
    with pytest.raises(BadOption):
        locate("smal", tmp_path, OFFLINE, notes.append, unwatched)


def test_an_alias_is_looked_for_under_its_name(tmp_path, notes):
    with pytest.raises(ModelUnavailable, match=r"copy large-v3-turbo\.pt"):
        locate("turbo", tmp_path, OFFLINE, notes.append, unwatched)


def test_a_published_model_is_downloaded_once(tmp_path, notes):
    with serving(CONTENT) as server:
        options = FetchOptions(mirror=server.url)
        for _ in range(2):
            found = published(small(), tmp_path, options, notes.append, unwatched)
            assert found == Weights("small", tmp_path / "small.pt", small(), SHA256)
        assert [asked.path for asked in server.asked] == ["/small.pt"]
    assert found.path.read_bytes() == CONTENT


def test_what_a_server_gives_must_be_what_was_published(tmp_path, notes):
    with (
        serving(CONTENT) as server,
        pytest.raises(ModelUnavailable, match=f"{len(CONTENT)} bytes are offered"),
    ):
        locate("small", tmp_path, FetchOptions(server.url), notes.append, unwatched)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_copied_from_a_folder(tmp_path, notes):
    (tmp_path / "small.pt").write_bytes(CONTENT)
    found = imported(small(), tmp_path, tmp_path / "new", notes.append, unwatched)
    assert found == Weights("small", tmp_path / "new" / "small.pt", small(), SHA256)
    assert found.path.read_bytes() == CONTENT
    with pytest.raises(ModelUnavailable, match=f"{SHA256} instead of {find('small').sha256}"):
        imported(find("small"), tmp_path, tmp_path / "other", notes.append, unwatched)


def test_the_demo_is_not_published(tmp_path, notes):
    with pytest.raises(BadOption, match="always here"):
        published(find("demo"), tmp_path, OFFLINE, notes.append, unwatched)
    with pytest.raises(BadOption, match="always here"):
        imported(find("demo"), tmp_path, tmp_path, notes.append, unwatched)


def test_a_file_that_was_verified_is_not_read_again(tmp_path, notes):
    """Without OpenAI's bytes at hand, the stamp says what it would say of them."""
    path = tmp_path / "small.pt"
    path.write_bytes(CONTENT)
    remember(path, find("small").sha256)
    found = locate("small", tmp_path, OFFLINE, notes.append, unwatched)
    assert found == Weights("small", path, find("small"), find("small").sha256)


def test_a_removed_model_leaves_nothing_but_what_is_not_ours(tmp_path, notes):
    (tmp_path / "mine.pt").write_bytes(b"")
    with serving(CONTENT) as server:
        published(small(), tmp_path, FetchOptions(server.url), notes.append, unwatched)
    stamp_bytes = stamp_of(tmp_path / "small.pt").stat().st_size
    with open_part(tmp_path / "small.pt", pytest.fail) as part:
        part.append(b"1234")
        part.etag = '"one"'
    assert remove("small", tmp_path) == len(CONTENT) + stamp_bytes + 4
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.pt"]


def test_a_download_that_was_not_finished_can_be_removed(tmp_path):
    with open_part(tmp_path / "large-v3.pt", pytest.fail) as part:
        part.append(b"1234")
    assert remove("large", tmp_path) == 4
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_cannot_be_removed(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"no small\.pt in"):
        remove("small", tmp_path / "missing")
    for model in ("demo", "smal", "mine.pt"):
        with pytest.raises(BadOption):
            remove(model, tmp_path)


def test_what_is_being_fetched_is_not_removed(tmp_path):
    with open_part(tmp_path / "small.pt", pytest.fail) as part:
        part.append(b"1234")
        with pytest.raises(Busy, match="being fetched by another process"):
            remove("small", tmp_path)
        assert part.size_bytes == 4


def test_what_cannot_be_removed_is_said_so(tmp_path):
    (tmp_path / "small.pt").mkdir()
    with pytest.raises(StorageFailed, match="cannot be removed"):
        remove("small", tmp_path)


def test_at_hand_lists_the_smallest_first(tmp_path):
    for name in ("large-v3", "tiny", "small.en", "demo", "unknown"):
        (tmp_path / f"{name}.pt").write_bytes(b"")
    (tmp_path / "medium.pt").mkdir()
    assert at_hand(tmp_path) == ("tiny", "small.en", "large-v3")
    assert at_hand(tmp_path / "missing") == ()
