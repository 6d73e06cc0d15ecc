"""What languages are called in English."""

from __future__ import annotations

import pytest

from models.registry import LANGUAGES
from pipeline.summaries.languages import NAMES, code_of


def test_every_language_that_whisper_hears_has_a_name():
    assert set(LANGUAGES) <= NAMES.keys()


@pytest.mark.parametrize("code", NAMES)
def test_a_code_and_its_name_lead_to_the_code(code):
    is_renamed = code_of(code) != code  # jw is jv by now
    assert code_of(NAMES[code]) == code_of(NAMES[code].upper()) == code_of(code)
    assert is_renamed == (code == "jw")


@pytest.mark.parametrize(
    ("said", "code"), [("Burmese", "my"), ("ger", "de"), (" English ", "en"), ("zh-TW", "zh-TW")]
)
def test_other_names_are_understood_and_the_rest_stays(said, code):
    assert code_of(said) == code
    assert code_of("Klingon") == "Klingon"
