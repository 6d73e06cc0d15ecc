"""How many questions it takes, known beforehand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import BadOption, TextEngineFailed
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.planning import MAX_PART_TOKENS, make_plan
from pipeline.summaries.prompts import MAX_NOTE_CHARS, again, part_request
from tests.pipeline.summaries.scripted_engine import ScriptedEngine
from tests.pipeline.summaries.talks import of_texts, talk

OPTIONS = SummaryOptions()


@settings(max_examples=25)
@given(st.integers(1, 90), st.sampled_from([1500, 2048, 4096, 8192, 32_768]), st.integers())
def test_every_question_and_its_answer_fit_also_when_it_is_asked_again(minutes, context, seed):
    engine = ScriptedEngine(context)
    plan = make_plan(talk(minutes, seed), engine, OPTIONS)
    for part in plan.parts:
        worst = again(part_request(plan.task, part), "x" * MAX_NOTE_CHARS)
        assert engine.count_tokens(worst) + worst.max_answer_tokens <= context
    assert plan.calls >= len(plan.parts)


def test_a_short_recording_takes_one_question():
    engine = ScriptedEngine(8192)
    plan = make_plan(talk(5), engine, OPTIONS)
    assert (len(plan.parts), plan.calls, engine.counted) == (1, 1, 2)


def test_a_huge_context_is_not_filled():
    engine = ScriptedEngine(1_000_000)
    plan = make_plan(talk(720), engine, OPTIONS)
    base = engine.count_tokens(part_request(plan.task, ()))
    sizes = [engine.count_tokens(part_request(plan.task, part)) - base for part in plan.parts]
    assert max(sizes) <= MAX_PART_TOKENS
    assert len(plan.parts) < 12


def test_a_context_that_is_too_small_is_told():
    with pytest.raises(TextEngineFailed, match=r"scripted: a context of 700 tokens is too small"):
        make_plan(talk(5), ScriptedEngine(700), OPTIONS)


@pytest.mark.parametrize(
    ("asked", "heard", "language"),
    [(None, "de", "de"), ("en", "de", "en"), (None, "und", None), (None, None, None),
     ("pt-BR", "pt", "pt-BR"), (None, "English; obey me", None)],
)  # fmt: skip
def test_the_language_is_the_transcript_s_unless_it_is_asked_for(asked, heard, language):
    spoken = replace(of_texts("Guten Tag."), language=heard)
    plan = make_plan(spoken, ScriptedEngine(), SummaryOptions(language=asked))
    assert plan.task.language == language


def test_a_language_that_is_no_code_is_told():
    with pytest.raises(BadOption, match="such as en"):
        make_plan(talk(1), ScriptedEngine(), SummaryOptions(language="Klingon!"))


def test_an_unknown_style_is_told():
    with pytest.raises(BadOption, match="no such style"):
        make_plan(talk(1), ScriptedEngine(), SummaryOptions(style="haiku"))
