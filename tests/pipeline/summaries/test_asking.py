"""One question, asked until its answer can be used."""

from __future__ import annotations

import pytest

from pipeline.errors import TextEngineFailed
from pipeline.summaries.answers import UnusableAnswer, read_part
from pipeline.summaries.asking import ask
from pipeline.summaries.parts import pieces_of
from pipeline.summaries.prompts import Task, part_request
from pipeline.summaries.styles import load_style
from pipeline.types import TextAnswer
from tests.pipeline.summaries.scripted_engine import GARBAGE, ScriptedEngine, failed
from tests.pipeline.summaries.talks import talk

REQUEST = part_request(Task(load_style("general"), None, (), 1024), pieces_of(talk(1).lines))


def scripted(*answers):
    return ScriptedEngine(script=lambda n, _: answers[n] if n < len(answers) else None)


def test_a_good_answer_is_asked_for_once(heed):
    engine = scripted()
    assert ask(engine, REQUEST, read_part, heed).title.startswith("About")
    assert engine.asked == [REQUEST]


def test_an_unusable_answer_is_asked_for_again_with_the_reason(heed):
    engine = scripted(GARBAGE, '{"title": "", "abstract": "b"}')
    ask(engine, REQUEST, read_part, heed)
    first, second, third = (one.user.removeprefix(REQUEST.user) for one in engine.asked)
    assert first == ""
    assert 'could not be used: it is no JSON object with "title" and "abstract".' in second
    assert 'could not be used: "title" is missing. Write the whole' in third


def test_it_is_repaired_twice_at_most(heed):
    engine = scripted(*[GARBAGE] * 9)
    with pytest.raises(UnusableAnswer, match="no JSON object"):
        ask(engine, REQUEST, read_part, heed)
    assert len(engine.asked) == 3


def test_a_cut_answer_is_asked_for_in_brief(heed):
    engine = scripted(TextAnswer('{"title": "a', 10, 10, is_cut=True))
    ask(engine, REQUEST, read_part, heed)
    assert "cut off, be brief" in engine.asked[1].user


def test_an_engine_that_fails_is_not_asked_again_here(heed):
    engine = scripted(failed())
    with pytest.raises(TextEngineFailed, match="does not answer"):
        ask(engine, REQUEST, read_part, heed)
    assert len(engine.asked) == 1


def test_it_can_be_interrupted():
    def stop():
        raise KeyboardInterrupt

    engine = scripted()
    with pytest.raises(KeyboardInterrupt):
        ask(engine, REQUEST, read_part, stop)
    assert engine.asked == []
