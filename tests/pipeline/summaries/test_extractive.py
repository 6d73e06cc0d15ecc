"""Summaries without a language model."""

from __future__ import annotations

import time

import pytest

from pipeline.summaries.extractive import EXTRACTIVE, NO_SPEECH, extract, nothing_said
from pipeline.summaries.records import Line
from tests.pipeline.summaries.talks import SUBJECTS, of_texts, spoken, talk

HOUR = talk(60)
JAPANESE = (
    "東京の港に大きな船が着きました。",
    "船長は積荷の書類を確認しました。",
    "港の潮は夕方に満ちます。",
    "パンを焼くには小麦粉が必要です。",
    "小麦粉と酵母を混ぜて生地を作ります。",
    "生地は一時間休ませます。",
)


def test_it_says_what_it_is():
    found = extract(HOUR)
    assert found.provenance.fallbacks[0] == EXTRACTIVE
    assert found.provenance.engine is None
    assert (found.coverage.requests, found.coverage.missing) == (0, ())


def test_points_are_sentences_that_were_said_with_their_times_over_the_whole():
    found = extract(HOUR)
    said = {line.start_s: line.text for line in HOUR.lines}
    assert len(found.points) == 14
    assert all(point.text == said[point.start_s] for point in found.points)
    starts = [point.start_s for point in found.points]
    assert starts == sorted(starts)
    assert starts[0] < 300
    assert starts[-1] > 3300


def test_points_are_of_the_subject_and_not_of_grammar():
    found = extract(HOUR)
    subject_words = set(" ".join(SUBJECTS).split())
    for point in found.points:
        words = point.text.lower().rstrip(".").split()
        assert sum(word in subject_words for word in words) >= len(words) / 2
    assert set(found.topics) <= subject_words


def test_chapters_follow_the_subjects_and_are_named_by_their_words():
    found = extract(HOUR)
    starts = {line.start_s for line in HOUR.lines}
    assert {chapter.start_s for chapter in found.chapters} <= starts
    for number, words in enumerate(SUBJECTS):
        begin_s = number * 720
        inside = [one for one in found.chapters if begin_s - 60 <= one.start_s < begin_s + 660]
        assert any(set(one.title.split(", ")) <= set(words.split()) for one in inside)
    assert found.provenance.fallbacks == (EXTRACTIVE,)


def test_words_that_tell_nothing_give_even_chapters_and_say_so():
    found = extract(of_texts(*["The same words again and again."] * 400))
    assert len(found.chapters) == 10
    assert "evenly spaced" in found.provenance.fallbacks[1]
    lengths = [chapter.end_s - chapter.start_s for chapter in found.chapters]
    assert max(lengths) < 2 * min(lengths)


def test_languages_without_spaces_have_sentences_and_titles_too():
    said = of_texts(*(text for text in JAPANESE for _ in range(20)))
    found = extract(said)
    assert {point.text for point in found.points} <= set(JAPANESE)
    assert len({point.text for point in found.points}) >= 4
    assert all(chapter.title in JAPANESE for chapter in found.chapters)
    assert found.topics == ()


def test_a_sentence_may_go_over_several_lines():
    said = of_texts("We have been waiting", "for the ship to come", "into the harbour.", "It came.")
    found = extract(said)
    assert found.points[0].start_s == 0.0
    assert found.points[0].text == "We have been waiting for the ship to come into the harbour."


def test_what_was_taken_once_counts_for_less():
    best = "Harbour ship crane cargo captain anchor dock sailor tide rope deck mast."
    second = "Bread flour oven yeast dough baker crust butter recipe kneading and salt."
    plain = ["And so it was then that one had it."] * 100
    found = extract(of_texts(*plain, *[best, second] * 60, *plain))
    assert {best, second} <= {point.text for point in found.points}


def test_a_pause_ends_a_sentence():
    lines = [
        Line(0.0, 2.0, "no full stop"),
        Line(9.0, 11.0, "but a pause"),
        Line(11.5, 13.0, "or none"),
    ]
    found = extract(spoken(lines))
    assert [(point.start_s, point.text) for point in found.points] == [
        (0.0, "no full stop"),
        (9.0, "but a pause or none"),
    ]


def test_a_missing_full_stop_does_not_make_endless_sentences():
    no_stop = of_texts(*["and so it goes on without any end"] * 40)
    assert all(len(point.text) < 300 for point in extract(no_stop).points)


def test_one_word_is_summarised():
    found = extract(of_texts("Hello."))
    assert [(point.start_s, point.text) for point in found.points] == [(0.0, "Hello.")]
    assert [(chapter.start_s, chapter.title) for chapter in found.chapters] == [(0.0, "Hello.")]


def test_silence_has_a_summary():
    found = nothing_said(spoken([], duration_s=60.0))
    assert found.provenance.fallbacks == (NO_SPEECH,)
    assert (found.title, found.chapters, found.coverage.speech_s) == ("talk.mp3", (), 0.0)


@pytest.mark.parametrize("language", ["spaces", "no spaces"])
def test_twelve_hours_take_seconds(language):
    unspaced = tuple("春 夏 秋 冬 山 川 海 空 星 月" for _ in SUBJECTS)
    said = talk(720, subjects=SUBJECTS if language == "spaces" else unspaced)
    began = time.process_time()
    found = extract(said)
    assert time.process_time() - began < 6
    assert len(found.points) == 24
