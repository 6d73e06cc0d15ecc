"""Subtitles are known by the names that players give them, and by whose they are."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.batch import MEDIA_SUFFIXES
from workers.watch.sidecars import Sidecar, Subtitles


@pytest.mark.parametrize(
    ("name", "language", "is_forced", "is_sdh"),
    [
        ("film.srt", None, False, False),
        ("film.en.srt", "en", False, False),
        ("film.EN.SRT", "en", False, False),
        ("film.eng.srt", "en", False, False),
        ("film.ger.vtt", "de", False, False),
        ("film.deu.ass", "de", False, False),
        ("film.pt-BR.srt", "pt", False, False),
        ("film.zh-Hans.srt", "zh", False, False),
        ("film.zh_TW.srt", "zh", False, False),
        ("film.yue.srt", "yue", False, False),
        ("film.eng.forced.srt", "en", True, False),
        ("film.forced.en.srt", "en", True, False),
        ("film.forced.srt", None, True, False),
        ("film.foreign.en.ssa", "en", True, False),
        ("film.en.sdh.srt", "en", False, True),
        ("film.en.cc.srt", "en", False, True),
        ("film.en.hi.srt", "en", False, True),
        ("film.hi.en.srt", "en", False, True),
        ("film.hi.srt", "hi", False, False),
        ("film.hin.srt", "hi", False, False),
        ("film.hi.hi.srt", "hi", False, True),
        ("film.en.default.srt", "en", False, False),
        ("film.Director's comments.en.srt", "en", False, False),
        ("film.en.Signs.srt", "en", False, False),
        ("film.Signs.sub", None, False, False),
        ("film.und.srt", None, False, False),
        ("film.2019.srt", None, False, False),
        ("film.mkv.en.srt", "en", False, False),
        ("film..en..srt", "en", False, False),
    ],
)
def test_a_name_says_language_and_kind(name, language, is_forced, is_sdh):
    expected = Sidecar(name, language, is_forced, is_sdh)
    assert Subtitles(["film.mkv", name]).beside("film.mkv") == (expected,)


def names(subtitles, media):
    return [sidecar.name for sidecar in subtitles.beside(media)]


@pytest.mark.parametrize(
    "name", ["film.txt", "film.json", "films.en.srt", "film2.srt", "film-en.srt", "en.srt", ".srt"]
)
def test_everything_else_is_none(name):
    assert Subtitles(["film.mkv", name]).beside("film.mkv") == ()


def test_the_longest_name_of_two_films_decides():
    found = Subtitles(
        ["Film.mkv", "Film.2019.mkv", "Film.en.srt", "Film.2019.en.srt", "Film.2020.en.srt"]
    )
    assert names(found, "Film.mkv") == ["Film.2020.en.srt", "Film.en.srt"]
    assert names(found, "Film.2019.mkv") == ["Film.2019.en.srt"]


def test_a_whole_name_belongs_to_one_of_two_that_share_a_stem():
    found = Subtitles(["talk.mp3", "talk.mp4", "talk.en.srt", "talk.mp4.en.srt"])
    assert names(found, "talk.mp3") == ["talk.en.srt"]
    assert names(found, "talk.mp4") == ["talk.en.srt", "talk.mp4.en.srt"]


def test_the_media_suffixes_can_be_others():
    listed = ["clip.xyz", "clip.en.srt"]
    assert names(Subtitles(listed, frozenset((".xyz",))), "clip.xyz") == ["clip.en.srt"]
    assert names(Subtitles(listed), "clip.xyz") == []


def test_names_that_are_not_utf_8_are_no_trouble():
    found = Subtitles(["caf\udce9.mp3", "caf\udce9.fr.srt"])
    assert names(found, "caf\udce9.mp3") == ["caf\udce9.fr.srt"]


def test_a_hundred_thousand_names_are_a_matter_of_a_second():
    listed = [f"film {n}{end}" for n in range(50_000) for end in (".mkv", ".en.srt")]
    began_s = time.process_time()
    found = Subtitles(listed)
    assert all(len(found.beside(name)) == 1 for name in listed[::2])
    assert time.process_time() - began_s < 10  # all pairs would take hours


PARTS = st.lists(st.sampled_from(["film", "en", "hi", "forced", "2019", "mkv", ""]), max_size=5)
NAMES = st.builds(
    lambda parts, suffix: ".".join(["film", *parts]) + suffix,
    PARTS,
    st.sampled_from([".mkv", ".mp3", ".srt", ".vtt"]),
)


@given(st.sets(NAMES, max_size=12))
@settings(max_examples=100)
def test_a_subtitle_is_beside_the_media_whose_names_begin_it_longest(listed):
    found = Subtitles(listed)
    media = [name for name in listed if name[-4:] in MEDIA_SUFFIXES]
    for subtitle in listed - set(media):
        keys = {key for name in media for key in (name, name[:-4])}
        fitting = [key for key in keys if f"{subtitle[:-4]}.".startswith(f"{key}.")]
        owner = max(fitting, key=len, default=None)
        for name in media:
            is_beside = subtitle in names(found, name)
            assert is_beside == (owner in (name, name[:-4]))
