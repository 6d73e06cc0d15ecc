"""`transcribe models` as a person types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from models.choose import GIB
from workers.cli import main
from workers.model_commands import Size


@pytest.fixture
def transcribe():
    def run(*arguments):
        return CliRunner().invoke(main, list(arguments))

    return run


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("6GiB", 6 * GIB),
        ("6 gib", 6 * GIB),
        ("1.5GB", 1_500_000_000),
        ("512M", 512_000_000),
        ("512MiB", 512 * 2**20),
        ("1000", 1000),
        ("7k", 7000),
        ("1TiB", 2**40),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size_bytes):
    assert Size().convert(text, None, None) == size_bytes


@pytest.mark.parametrize("text", ["", "six", "-1GB", "6PiB", "6i", "G"])
def test_what_is_no_size_is_refused(transcribe, text):
    ended = transcribe("models", "choose", "--free", text)
    assert ended.exit_code == 2
    assert "is no size" in ended.output


def test_the_table_names_every_published_model_and_the_choices(transcribe):
    for arguments in (("models",), ("models", "list")):
        ended = transcribe(*arguments)
        assert ended.exit_code == 0
        lines = ended.output.splitlines()
        assert [line.split()[0] for line in lines[1:13]] == [
            "tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium",
            "large-v3-turbo", "large-v1", "large-v2", "large-v3",
        ]  # fmt: skip
        assert any(line.startswith("English: ") for line in lines)
        assert any(line.startswith("another language: ") for line in lines)


def test_the_table_for_programs_has_the_same(transcribe):
    for arguments in (("models", "--json"), ("models", "list", "--json")):
        found = json.loads(transcribe(*arguments).stdout)
        small = next(row for row in found["inventory"]["rows"] if row["name"] == "small")
        assert small["parameters"] == 241_734_912
        assert (small["on_disk"], small["quantised"]) == (False, [])
        needs = {need["quantisation"]: need["need_bytes"] for need in small["needs"]}
        assert needs["int4"] < needs["int8"] < needs["float32"]
        assert all(choice["need_bytes"] <= choice["free_bytes"] for choice in found["choices"])


def test_a_choice_is_made_for_memory_that_one_only_thinks_of(transcribe):
    ended = transcribe("models", "choose", "--free", "6GiB", "--language", "zh", "--json")
    choice = json.loads(ended.stdout)
    assert choice["device"] == "cuda:0"
    assert choice["need_bytes"] <= choice["free_bytes"] == 6 * GIB
    ended = transcribe("models", "choose", "--free", "5GiB", "--device", "cpu", "-l", "English")
    assert ended.output.startswith("small, ")
    assert "on the CPU: needs" in ended.output


def test_memory_that_one_only_thinks_of_is_never_that_of_this_machine(transcribe):
    ended = transcribe("models", "choose", "--free", "0")
    assert ended.exit_code == 3
    assert "on GPU 0, where 0.0 GiB are free;" in ended.stderr
    choice = json.loads(
        transcribe("models", "choose", "--free", "9GiB", "--device", "cuda:1", "--json").stdout
    )
    assert choice["device"] == "cuda:1"


def test_an_answer_is_given_however_quiet_it_is_to_be(transcribe):
    assert transcribe("models", "choose", "--quiet").stdout
    assert "large-v3" in transcribe("models", "--quiet").stdout


def test_a_narrow_terminal_cuts_no_number(transcribe):
    ended = CliRunner(env={"COLUMNS": "60"}).invoke(main, ["models"])
    assert "…" not in ended.output.split("float32 …")[0]


def test_programs_are_told_what_came_of_each_name(transcribe, own_home):
    weights = own_home / "weights"
    weights.mkdir()
    (weights / "tiny.pt").write_bytes(bytes(3))
    ended = transcribe("models", "remove", "tiny", "base", "--json")
    tiny, base = map(json.loads, ended.stdout.splitlines())
    assert (tiny["freed_bytes"], tiny["exit_code"]) == (3, 0)
    assert "base.pt" in base["error"]


def test_a_choice_that_cannot_be_made_says_why(transcribe):
    ended = transcribe("models", "choose", "--free", "50MiB", "--device", "cpu")
    assert ended.exit_code == 3
    assert "does not fit" in ended.stderr
    assert transcribe("models", "choose", "--language", "klingon").exit_code == 2


def test_models_come_from_a_folder_and_are_verified(transcribe, own_home, tmp_path):
    (tmp_path / "tiny.pt").write_bytes(b"not the tiny that OpenAI published")
    ended = transcribe("models", "fetch", "tiny", "base", "--from", str(tmp_path))
    assert ended.exit_code == 3
    assert "tiny.pt" in ended.output
    assert "base" in ended.output
    assert not list((own_home / "weights").glob("*.pt"))


def test_a_model_with_a_misspelt_name_is_not_fetched(transcribe):
    ended = transcribe("models", "fetch", "smal")
    assert ended.exit_code == 2
    assert "did you mean small" in ended.output
    assert "file of your own" in transcribe("models", "fetch", "./mine.pt").output


def test_what_is_removed_is_gone_and_what_is_not_there_is_said(transcribe, own_home):
    weights = own_home / "weights"
    weights.mkdir()
    (weights / "tiny.pt").write_bytes(bytes(2_000_000))
    ended = transcribe("models", "remove", "tiny", "base")
    assert ended.exit_code == 3
    assert "tiny: 2 MB freed" in ended.output
    assert "base" in ended.output
    assert not (weights / "tiny.pt").exists()
    assert transcribe("models", "remove", "demo").exit_code == 2


def test_offline_nothing_is_downloaded(transcribe, monkeypatch):
    monkeypatch.setenv("TRANSCRIBE_OFFLINE", "1")
    ended = transcribe("models", "fetch", "tiny")
    assert ended.exit_code == 3
    assert "--from" in ended.output
