"""A folder's settings reach the files in it, the nearest wins, and a bad one stops nothing."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.types import OutputOptions, SpeechOptions
from workers.watch.folder_settings import FolderSettings, SettingsFiles, applied

ALL = """
model = "turbo"
wish = "best"
language = "de"
task = "translate"
prompt = "A talk about rivers."
glossary = ["Elbe", " Spree ", ""]
formats = ["vtt", "srt"]
name = "{stem}.{language}.{format}"
summary = true
priority = "high"
output_dir = "subtitles"
enabled = false
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "shows" / "one").mkdir(parents=True)
    return tmp_path


def write(folder, text):
    path = folder / "transcribe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def only_complaint(root):
    found = SettingsFiles().of(root, root)
    (complaint,) = found.complaints
    assert complaint.path == root / "transcribe.toml"
    return found.settings, complaint.line, complaint.reason


# ── what holds ───────────────────────────────────────────────────────────────────────────────


def test_every_key_is_read(root):
    write(root, ALL)
    found = SettingsFiles().of(root, root)
    assert found.complaints == ()
    assert found.settings == FolderSettings(
        model="large-v3-turbo",
        wish="best",
        language="de",
        task="translate",
        prompt="A talk about rivers.",
        glossary=("Elbe", "Spree"),
        formats=("vtt", "srt"),
        name="{stem}.{language}.{format}",
        summary=True,
        priority="high",
        output_dir=root / "subtitles",
        enabled=False,
    )


def test_without_a_file_nothing_is_said(root):
    assert SettingsFiles().of(root / "shows" / "one", root).settings == FolderSettings()


def test_the_nearest_wins_key_by_key(root):
    write(root, 'language = "de"\ntask = "translate"\nenabled = false')
    write(root / "shows", 'language = "fr"\nmodel = "small"')
    write(root / "shows" / "one", "enabled = true")
    found = SettingsFiles().of(root / "shows" / "one", root).settings
    assert found == FolderSettings(language="fr", task="translate", model="small", enabled=True)
    assert SettingsFiles().of(root, root).settings.language == "de"


def test_nothing_above_the_root_is_asked(root):
    write(root, 'language = "de"')
    folder = root / "shows"
    assert SettingsFiles().of(folder / "one", folder).settings == FolderSettings()


def test_below_an_output_folder_files_keep_their_place(root):
    write(root / "shows", 'output_dir = "../subtitles"')
    found = SettingsFiles().of(root / "shows" / "one", root)
    assert found.settings.output_dir == root / "subtitles" / "one"


def test_a_model_of_ones_own_lies_where_the_settings_say(root):
    write(root / "shows", 'model = "./mine.pt"')
    found = SettingsFiles().of(root / "shows" / "one", root)
    assert found.settings.model == str(root / "shows" / "mine.pt")


def test_a_file_that_windows_wrote_is_read(root):
    (root / "transcribe.toml").write_bytes(b'\xef\xbb\xbflanguage = "de"\r\nsummary = true\r\n')
    assert SettingsFiles().of(root, root).settings == FolderSettings(language="de", summary=True)


def test_a_changed_file_is_read_again_and_a_removed_one_forgotten(root):
    files = SettingsFiles()
    path = write(root, 'language = "de"')
    assert files.of(root, root).settings.language == "de"
    path.write_text('language = "fr"')
    os.utime(path, ns=(1, 1))
    assert files.of(root, root).settings.language == "fr"
    path.unlink()
    assert files.of(root, root).settings.language is None


def test_an_unchanged_file_is_not_read_again(root):
    files = SettingsFiles()
    write(root, 'language = "de"')
    assert files.of(root, root).settings.language is files.of(root, root).settings.language
    assert files._at(root, root) is files._at(root, root)


# ── what is wrong ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('modle = "small"', "modle: there is no such key; there are model, wish"),
        ('model = "smal"', 'There is no model "smal"; did you mean small'),
        ("model = 3", "model: a value of type int is no text"),
        ('wish = "fastest"', 'wish: "fastest" is none of fast, balanced, best'),
        ("wish = [1]", "wish: a value of type list is none of"),
        ('language = "xx"', 'There is no language "xx"'),
        ('task = "summarise"', "task: "),
        ("prompt = true", "prompt: a value of type bool is no text"),
        ('prompt = "\\u0000"', "prompt: the text has a NUL"),
        ('glossary = "Elbe"', 'glossary: "Elbe" is no list'),
        ("glossary = [1]", "glossary: a value of type int is no text"),
        ('formats = ["pdf"]', 'formats: "pdf" is none of srt, vtt, txt, json, all'),
        ("formats = []", "formats: no format is named"),
        ('name = "{stem}.srt"', "name: name '{stem}.srt': might be taken for something else"),
        ('name = "a/{stem}.{format}"', "a name has no slash"),
        ('summary = "yes"', 'summary: "yes" is neither true nor false'),
        ('priority = "urgent"', "priority: "),
        ("enabled = 0", "enabled: a value of type int is neither"),
        ('output_dir = "/etc"', 'output_dir: "/etc" leads out of the watched folder'),
        ('output_dir = "../out"', "leads out of the watched folder"),
        ('output_dir = "link"', "leads out of the watched folder"),
        ('output_dir = "transcribe.toml"', "is a file: give a folder"),
        ("[speech]\nmodel = 1", "speech: there is no such key"),
        ('output.name = "x"', "output: there is no such key"),
    ],
)
def test_a_bad_value_is_told_with_its_line_and_the_rest_holds(root, line, reason):
    (root / "link").symlink_to(root.parent)
    good = "summary = false" if line.startswith("task") else 'task = "translate"'
    write(root, f"# settings\n{good}\n\n{line}\n")
    found, number, told = only_complaint(root)
    assert number == 4
    assert reason in told
    assert found in (FolderSettings(task="translate"), FolderSettings(summary=False))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('language = "de"\nmodel = small\n', 2),
        ('language = "de"\nlanguage = "fr"\n', 2),
        ('language = "de"\n\nprompt = """never\nended\n', 4),
        ("[[[", 1),
    ],
)
def test_of_a_file_that_is_no_toml_nothing_holds(root, text, line):
    write(root, text)
    found, number, reason = only_complaint(root)
    assert found == FolderSettings()
    assert number == line
    assert reason.startswith("is no TOML, so nothing in it holds: ")


