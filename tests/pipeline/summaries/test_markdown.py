"""A summary to read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipeline.summaries.cleaning import visible
from pipeline.summaries.markdown import escaped, render_markdown
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.records import ActionItem, Person, Term
from pipeline.summaries.summarise import summarise
from pipeline.types import Span
from tests.pipeline.summaries.injections import INJECTIONS
from tests.pipeline.summaries.scripted_engine import Memory, ScriptedEngine
from tests.pipeline.summaries.talks import spoken, talk

SUMMARY = summarise(
    talk(90), ScriptedEngine(), SummaryOptions(style="meeting"), Memory(), lambda: None
)
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def shown(text):
    """What a reader sees of one line: its text and its kinds of marks."""
    tokens = PARSER.parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    return "".join(token.content for token in inline), {
        *(token.type for token in tokens),
        *(token.type for token in inline),
    }


ALL = [text for texts in INJECTIONS.values() for text in texts if len(text) < 10_000]


@pytest.mark.parametrize("text", ALL, ids=range(len(ALL)))
def test_a_line_is_shown_as_it_is(text):
    seen, kinds = shown(escaped(text))
    assert seen == visible(text).replace("@", "＠")
    assert kinds <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}


@given(st.text("ab1.:/@w-+*_#>=|~`![](){}<>&\\ \n\t$^\"'%"))
def test_any_line_is_shown_as_it_is(text):
    seen, kinds = shown(escaped(text))
    assert seen == visible(text).replace("@", "＠")
    assert kinds <= {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://evil.example", r"https\://evil\.example"),
        ("www.evil.example", r"www\.evil\.example"),
        ("www.1.2", r"www\.1.2"),
        ("me@evil.example", r"me＠evil\.example"),
        ("It took 1.5 hours: 12:30 to 14:00. Then lunch.", None),
        ("100 % of %%it%%", r"100 % of \%\%it\%\%"),
        ("%%%", r"\%\%\%"),
        ("1. one", r"1\. one"),
        ("- one", r"\- one"),
    ],
)
def test_addresses_are_no_links_and_plain_sentences_stay_plain(text, written):
    assert escaped(text) == (written or text)


def test_it_has_all_that_was_found():
    summary = replace(
        SUMMARY,
        people=(Person("Ada", "host"), Person("Bob", "")),
        terms=(Term("KV cache", "what a model keeps"),),
        questions=("Who pays?",),
        actions=(ActionItem(64.0, "Buy bread", "Ada", "Friday"), ActionItem(None, "Rest", "", "")),
    )
    text = render_markdown(summary)
    assert text.startswith("# The whole of it\n\nAll of")
    assert "\n- [00:03](talk.mp3#t=3) " in text
    assert "\n- [1:0" in text
    assert "\n- **Ada**: host\n- **Bob**\n" in text
    assert "\n- **KV cache**: what a model keeps\n" in text
    assert "\n- Who pays?\n" in text
    assert "\n- [ ] [01:04](talk.mp3#t=64) **Ada:** Buy bread (Friday)\n- [ ] Rest\n" in text
    assert "Covers 100 % of" in text
    assert "scripted, in this test, prompt meeting" in text
    assert "not relying" not in text


def test_what_is_missing_stands_at_the_top_and_is_never_rounded_away():
    speech_s = SUMMARY.coverage.speech_s
    gap = replace(
        SUMMARY.coverage, covered_s=speech_s - 1, missing=(Span(60.0, 61.0), Span(4000.0, 4100.0))
    )
    text = render_markdown(replace(SUMMARY, coverage=gap))
    assert text.index("> **Not summarised:** [01:00](talk.mp3#t=60) to [01:01]") < text.index("##")
    assert "Covers 99 % of" in text


def test_times_without_a_media_file_are_no_links():
    text = render_markdown(replace(SUMMARY, media=None))
    assert "\n- 00:03 " in text
    assert "](" not in text


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("my talk (1).mp4", "my%20talk%20%281%29.mp4#t=3"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29#t=3"),
        ("//evil.example/x", "%2F%2Fevil.example%2Fx#t=3"),
        ("../my media/talk.mp4", "../my%20media/talk.mp4#t=3"),
        ("größe#1?.mp3", "gr%C3%B6%C3%9Fe%231%3F.mp3#t=3"),
        ("not-utf8-\udcff.mp3", "not-utf8-%FF.mp3#t=3"),
    ],
)
def test_links_are_to_the_media_beside_whatever_its_name(name, target):
    text = render_markdown(replace(SUMMARY, media=name))
    assert f"[00:03]({target})" in text
    hrefs = [
        child.attrGet("href")
        for token in PARSER.parse(text)
        for child in token.children or ()
        if child.type == "link_open"
    ]
    assert hrefs
    assert all(href.startswith(target.partition("#")[0] + "#t=") for href in hrefs)


def test_an_extractive_summary_says_so_before_anything_else():
    extractive = summarise(talk(20), None, SummaryOptions(), Memory(), lambda: None)
    text = render_markdown(extractive)
    assert text.split("\n\n")[1].startswith("> **extractive, no LLM:**")
    assert "requests" not in text


def test_what_covers_silence_is_not_called_extractive():
    text = render_markdown(summarise(spoken([]), None, SummaryOptions(), Memory(), lambda: None))
    assert text.count("no speech was found") == 1
    assert "extractive" not in text


@pytest.mark.parametrize(("requests", "told"), [(1, "in 1 request."), (2, "in 2 requests.")])
def test_one_request_is_one(requests, told):
    covered = replace(SUMMARY.coverage, requests=requests)
    assert told in render_markdown(replace(SUMMARY, coverage=covered))
