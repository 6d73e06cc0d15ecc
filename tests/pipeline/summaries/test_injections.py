"""Hostile words never break the structure, nor do they get a link, a heading or a line."""

from __future__ import annotations

import json
import re

import pytest
from markdown_it import MarkdownIt

from pipeline import codec
from pipeline.errors import TextEngineFailed
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.records import Summary
from pipeline.summaries.summarise import summarise
from pipeline.summaries.writing import SUFFIXES, render
from pipeline.types import TextAnswer
from tests.pipeline.summaries.injections import INJECTIONS
from tests.pipeline.summaries.scripted_engine import (
    Memory,
    ScriptedEngine,
    data_of,
    is_merge,
    own_answer,
)
from tests.pipeline.summaries.talks import of_texts, talk

MEETING = SummaryOptions(style="meeting")
HEADINGS = {"Key points", "Chapters", "To do", "Open questions", "People", "Terms", "Topics"}


def said_with(texts):
    calm = [line.text for line in talk(3).lines]
    return of_texts(*calm[:10], *texts, *calm[10:])


def parroting(texts):
    """An engine that was won over: it writes the hostile words wherever it can."""

    def script(_, request):
        answer = json.loads(own_answer(request))
        evil = " ".join(texts)[:3000]

        def infect(node):
            if isinstance(node, dict):
                return {key: node[key] if key == "quote" else infect(node[key]) for key in node}
            if isinstance(node, list):
                return [infect(one) for one in node]
            return evil if isinstance(node, str) else node

        return TextAnswer(json.dumps(infect(answer)), 1, 1, is_cut=False)

    return script


def check(summary, said):
    """The structure that every summary has, in every format."""
    starts = {line.start_s for line in said.lines}
    assert {point.start_s for point in summary.points} <= starts
    assert {chapter.start_s for chapter in summary.chapters} <= starts
    assert codec.loads(render("json", summary), Summary) == summary
    texts = {kind: render(kind, summary) for kind in SUFFIXES}
    for text in texts.values():
        text.encode()
    check_markdown(texts["md"])
    chapters = json.loads(texts["chapters.json"])["chapters"]
    assert len(chapters) == len(summary.chapters)
    cues = texts["chapters.vtt"].split("\n\n")
    assert len(cues) == len(chapters) + 1
    assert all(cue.count("-->") == 1 and cue.strip().count("\n") == 1 for cue in cues[1:])
    assert texts["ffmetadata"].count("\n[CHAPTER]\n") == len(chapters)


def check_markdown(text):
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    headings = [
        tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"
    ]
    assert set(headings[1:]) <= HEADINGS
    assert len(headings) == len(set(headings))
    kinds = {token.type for token in tokens} | {token.type for token in inline}
    assert not kinds & {"html_block", "html_inline", "image", "code_inline", "fence", "code_block"}
    assert not kinds & {"table_open", "s_open", "ordered_list_open"}
    for token in inline:
        if token.type == "link_open":
            assert re.fullmatch(r"talk\.mp3#t=\d+", token.attrGet("href"))
    assert kinds >= {"heading_open", "hr"}


@pytest.mark.parametrize("texts", INJECTIONS.values(), ids=INJECTIONS)
def test_hostile_words_in_a_transcript_are_only_words(texts):
    said = said_with(texts)
    engine = ScriptedEngine(4096)
    summary = summarise(said, engine, MEETING, Memory(), lambda: None)
    assert summary.coverage.missing == ()
    assert summary.coverage.covered_s == summary.coverage.speech_s
    check(summary, said)
    real = {int(line.start_s) for line in said.lines}
    for request in engine.asked:
        data = data_of(request)
        assert not set("<>|`") & set(data)
        if not is_merge(request):
            assert all(re.match(r"\[\d+\] ", line) for line in data.split("\n"))
            assert {int(second) for second in re.findall(r"\[(\d+)\]", data)} <= real


@pytest.mark.parametrize("texts", INJECTIONS.values(), ids=INJECTIONS)
def test_a_model_that_was_won_over_breaks_nothing(texts):
    said = said_with([])
    engine = ScriptedEngine(2048, script=parroting(texts))
    if texts == INJECTIONS["empty"]:
        with pytest.raises(TextEngineFailed, match="none of its answers"):
            summarise(said, engine, MEETING, Memory(), lambda: None)
    else:
        check(summarise(said, engine, MEETING, Memory(), lambda: None), said)


@pytest.mark.parametrize("texts", INJECTIONS.values(), ids=INJECTIONS)
def test_without_a_model_it_is_the_same(texts):
    said = said_with(texts)
    summary = summarise(said, None, MEETING, Memory(), lambda: None)
    check(summary, said)


@pytest.mark.parametrize("texts", INJECTIONS.values(), ids=INJECTIONS)
def test_only_hostile_words_are_summarised_as_well(texts):
    said = of_texts(*texts)
    for engine in (None, ScriptedEngine(4096)):
        check(summarise(said, engine, MEETING, Memory(), lambda: None), said)
