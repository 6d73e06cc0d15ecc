"""What every layout keeps, whatever comes in; and what a good one looks like."""

from __future__ import annotations

import re
import time
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.atoms import width
from pipeline.cues import layout
from pipeline.types import LayoutOptions, Segment, Word

NETFLIX = LayoutOptions()


# ── anything at all ──────────────────────────────────────────────────────────────────────────

UGLY = st.one_of(
    st.text(max_size=60),
    st.text("ab ,.!?\t\n\u00a0\u200b\u200d\u0301-–。、", max_size=80),
    st.text("今日は天気がいい、ですね。「」ーっ한국 ab", max_size=80),
    st.sampled_from(
        [
            "",
            "   \n\t ",
            "https://example.org/" + "path/" * 30,
            "ا" * 90 + " مرحبا بالعالم، كيف حالك؟",
            "👩‍👩‍👧‍👦" * 30,
            "e\u0301" * 100,
            "ไม่มีช่องว่างระหว่างคำ" * 6,
            "The quick brown fox, which jumps over the lazy dog. Mr. Fox is the 1st of 10 000 !",
        ]
    ),
)
TIMES_S = st.floats(-5.0, 200.0) | st.sampled_from([0.0, 1e9, -1e9, 59.9995, 60.0])


@st.composite
def words(draw, text):
    """The text cut anywhere, each part with times that need not make sense."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    bounds = [0, *cuts, len(text)]
    return tuple(
        Word(draw(TIMES_S), draw(TIMES_S), text[begin:end], 0.5) for begin, end in pairwise(bounds)
    )


@st.composite
def segments(draw):
    """Segments in any order, overlapping, empty, beyond the end, with or without word times."""
    made = []
    for _ in range(draw(st.integers(0, 5))):
        text = draw(UGLY)
        timed = draw(words(text)) if draw(st.booleans()) else ()
        made.append(segment(draw(TIMES_S), draw(TIMES_S), text.strip(), timed))
    return tuple(made)


@st.composite
def options(draw):
    return LayoutOptions(
        max_line_chars=draw(st.sampled_from([2, 7, 20, 42])),
        max_lines=draw(st.integers(1, 3)),
        min_duration_s=draw(st.sampled_from([0.5, 5 / 6, 2.0])),
        max_duration_s=draw(st.sampled_from([2.0, 7.0])),
        min_gap_s=draw(st.sampled_from([0.0, 0.08])),
    )


DURATIONS_S = st.floats(5.0, 120.0)
LANGUAGES = st.sampled_from(["en", "de", "ja", "xx"])


def segment(start_s, end_s, text, timed=()):
    return Segment(start_s, end_s, text, timed, 0.0, -0.2, 1.5, 0.01)


def letters(lines):
    return "".join("".join(lines).split())


@settings(max_examples=250, deadline=None)
@given(segments(), DURATIONS_S, options(), LANGUAGES)
def test_lines_never_exceed_their_limits(given_segments, duration_s, limits, language):
    for cue in layout(given_segments, duration_s, limits, language):
        assert 1 <= len(cue.lines) <= limits.max_lines
        assert all(width(line) <= limits.max_line_chars for line in cue.lines)
        assert all(line == " ".join(line.split()) != "" for line in cue.lines)


@settings(max_examples=250, deadline=None)
@given(segments(), DURATIONS_S, options(), LANGUAGES)
def test_cues_are_in_order_never_overlap_and_lie_within_the_media(
    given_segments, duration_s, limits, language
):
    cues = layout(given_segments, duration_s, limits, language)
    for cue in cues:
        assert 0 <= cue.start_s < cue.end_s <= duration_s
        assert round(cue.end_s * 1000) - round(cue.start_s * 1000) >= 1
        assert cue.end_s - cue.start_s <= limits.max_duration_s + 1e-9
        assert {cue.start_s, cue.end_s} == {round(cue.start_s, 3), round(cue.end_s, 3)}
    for before, after in pairwise(cues):
        assert before.end_s <= after.start_s


@settings(max_examples=250, deadline=None)
@given(segments(), DURATIONS_S, options(), LANGUAGES)
def test_every_character_is_there_once_and_in_order(given_segments, duration_s, limits, language):
    cues = layout(given_segments, duration_s, limits, language)
    shown = letters(line for cue in cues for line in cue.lines)
    assert shown == letters(segment.text for segment in given_segments)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text("abcdéöß'.,?!-", min_size=1, max_size=40), max_size=40),
    st.integers(1, 3),
    DURATIONS_S,
)
def test_words_that_fit_on_a_line_are_never_split(spoken, parts, duration_s):
    size = -(-len(spoken) // parts) or 1
    texts = [" ".join(spoken[i : i + size]) for i in range(0, len(spoken), size)]
    given_segments = tuple(segment(i * 9.0, i * 9.0 + 8, text) for i, text in enumerate(texts))
    cues = layout(given_segments, duration_s, NETFLIX, "fr")
    assert " ".join(line for cue in cues for line in cue.lines).split() == spoken


# ── what good looks like ─────────────────────────────────────────────────────────────────────


def said(*texts, start_s=0.5, gap_s=0.4, characters_per_s=13.0, joint=" "):
    """Segments with word times: evenly spoken, a breath after each sentence or clause."""
    made = []
    for text in texts:
        timed = []
        for word in text.split(" ") if joint else text:
            end_s = start_s + (len(word) + 1) / characters_per_s
            timed.append(Word(start_s, end_s, joint + word, 0.9))
            start_s = end_s + {".": 0.3, "?": 0.3, "!": 0.3, ",": 0.1}.get(word[-1], 0.0)
        made.append(segment(timed[0].start_s, timed[-1].end_s, text, tuple(timed)))
        start_s = timed[-1].end_s + gap_s
    return tuple(made)


def laid_out(*texts, language="en", limits=NETFLIX, **how):
    heard = said(*texts, **how)
    return [list(cue.lines) for cue in layout(heard, heard[-1].end_s + 5, limits, language)]


def test_long_sentences_break_where_clauses_and_phrases_begin():
    assert laid_out(
        "So, I was walking down the street the other day when I ran into an old friend of mine "
        "from college, and she told me that she had just come back from a three-year trip around "
        "the world.",
        "It was amazing.",
        "Mr. Smith, who was the president of the company at the time, said that he would not be "
        "able to attend the meeting because of a prior commitment in New York City.",
    ) == [
        ["So, I was walking down", "the street the other day"],
        ["when I ran into an old friend of mine", "from college, and she told me"],
        ["that she had just come back", "from a three-year trip around the world."],
        ["It was amazing."],
        ["Mr. Smith, who was the president", "of the company at the time,"],
        ["said that he would not be able", "to attend the meeting"],
        ["because of a prior commitment", "in New York City."],
    ]


def test_a_paragraph_in_one_segment_becomes_a_cue_a_thought():
    assert laid_out(
        "Four score and seven years ago our fathers brought forth on this continent, a new nation, "
        "conceived in Liberty, and dedicated to the proposition that all men are created equal. "
        "Now we are engaged in a great civil war, testing whether that nation, or any nation so "
        "conceived and so dedicated, can long endure. We are met on a great battle-field of that "
        "war. It is altogether fitting and proper that we should do this."
    ) == [
        ["Four score and seven years ago our fathers", "brought forth on this continent,"],
        ["a new nation, conceived in Liberty,"],
        ["and dedicated to the proposition", "that all men are created equal."],
        ["Now we are engaged in a great civil war,", "testing whether that nation,"],
        ["or any nation so conceived", "and so dedicated, can long endure."],
        ["We are met on a great", "battle-field of that war."],
        ["It is altogether fitting and proper", "that we should do this."],
    ]


def test_speech_without_punctuation_still_breaks_before_and_so_to():
    assert laid_out(
        "and then i went over to the kitchen and i opened the fridge and there was nothing in it "
        "except for",
        "a bottle of milk and some old cheese that my roommate had left there about three weeks "
        "ago",
        "so i decided to go out and get something to eat at the little italian place around the "
        "corner",
        gap_s=0.02,
        characters_per_s=19.0,
    ) == [
        ["and then i went over to the kitchen", "and i opened the fridge"],
        ["and there was nothing in it", "except for a bottle of milk"],
        ["and some old cheese that my roommate", "had left there about three weeks ago"],
        ["so i decided to go out and get something"],
        ["to eat at the little italian place", "around the corner"],
    ]


def test_segments_that_end_phrases_end_cues():
    assert laid_out(
        "If we take the derivative of this function with respect to x,",
        "we get two x plus three,",
        "and if we set that equal to zero and solve for x,",
        "we find that the minimum is at",
        "x equals minus one point five.",
        gap_s=0.5,
    ) == [
        ["If we take the derivative of this function", "with respect to x,"],
        ["we get two x plus three,"],
        ["and if we set that equal", "to zero and solve for x,"],
        ["we find that the minimum", "is at x equals minus one point five."],
    ]


def test_german_keeps_ordinals_titles_and_abbreviations_with_what_follows():
    assert laid_out(
        "Als ich am 3. Mai 1998 zum ersten Mal nach Berlin kam, war die Stadt noch eine einzige "
        "Baustelle, und niemand konnte sich vorstellen, dass daraus einmal eine der beliebtesten "
        "Hauptstädte Europas werden würde.",
        "Das ist, z.B. für Herrn Dr. Müller, keine Überraschung.",
        language="de",
    ) == [
        ["Als ich am 3. Mai 1998 zum ersten Mal", "nach Berlin kam,"],
        ["war die Stadt noch eine einzige Baustelle,", "und niemand konnte sich vorstellen,"],
        ["dass daraus einmal eine der beliebtesten", "Hauptstädte Europas werden würde."],
        ["Das ist, z.B. für Herrn Dr. Müller,", "keine Überraschung."],
    ]


def test_french_never_parts_a_word_from_its_spaced_question_mark():
    assert laid_out(
        "Est-ce que vous pourriez me dire comment on arrive à la gare, parce que je me suis "
        "complètement perdu dans cette ville ?",
        "Mais oui, bien sûr ! Il faut prendre la première rue à gauche.",
        language="fr",
    ) == [
        ["Est-ce que vous pourriez me dire", "comment on arrive à la gare,"],
        ["parce que je me suis complètement perdu", "dans cette ville ?"],
        ["Mais oui, bien sûr !"],
        ["Il faut prendre la première rue à gauche."],
    ]


def test_japanese_breaks_between_phrases_and_never_before_a_closing_mark():
    assert laid_out(
        "今日は天気がいいので、公園に散歩に行きたいと思います。",
        "東京オリンピックは新型コロナウイルスの影響で一年延期されましたが、多くの人々が選手たちの活躍を"
        "楽しみにしていました。",
        language="ja",
        joint="",
        characters_per_s=14.0,
    ) == [
        ["今日は天気がいいので、", "公園に散歩に行きたいと思います。"],
        ["東京オリンピックは新型コロナウイルスの", "影響で一年延期されましたが、"],
        ["多くの人々が選手たちの", "活躍を楽しみにしていました。"],
    ]


def test_a_cue_that_fits_on_one_line_has_one_line():
    assert laid_out("The next item is the budget.") == [["The next item is the budget."]]


def test_one_line_layouts_break_at_the_same_good_places():
    assert laid_out(
        "I always knew that you would eventually agree with me.", limits=LayoutOptions(max_lines=1)
    ) == [["I always knew"], ["that you would eventually agree with me."]]


def test_an_address_too_long_for_a_line_is_cut_behind_a_slash():
    cues = laid_out("See https://www.example.com/a/very/long/path/that/does/not/fit/on/it.")
    shown = [line for lines in cues for line in lines]
    assert shown[-2:] == ["https://www.example.com/a/very/long/path/", "that/does/not/fit/on/it."]


def test_a_word_cut_to_fit_keeps_marks_with_their_sign_and_every_part_within_the_line():
    limits = LayoutOptions(max_line_chars=2)
    odd = segment(0.0, 9.0, "0=\u0300=0日")  # behind the second "=" there is no room for both
    cues = layout((odd,), 10.0, limits, "en")
    assert [line for cue in cues for line in cue.lines] == ["0=\u0300", "=0", "日"]


def test_what_the_recogniser_split_but_wrote_as_one_word_stays_one_word():
    heard = timed(("It", 0.0, 0.2), ("is", 0.2, 0.4), ("a", 0.4, 0.6))
    tail = (Word(0.6, 1.0, " state", 0.9), Word(1.0, 1.2, "-of", 0.9), Word(1.2, 1.6, "-art.", 0.9))
    whole = segment(0.0, 1.6, "It is a state-of-art.", heard.words + tail)
    limits = LayoutOptions(max_line_chars=15)
    cues = layout((whole,), 9.0, limits, "en")
    assert [cue.lines for cue in cues] == [("It is", "a state-of-art.")]


def test_without_word_times_no_japanese_line_begins_with_a_small_or_closing_sign():
    text = "ちょっと、待っていてください。「きっと」と言った。" * 4
    for columns in range(8, 24):
        limits = LayoutOptions(max_line_chars=columns, max_lines=1)
        cues = layout((segment(0.0, 60.0, text),), 60.0, limits, "ja")
        assert not [line for cue in cues for line in cue.lines if line[0] in "ょっ、。」"]
        assert not [line for cue in cues for line in cue.lines if line[-1] == "「"]


def test_an_emoji_family_is_one_sign_of_two_columns_and_stays_whole():
    family = "👩‍👩‍👧‍👦"
    assert width(family) == 2
    cues = layout((segment(0.0, 9.0, family * 50),), 10.0, NETFLIX, "en")
    assert {len(line.replace(family, "")) for cue in cues for line in cue.lines} == {0}


# ── when cues show ───────────────────────────────────────────────────────────────────────────


def timed(*parts):
    """One segment from (text, start_s, end_s) for each word."""
    made = tuple(Word(start_s, end_s, " " + text, 0.9) for text, start_s, end_s in parts)
    text = " ".join(part[0] for part in parts)
    return segment(made[0].start_s, made[-1].end_s, text, made)


def shown(*given_segments, duration_s=100.0, limits=NETFLIX):
    cues = layout(given_segments, duration_s, limits, "en")
    return [(" ".join(cue.lines), cue.start_s, cue.end_s) for cue in cues]


def test_a_short_cue_is_kept_for_the_minimum_duration():
    assert shown(timed(("Yes.", 1.0, 1.2))) == [("Yes.", 1.0, 1.833)]


def test_a_quick_sentence_is_kept_until_it_can_be_read():
    quick = timed(("Extraordinarily", 1.0, 1.3), ("uncharacteristic.", 1.3, 1.6))
    assert shown(quick) == [("Extraordinarily uncharacteristic.", 1.0, 2.7)]


def test_reading_time_ends_before_the_next_cue():
    first = timed(("Extraordinarily", 1.0, 1.3), ("uncharacteristic", 1.3, 1.6), ("of", 1.6, 1.7),
                  ("them.", 1.7, 2.1))  # fmt: skip
    second = timed(("I", 2.9, 3.0), ("thought", 3.0, 3.6), ("so", 3.6, 4.0), ("too.", 4.0, 4.6))
    cues = shown(first, second)
    assert [cue[1:] for cue in cues] == [(1.0, 2.82), (2.9, 4.6)]


def test_a_gap_too_short_to_see_is_closed_to_the_minimum():
    first = timed(("This", 1.0, 1.5), ("is", 1.5, 2.0), ("it.", 2.0, 3.0))
    second = timed(("And", 3.4, 4.0), ("that", 4.0, 4.5), ("is", 4.5, 5.0), ("all.", 5.0, 6.0))
    assert shown(first, second)[0] == ("This is it.", 1.0, 3.32)


def test_a_gap_that_one_sees_is_left():
    first = timed(("This", 1.0, 1.5), ("is", 1.5, 2.0), ("it.", 2.0, 3.0))
    second = timed(("And", 5.0, 5.5), ("more.", 5.5, 6.0))
    assert shown(first, second)[0] == ("This is it.", 1.0, 3.0)


def test_very_short_neighbours_share_a_cue_and_distant_ones_do_not():
    near = shown(timed(("Yes.", 1.0, 1.3)), timed(("I", 1.4, 1.5), ("do.", 1.5, 1.8)))
    assert [cue[0] for cue in near] == ["Yes. I do."]
    far = shown(timed(("Yes.", 1.0, 1.3)), timed(("I", 4.0, 4.1), ("do.", 4.1, 4.4)))
    assert [cue[0] for cue in far] == ["Yes.", "I do."]


def test_a_pause_within_a_sentence_starts_a_new_cue():
    paused = timed(("Nobody", 1.0, 1.5), ("came", 1.5, 2.0), ("to", 4.5, 4.6), ("see.", 4.6, 5.0))
    assert [cue[0] for cue in shown(paused)] == ["Nobody came", "to see."]


def test_a_word_that_lingers_over_silence_is_cut():
    lingering = timed(("Thank", 1.0, 1.4), ("you.", 1.4, 65.0))
    assert shown(lingering) == [("Thank you.", 1.0, 3.4)]


def test_a_first_word_stretched_over_the_silence_before_it_shows_when_it_is_said():
    early = timed(("Hello", 0.0, 60.0), ("there.", 60.0, 60.5))
    assert shown(early) == [("Hello there.", 57.75, 60.5)]


def test_a_segment_without_word_times_does_not_linger_either():
    assert shown(segment(2.0, 90.0, "Thank you.")) == [("Thank you.", 2.0, 5.5)]


def test_times_are_rounded_once_so_that_neighbours_cannot_cross():
    limits = LayoutOptions(max_line_chars=6, max_lines=1, min_gap_s=0.0)
    cues = shown(timed(("First.", 1.0, 1.99949), ("Second", 1.99951, 3.0)), limits=limits)
    assert [cue[1:] for cue in cues] == [(1.0, 2.0), (2.0, 3.0)]


def test_without_words_there_are_no_cues():
    assert layout((), 10.0, NETFLIX, "en") == ()
    assert layout((segment(0.0, 1.0, " \n"),), 10.0, NETFLIX, "en") == ()


def test_words_piled_up_at_the_end_still_get_a_millisecond_each():
    piled = segment(50.0, 60.0, "One. Two. Three. Four. " * 20)
    cues = layout((piled,), 10.0, NETFLIX, "en")
    assert cues[-1].end_s == 10.0
    assert all(before.end_s <= after.start_s for before, after in pairwise(cues))


def test_an_hour_of_speech_is_laid_out_in_seconds():
    text = "And so the people who live there, they said that it is really nothing new. "
    heard = said(*[text.strip()] * 650)
    began_s = time.process_time()
    cues = layout(heard, heard[-1].end_s, NETFLIX, "en")
    assert time.process_time() - began_s < 5  # measured: 0.2 s
    assert heard[-1].end_s > 3600
    assert len(re.findall(r"people", " ".join(line for cue in cues for line in cue.lines))) == 650


@settings(max_examples=60, deadline=None)
@given(segments(), DURATIONS_S, LANGUAGES, st.integers(1, 12))
def test_laid_out_in_stretches_or_at_once_it_is_the_same(said, duration_s, language, stretch):
    at_once = layout(said, duration_s, NETFLIX, language, stretch=10**6)
    assert layout(said, duration_s, NETFLIX, language, stretch=stretch) == at_once
