"""Prompts in files."""

from __future__ import annotations

import pytest

from pipeline.errors import BadOption, NoSuchFile
from pipeline.summaries.styles import FOLDER, known_styles, load_style


@pytest.fixture
def own(tmp_path):
    def write(text):
        path = tmp_path / "own.toml"
        path.write_text(text, encoding="utf-8", newline="\n")
        return str(path)

    return write


GOOD = 'part = "Note it."\nmerge = "Join it."\n'


def test_the_styles_that_come_along_are_whole():
    assert known_styles() == ("general", "interview", "lecture", "meeting", "podcast")
    for name in known_styles():
        style = load_style(name)
        assert style.name == name
        assert len(style.version) == 12
        assert "key point" in style.part
        assert "transcript" in style.part
        assert "notes" in style.merge or "minutes" in style.merge


def test_only_meetings_have_actions():
    assert [name for name in known_styles() if "actions" in load_style(name).lists] == ["meeting"]


def test_a_user_s_own_file_is_taken_and_its_version_is_its_content(own):
    first = load_style(own(GOOD))
    assert (first.name, first.part, first.merge) == ("own", "Note it.", "Join it.")
    assert first.lists == ("topics", "people", "terms", "questions", "actions")
    second = load_style(own(GOOD + 'lists = ["actions", "topics"]\n'))
    assert second.lists == ("topics", "actions")
    assert second.version != first.version


def test_a_copy_of_a_file_that_comes_along_works(own):
    copy = load_style(own((FOLDER / "podcast.toml").read_text(encoding="utf-8")))
    assert copy.part == load_style("podcast").part
    assert copy.version == load_style("podcast").version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('part = "a"\nmerge = \n', "line 2"),
        ('part = "a"\n', r"own.toml, line 2: merge must be a text"),
        ('\npart = 7\nmerge = "b"\n', r"line 2: part must be a text"),
        (GOOD + 'stlye = "x"\n', r"line 3: stlye is not known"),
        (GOOD + 'lists = ["jokes"]\n', r"line 3: lists may have: topics, people"),
        (GOOD + "lists = 5\n", r"line 3: lists may have"),
        (f'part = "{"x" * 7000}"\nmerge = "b"\n', r"line 1: part is too long"),
        ("#" * 200_000, "too large"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(own, text, message):
    with pytest.raises(BadOption, match=message):
        load_style(own(text))


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b'part = "a"\nmerge = "\xff"\n')
    with pytest.raises(BadOption, match=r"line 2: not UTF-8"):
        load_style(str(path))


def test_unknown_styles_and_missing_files_are_told():
    with pytest.raises(BadOption, match="no such style: take general, interview"):
        load_style("haiku")
    with pytest.raises(NoSuchFile, match="is no file"):
        load_style("/nowhere/own.toml")
