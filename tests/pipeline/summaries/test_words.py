"""Words, of scripts with spaces and without."""

from __future__ import annotations

from pipeline.summaries.words import is_unspaced, terms, tokens


def test_words_have_one_form():
    assert tokens("Don’t  SHOUT — it's “Ｆｕｌｌ” width!") == [
        "don't",
        "shout",
        "it's",
        "full",
        "width",
    ]


def test_scripts_without_spaces_are_read_by_character():
    assert tokens("GPUを使う") == ["gpu", "を", "使", "う"]
    assert terms("東京都に行く") == ["東京", "京都", "都に", "に行", "行く"]
    assert terms("猫") == ["猫"]


def test_scripts_with_spaces_are_read_by_word():
    assert terms("Привет, мир! 안녕 세계") == ["привет", "мир", "안녕", "세계"]


def test_it_is_known_which_is_which():
    assert is_unspaced("東京")
    assert is_unspaced("ไท")
    assert not is_unspaced("세계")
    assert not is_unspaced("tokyo")
