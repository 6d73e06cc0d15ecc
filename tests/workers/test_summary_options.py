"""What the flags of summaries mean."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pipeline.errors import BadOption, NoSuchFile
from pipeline.summaries.options import SummaryOptions
from workers.summary_options import summary_of, wish_of, wish_option


def flags(*arguments):
    """What click makes of a command line."""

    @click.command()
    @wish_option
    def command(**_):
        """Nothing."""

    return command.make_context("run", list(arguments)).params


def wish(*arguments):
    return wish_of(flags("--summary", *arguments))


def test_only_the_flag_is_a_wish_and_defaults_are_the_options_own():
    assert wish_of(flags()) is None
    assert wish() == SummaryOptions() == summary_of(flags())


@pytest.mark.parametrize(
    "how", [("--llm", "none"), ("--style", "meeting"), ("--summary-format", "md")]
)
def test_how_without_the_wish_is_not_passed_over_in_silence(how):
    with pytest.raises(BadOption, match="add --summary"):
        wish_of(flags(*how))


def test_every_flag_has_its_place():
    assert wish(
        *("--llm", "qwen3-4b", "--style", "meeting", "--summary-language", "German"),
        *("--glossary", " Ulla Meyer, Kubernetes ,,", "--summary-format", "md"),
        *("--summary-format", "ffmetadata", "--summary-format", "md"),
    ) == SummaryOptions("qwen3-4b", "meeting", "de", ("Ulla Meyer", "Kubernetes"),
                        ("md", "ffmetadata"))  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("--llm", "qwen3-4"),
        ("--llm", "http://host:port"),
        ("--llm", "ftp://host"),
        ("--llm", "https://me:secret@host"),
        ("--style", "haiku"),
        ("--summary-language", "Klingon"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_heard(arguments):
    with pytest.raises(BadOption):
        wish(*arguments)


def test_a_file_of_prompts_that_is_not_there_is_told_too():
    with pytest.raises(NoSuchFile):
        wish("--style", "nosuch.toml")


@pytest.mark.parametrize("llm", ["none", "auto", "qwen3-4b", "http://localhost:11434#llama3.2"])
def test_names_and_addresses_are_passed_on_as_they_are(llm):
    assert wish("--llm", llm).llm == llm


def test_an_empty_variable_of_the_shell_names_no_model():
    assert wish("--llm", "").llm is None


def test_files_are_the_same_wherever_the_work_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('part = "Note all."\nmerge = "Join all."\n')
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert wish("--llm", "model.gguf").llm == str(tmp_path / "model.gguf")
    assert wish("--llm", "~/model.gguf").llm == str(tmp_path / "me" / "model.gguf")
    assert wish("--llm", "./model").llm == str(tmp_path / "model")
    assert wish("--style", "mine.toml").style == str(tmp_path / "mine.toml")
    assert wish("--style", "./mine.toml").style == str(tmp_path / "mine.toml")
