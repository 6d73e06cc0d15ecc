"""What outputs are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadOption
from pipeline.naming import MAX_NAME_BYTES, check_template, targets
from pipeline.types import Job, OutputOptions, Source, SpeechOptions


def job(path="/m/talk.mp4", **output):
    return Job(Source(Path(path), 1, 1), SpeechOptions(model="small"), OutputOptions(**output))


def mine(_targets, _source):
    return True


class Claims:
    """Whose path is whose, without a disk."""

    def __init__(self, owners=()):
        self.owners = dict(owners)

    def __call__(self, targets, source):
        targets = tuple(targets)
        if any(self.owners.get(target, source) != source for target in targets):
            return False
        self.owners.update(dict.fromkeys(targets, source))
        return True


def test_subtitles_lie_beside_the_media_and_name_their_language():
    assert targets(job(), "de", mine) == {"srt": Path("/m/talk.de.srt")}


def test_another_folder_and_several_formats():
    wanted = job(output_dir=Path("/out"), formats=("srt", "json"))
    assert targets(wanted, "en", mine) == {
        "srt": Path("/out/talk.en.srt"),
        "json": Path("/out/talk.en.json"),
    }


def test_a_template_names_model_and_task():
    wanted = job(name="{stem}-{model}-{task}.{format}")
    assert targets(wanted, "en", mine)["srt"].name == "talk-small-transcribe.srt"


def test_a_translation_is_english_whatever_was_spoken():
    wanted = Job(Source(Path("/m/a.mp3"), 1, 1), SpeechOptions(task="translate"), OutputOptions())
    assert targets(wanted, "de", mine)["srt"].name == "a.en.srt"


def test_the_second_of_two_media_with_one_stem_gets_its_whole_name():
    claims = Claims({Path("/m/talk.en.srt"): Path("/m/talk.mp3")})
    assert targets(job(), "en", claims) == {"srt": Path("/m/talk.mp4.en.srt")}


def test_formats_share_one_stem_even_if_only_one_of_them_is_taken():
    claims = Claims({Path("/m/talk.en.json"): Path("/m/talk.mp3")})
    named = targets(job(formats=("srt", "json")), "en", claims)
    assert [path.name for path in named.values()] == ["talk.mp4.en.srt", "talk.mp4.en.json"]
    assert Path("/m/talk.en.srt") not in claims.owners


def test_the_same_name_from_two_folders_into_one_gets_a_hash():
    claims = Claims()
    names = [
        targets(job(path, output_dir=Path("/out")), "en", claims)["srt"].name
        for path in ("/a/talk.mp4", "/b/talk.mp4", "/c/talk.mp4")
    ]
    assert names[:2] == ["talk.en.srt", "talk.mp4.en.srt"]
    assert names[2].startswith("talk.mp4.")
    assert len(set(names)) == 3


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=300))
def test_any_name_fits_the_file_system(stem):
    name = targets(job(f"/m/{stem}.mp3"), "en", mine)["srt"].name
    assert len(os.fsencode(name)) <= MAX_NAME_BYTES
    assert name.endswith(".en.srt")


def test_two_long_names_that_differ_at_the_end_stay_different():
    names = {targets(job(f"/m/{'x' * 248}{end}.mp3"), "en", mine)["srt"].name for end in "ab"}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{stem}.{colour}.srt", "fields are"),
        ("{stem}.{language", "fields are"),
        ("{stem}{0}", "fields are"),
        ("{stem:.0}.{format}", "fields are"),
        ("{stem!r}.{format}", "fields are"),
        ("{stem}.wav", "end in .{format}"),
        ("{stem}", "end in .{format}"),
        ("x" * 200 + "{stem}.{format}", "make it shorter"),
        ("subs/{stem}.srt", "no slash"),
        ("{language}.srt", "share one name"),
        ("{stem}.srt", "add {format}"),
    ],
)
def test_a_template_that_cannot_work_is_refused_at_once(template, why):
    with pytest.raises(BadOption, match=why):
        check_template(template, ("srt", "vtt"))
