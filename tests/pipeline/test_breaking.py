"""Where text may be broken, and how the places are ranked."""

from __future__ import annotations

import pytest

from pipeline.breaking import COSTS, GRAMMARS, NO_GRAMMAR, break_cost, ends_sentence


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (("the", "house"), ("house", "in")),  # no article at a line's end
        (("of", "it"), ("lot", "of")),
        (("Mr.", "Hyde"), ("said", "Mr.")),
        (("I", "am"), ("am", "in")),  # a subject stays with its verb
        (("Ada", "Lovelace"), ("lady", "Lovelace")),
        (("32", "years"), ("long", "years")),
        (("really,", "really"), ("really,", "important")),
        (("U.S.", "president"), ("here,", "president")),
        (("word", "thing"), ("word", "because")),
        (("word", "in"), ("word", "because")),
        (("word", "because"), ("word,", "thing")),
        (("word,", "thing"), ("word.", "Thing")),
        (("etc.", "and"), ("done.", "And")),
    ],
)
def test_breaks_are_ranked_as_the_style_guides_rank_them(worse, better):
    english = GRAMMARS["en"]
    assert break_cost(*worse, english) > break_cost(*better, english)


def test_a_sentence_ends_in_any_script_but_not_after_an_abbreviation():
    ended = [("Yes.", "No."), ("かな。", "はい"), ("نعم؟", "لا"), ("“Go!”", "He"), ("है।", "वह")]
    assert all(ends_sentence(*pair, NO_GRAMMAR) for pair in ended)
    held = [("Dr.", "Who"), ("J.", "Bach"), ("a.m.", "The"), ("well...", "maybe"), ("sûr", "!")]
    assert not any(ends_sentence(*pair, GRAMMARS["en"]) for pair in held)


def test_the_tables_are_lower_case_and_say_one_thing_of_each_word():
    for grammar in GRAMMARS.values():
        tables = (grammar.clause_words, grammar.phrase_words, grammar.leaning)
        assert sum(map(len, tables)) == len(frozenset().union(*tables))
        assert all(word == word.lower() for table in tables for word in table)
    assert COSTS.sentence < COSTS.clause < COSTS.plain < COSTS.leaning