def test_a_file_in_another_encoding_is_told_with_its_line(root):
    (root / "transcribe.toml").write_bytes('# ü\nprompt = "Köln"\n'.encode("latin-1"))
    _, line, reason = only_complaint(root)
    assert (line, reason) == (1, "is not UTF-8: save it as that.")


def test_what_is_no_file_is_not_opened(root):
    os.mkfifo(root / "transcribe.toml")
    assert only_complaint(root) == (FolderSettings(), None, "is not a file.")


def test_a_folder_of_that_name_stops_nothing(root):
    (root / "transcribe.toml").mkdir()
    assert only_complaint(root)[2] == "is not a file."


def test_a_huge_file_is_not_read(root):
    write(root, "#" * 70_000)
    assert "larger than 65,536 bytes" in only_complaint(root)[2]


def test_nesting_without_end_stops_nothing(root):
    write(root, f"model = {'[' * 30_000}")
    assert only_complaint(root)[0] == FolderSettings()


def test_a_bad_file_above_does_not_spoil_the_nearer_one(root):
    write(root, "nonsense")
    write(root / "shows", 'language = "de"')
    found = SettingsFiles().of(root / "shows", root)
    assert found.settings == FolderSettings(language="de")
    assert [complaint.path for complaint in found.complaints] == [root / "transcribe.toml"]


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()))
@settings(max_examples=60)
def test_whatever_lies_there_settings_are_found(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "transcribe.toml").write_bytes(content)
    found = SettingsFiles().of(folder, folder)
    if not found.complaints:
        assert isinstance(tomllib.loads(content.decode("utf-8-sig")), dict)


# ── with flags ───────────────────────────────────────────────────────────────────────────────


def test_settings_change_what_no_flag_has_said():
    found = FolderSettings(
        model="small",
        wish="fast",
        language="de",
        task="translate",
        prompt="Rivers.",
        glossary=("Elbe", "Spree"),
        formats=("vtt",),
        name="{stem}-{language}.{format}",
        output_dir=Path("/watched/out"),
    )
    speech, output = applied(found, SpeechOptions(), OutputOptions())
    assert speech == SpeechOptions(
        model="small",
        wish="fast",
        language="de",
        task="translate",
        initial_prompt="Rivers. Glossary: Elbe, Spree.",
    )
    assert output == OutputOptions(
        formats=("vtt",),
        name="{stem}-{language}.{format}",
        output_dir=Path("/watched/out"),
    )


def test_flags_that_were_given_win():
    found = FolderSettings(model="small", language="de", prompt="Rivers.", formats=("vtt",))
    speech = SpeechOptions(model="tiny", initial_prompt="Lakes.")
    flags = frozenset(("model", "initial_prompt", "formats"))
    heard, output = applied(found, speech, OutputOptions(), flags)
    assert heard == SpeechOptions(model="tiny", language="de", initial_prompt="Lakes.")
    assert output == OutputOptions()


def test_a_glossary_is_told_after_the_prompt_of_a_flag():
    found = FolderSettings(prompt="Rivers.", glossary=("Elbe",))
    speech = SpeechOptions(initial_prompt="Lakes.")
    heard, _ = applied(found, speech, OutputOptions(), frozenset(("initial_prompt",)))
    assert heard.initial_prompt == "Lakes. Glossary: Elbe."


def test_a_folder_can_take_back_what_one_above_has_said(root):
    write(root, 'language = "de"\nprompt = "Rivers."\nglossary = ["Elbe"]')
    write(root / "shows", 'language = "auto"\nprompt = ""\nglossary = []')
    found = SettingsFiles().of(root / "shows", root)
    speech, _ = applied(found.settings, SpeechOptions(), OutputOptions())
    assert speech == SpeechOptions()


def test_a_name_that_was_given_keeps_the_formats_that_it_can_carry():
    output = OutputOptions(name="{stem}.srt")
    found = FolderSettings(formats=("vtt",))
    assert applied(found, SpeechOptions(), output, frozenset(("name",)))[1] == output
    assert applied(found, SpeechOptions(), OutputOptions())[1].formats == ("vtt",)
