"""What stays whole, how wide it is, and when it is said."""

from __future__ import annotations

from pipeline.atoms import atoms_of, width
from pipeline.types import Segment, Word


def segment(text, words=()):
    return Segment(1.0, 9.0, text, words, 0.0, -0.2, 1.5, 0.01)


def texts(*segments, limit=42):
    return [atom.text for atom in atoms_of(segments, 10.0, limit)]


def test_words_stay_whole_and_signs_of_scripts_without_spaces_may_part():
    assert texts(segment("Well-known, isn't it?  日本語 한국어")) == [
        "Well-known,",
        "isn't",
        "it?",
        "日",
        "本",
        "語",
        "한국어",
    ]


def test_small_kana_and_closing_marks_stay_with_the_sign_before_and_opening_with_the_one_after():
    assert texts(segment("「きっと、ねー」")) == ["「きっ", "と、", "ねー」"]


def test_with_word_times_signs_part_only_where_the_recogniser_parted_them():
    words = (Word(1.0, 1.5, "東京", 1.0), Word(1.5, 1.7, "に", 1.0), Word(1.7, 2.0, "。", 1.0))
    assert texts(segment("東京に。", words)) == ["東京", "に。"]


def test_without_word_times_words_share_their_segment_by_their_letters():
    atoms = atoms_of((segment("ab abcd"),), 10.0, 42)
    shares_s = [(round(atom.start_s - 1, 3), round(atom.end_s - 1, 3)) for atom in atoms]
    longest_s = 1.0 + 0.25 * 7  # a segment lasts no longer than its text can take
    assert shares_s == [
        (0.0, round(longest_s * 2 / 7, 3)),
        (round(longest_s * 3 / 7, 3), longest_s),
    ]


def test_full_width_characters_count_twice_and_marks_nothing():
    assert [width(text) for text in ("abc", "日本", "e\u0301", "한", "\u200b")] == [3, 4, 1, 2, 0]


def test_starts_never_run_backwards_even_if_the_times_do():
    words = (Word(9.0, 9.5, "One", 1.0), Word(3.0, 3.5, " two", 1.0), Word(20.0, 1.0, " six", 1.0))
    muddled = segment("One two six", words)
    starts_s = [atom.start_s for atom in atoms_of((muddled, muddled), 10.0, 42)]
    assert starts_s == sorted(starts_s)
    assert max(starts_s) <= 10.0
