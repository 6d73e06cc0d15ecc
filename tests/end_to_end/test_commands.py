"""The commands as a person types them."""

from __future__ import annotations

import shutil

import pytest

from models.demo import clips

CLIP = clips()[0].path


def test_the_demo_shows_its_first_cues(program):
    ended = program.run("demo")
    assert ended.code == 0
    assert "Hello and welcome back" in " ".join(ended.out.split())
    assert (program.home / "demo" / "episode.en.srt").exists()
    assert not (program.home / "jobs").exists()


def test_a_folder_keeps_its_tree_in_the_output_folder_and_clean_removes_what_is_kept(program):
    (program.folder / "show" / "one").mkdir(parents=True)
    shutil.copyfile(CLIP, program.folder / "show" / "one" / "a.wav")
    shutil.copyfile(CLIP, program.folder / "show" / "a.wav")
    ended = program.run("-r", "--model", "demo", "-o", "out", "-f", "all", "show")
    assert ended.code == 0
    made = sorted(path.relative_to(program.folder) for path in program.folder.glob("out/**/*.*"))
    kinds = ("json", "srt", "txt", "vtt")
    assert [str(path) for path in made] == [
        *(f"out/a.en.{kind}" for kind in kinds),
        *(f"out/one/a.en.{kind}" for kind in kinds),
    ]
    assert "model: demo, " in (program.folder / "out" / "a.en.vtt").read_text()

    assert program.run("clean").code == 0
    assert list(program.home.glob("jobs/*")) == []
    again = program.run("-r", "--model", "demo", "-o", "out", "-f", "all", "show")
    assert again.code == 0
    assert again.out.count("skipped") == 2


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_needs_nothing(program, arguments):
    ended = program.run(*arguments)
    assert ended.code == 0
    assert "transcribe" in ended.out.lower()
    assert not program.home.exists()


def test_an_empty_name_is_not_the_current_folder(program):
    shutil.copyfile(CLIP, program.folder / "a.wav")
    ended = program.run("-r", "--model", "demo", "")
    assert ended.code == 2
    assert "empty name" in ended.err
    assert not list(program.folder.glob("*.srt"))


def test_a_home_of_nobody_is_a_folder_of_that_name(program):
    ended = program.run("clean", TRANSCRIBE_HOME="~nobody-of-that-name/x")
    assert (ended.code, ended.out) == (0, "0.0 MB freed\n")


def test_a_typo_in_a_name_fetches_no_weights(program):
    ended = program.run("nosuch.mp3")
    assert ended.code == 2
    assert "nosuch.mp3 does not exist" in ended.out
    assert "download" not in ended.out + ended.err
