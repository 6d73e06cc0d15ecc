"""Language tags made short."""

from __future__ import annotations

import re

import pytest

from pipeline.iso639 import BIBLIOGRAPHIC, SHORT_CODES, TERMINOLOGICAL, short_code


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        *[("ger", "de"), ("deu", "de"), ("de-CH", "de"), ("DE_at", "de"), ("chi", "zh")],
        *[("zho", "zh"), ("cmn-Hans", "zh"), ("nob", "no"), ("nno", "nn"), ("jw", "jv")],
        *[("haw", "haw"), ("yue", "yue"), ("und", None), ("mul", None), (" ", None)],
    ],
)
def test_language_tags_become_two_letters_where_there_are_two(tag, code):
    assert short_code(tag) == code


def test_the_language_table_is_whole():
    twos = set(SHORT_CODES.values())
    assert len(TERMINOLOGICAL.split()) == 184
    assert len(BIBLIOGRAPHIC.split()) == 20
    assert all(re.fullmatch("[a-z]{2}", two) for two in twos)
