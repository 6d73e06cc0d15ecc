"""A summary's sections are named in its language."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from pipeline.iso639 import SHORT_CODES
from pipeline.summaries.extractive import extract
from pipeline.summaries.headings import HEADINGS, headings
from pipeline.summaries.markdown import render_markdown
from tests.pipeline.summaries.talks import talk


@pytest.mark.parametrize("language", HEADINGS)
def test_every_section_has_a_name_of_its_own_on_one_line(language):
    names = astuple(HEADINGS[language])
    assert len(set(names)) == len(names)
    assert all(name == name.strip() and name.isprintable() and name for name in names)
    assert language.partition("-")[0] in SHORT_CODES.values()


@pytest.mark.parametrize(
    ("language", "points"),
    [("de", "Kernpunkte"), ("pt-BR", "Pontos principais"), ("ZH-hans", "要点"), ("zh-CN", "要点"),
     ("ZH-hant", "重點"), ("zh-TW", "重點"), ("zh-Hant-HK", "重點"), ("yue", "重點"),
     ("nb", "Hovedpunkter"), ("nn-NO", "Hovedpunkter")],
)  # fmt: skip
def test_a_language_is_found_whatever_its_country(language, points):
    assert headings(language).points == points


@pytest.mark.parametrize("language", [None, "xx", ""])
def test_a_language_without_a_table_has_english_names(language):
    assert headings(language) == HEADINGS["en"]


def test_sentences_of_a_german_talk_stand_under_german_headings():
    page = render_markdown(extract(replace(talk(90), language="de")))
    assert "\n## Kernpunkte\n" in page
    assert "\n## Kapitel\n" in page
    assert "Key points" not in page
