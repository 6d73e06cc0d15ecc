"""Tokens that nobody counts beforehand: estimated by samples, proved by what was read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.text.address import address_of
from models.text.chat import connect, nothing
from models.text.density import SAMPLE_BYTES, Densities, most_tokens, sample_of
from models.text.wire import Patience
from pipeline.errors import QuestionTooLong, TextEngineFailed
from pipeline.summaries.options import SummaryOptions
from pipeline.summaries.planning import make_plan
from pipeline.summaries.summarise import summarise
from pipeline.types import TextRequest
from tests.models.text.llm_server import Said, lm_studio, objects, ollama, serving
from tests.models.text.reading_ollama import (
    CHAT,
    REFUSALS,
    is_sample,
    reading_ollama,
    request_of,
    tokens_in,
    tokens_of,
)
from tests.pipeline.summaries.scripted_engine import Memory, data_of, is_merge
from tests.pipeline.summaries.talks import of_texts, spoken, talk

QUICK = Patience(connect_s=2, silence_s=5, total_s=20, pauses_s=(0.01,), beat_s=0.02)
OPTIONS = SummaryOptions()
ENGLISH = "The ship lies in the harbour and the captain waits for the tide. " * 600
LONG = TextRequest("Summarise.", ENGLISH, 3072)


def engine_of(server, tokens=None):
    return connect(address_of(server.url), tokens, QUICK)


def samples(server):
    return [asked.body for asked in server.chats() if is_sample(asked.body)]


def estimating(tokens_of_sample=tokens_in, context_tokens=16_384):
    """Densities, and the samples that were read for them."""
    read = []

    def count(text):
        read.append(text)
        return tokens_of_sample(text)

    return Densities(context_tokens, count), read


# ── samples ──────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=50)
@given(st.text(max_size=2000), st.integers(16, 900))
def test_a_sample_is_of_whole_characters_and_no_longer_than_allowed(text, most_bytes):
    sample = sample_of(text, most_bytes)
    assert len(sample.encode(errors="replace")) <= most_bytes
    assert set(sample) <= set(text)


def test_a_sample_is_taken_from_all_over_the_text():
    text = "".join(f"{number:07} " for number in range(100_000))
    numbers = [int(part) for part in sample_of(text, SAMPLE_BYTES).split() if len(part) == 7]
    assert numbers[0] == 0
    assert numbers[-1] == 99_999
    assert all(any(tenth <= one / 10_000 < tenth + 1 for one in numbers) for tenth in range(10))


# ── estimates ────────────────────────────────────────────────────────────────────────────────


def test_an_estimate_is_above_the_truth_and_far_below_a_token_a_byte():
    densities, _ = estimating()
    truth = tokens_in(LONG.user)
    assert truth < densities.tokens(LONG) < 1.5 * truth < most_tokens(LONG) / 2


def test_what_fits_at_a_token_a_byte_is_not_sampled():
    densities, read = estimating()
    short = replace(LONG, user="a b c " * 1000)
    assert densities.tokens(short) == most_tokens(short)
    assert read == []


def test_a_text_is_sampled_once_and_one_that_is_much_larger_once_more():
    densities, read = estimating()
    for length in (10_000, 20_000, 39_000, 60_000, 600_000, 50_000):
        densities.tokens(replace(LONG, user="word " * (length // 5)))
    assert [len(sample) for sample in read] == [8192, 8192, 8192]
    # 10 000; 60 000, and 600 000 bytes


def test_the_densest_sample_counts():
    counts = iter([4000, 1000])
    densities, _ = estimating(lambda _: next(counts))
    few = densities.tokens(replace(LONG, user="x" * 10_000))
    many = densities.tokens(replace(LONG, user="x" * 100_000))
    assert many == pytest.approx(10 * few, rel=0.03)


def test_another_script_or_task_is_another_kind_of_text():
    densities, read = estimating()
    densities.tokens(LONG)
    densities.tokens(replace(LONG, user="春夏秋冬" * 3000))
    densities.tokens(replace(LONG, system="Merge."))
    assert len(read) == 3


@pytest.mark.parametrize("nothing_counted", [None, 0])
def test_where_nothing_can_be_measured_a_token_a_byte_is_the_bound(nothing_counted):
    densities, read = estimating(lambda _: nothing_counted)
    assert densities.tokens(LONG) == densities.tokens(LONG) == most_tokens(LONG)
    assert len(read) == 1
    assert densities.can_be_all(LONG, 1)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 60_000), st.sampled_from([1024, 4096, 16_384]))
def test_no_count_leads_to_more_than_the_bound_or_to_nothing(count, length, context):
    densities, read = estimating(lambda _: count, context)
    request = replace(LONG, user="x" * length)
    assert length * 0.1 < densities.tokens(request) <= most_tokens(request)
    assert all(len(sample) + 128 < context for sample in read)


# ── what was read ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_sampled", [True, False])
@pytest.mark.parametrize("length", [3000, 8000, 39_000])
@pytest.mark.parametrize(("share", "is_all"), [(1, True), (0.9, True), (0.7, False), (0.4, False)])
def test_a_count_far_below_a_text_s_own_density_is_of_a_cut_text(share, is_all, length, is_sampled):
    densities, read = estimating(lambda text: tokens_in(text) + 24)
    request = replace(LONG, user=ENGLISH[:length])
    if is_sampled:
        densities.tokens(replace(LONG, user=ENGLISH))
    truth = tokens_in(request.system + request.user)
    found = densities.can_be_all(request, int(share * truth) + 24)
    if is_sampled or share < 0.5:
        assert found == is_all or length == 3000  # a template's tokens blur what is so short
    assert len(read) <= 2


def test_a_text_that_is_thinner_than_others_of_its_kind_is_not_taken_for_cut():
    densities, read = estimating()
    densities.tokens(replace(LONG, user="31415926 " * 5000))
    thin = replace(LONG, user="internationalization " * 1900)
    assert densities.can_be_all(thin, tokens_in(thin.user))
    assert len(read) == 2
    assert not densities.can_be_all(thin, tokens_in(thin.user) // 2)


def test_who_cut_a_text_cuts_others_at_the_same_place():
    densities, read = estimating()
    truth = tokens_in(LONG.system + LONG.user)
    assert not densities.can_be_all(LONG, truth // 4)
    slightly_longer = replace(LONG, user=ENGLISH[: len(ENGLISH) // 4 + 500])
    assert not densities.can_be_all(slightly_longer, truth // 4)
    assert densities.can_be_all(slightly_longer, truth // 4 + 1)
    assert len(read) == 1


@settings(max_examples=50)
@given(st.text("ab 12.ж日", max_size=3000), st.integers(0, 128), st.sampled_from([600, 16_384]))
def test_what_was_read_whole_is_believed(text, template, context):
    densities, _ = estimating(lambda sample: tokens_in(sample) + template, context)
    request = TextRequest("Summarise.", text + "The ship lies in the harbour. " * 60, 100)
    truth = tokens_in(request.system + request.user) + template
    densities.tokens(replace(request, user="31415926 " * 500))
    assert densities.can_be_all(request, truth)


# ── Ollama ───────────────────────────────────────────────────────────────────────────────────


def test_ollama_is_asked_to_read_a_sample_in_the_context_of_the_question():
    with serving(reading_ollama) as server:
        engine = engine_of(server)
        estimate = engine.count_tokens(LONG)
        (sample,) = samples(server)
        assert engine.count_tokens(LONG) == estimate
        assert "by samples" in engine.description.reason
    assert sample["options"]["num_ctx"] == 16_384
    assert len(sample["messages"]) == 1
    assert len(sample["messages"][0]["content"].encode()) <= SAMPLE_BYTES
    assert tokens_in(LONG.user) < estimate < 1.5 * tokens_in(LONG.user)


@pytest.mark.parametrize("version", ["0.4.9", "0.0.0", "0.3", "oops", ""])
def test_a_version_whose_counts_mean_something_else_is_bounded_by_bytes(version):
    with serving(reading_ollama(version=version)) as server:
        engine = engine_of(server)
        assert engine.count_tokens(LONG) == most_tokens(LONG)
        assert "upper bound" in engine.description.reason
        assert server.chats() == []


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_question_that_ollama_refuses_is_too_long(refusal):
    dense = replace(LONG, user="a1 " * 30_000)
    with serving(reading_ollama(refusal=refusal)) as server:
        with pytest.raises(QuestionTooLong, match="does not fit into the 16384 tokens"):
            engine_of(server).answer(dense, nothing)
        assert len(server.chats()) == 1


def test_a_question_that_an_old_ollama_cuts_silently_is_too_long():
    dense = replace(LONG, user="a1 " * 30_000)
    with (
        serving(reading_ollama(lambda _: "{}", refusal=None, version="0.11.0")) as server,
        pytest.raises(QuestionTooLong, match="16384 tokens of it were read"),
    ):
        engine_of(server).answer(dense, nothing)


def test_an_answer_that_leaves_no_room_is_not_trusted():
    with (
        serving(reading_ollama(lambda _: "{}")) as server,
        pytest.raises(QuestionTooLong, match="with 3072 for its answer"),
    ):
        engine_of(server).answer(replace(LONG, user="word " * 14_000), nothing)


def test_an_answer_of_whose_question_far_too_little_was_read_is_not_trusted():
    """Such as of a proxy that has a context of its own."""
    with serving(reading_ollama(lambda _: "{}", refusal=None, limit=4096)) as server:
        engine = engine_of(server)
        assert engine.count_tokens(LONG) < 13_000
        with pytest.raises(QuestionTooLong, match="4096 tokens of it were read"):
            engine.answer(LONG, nothing)


LINE = "Well this line number {} tells about the garden and the weather of yesterday."


@pytest.mark.parametrize(("lines", "limit"), [(380, 4096), (55, 1200)])
def test_a_server_that_reads_a_little_less_than_it_is_asked_to_is_not_trusted(lines, limit):
    said = of_texts(*(LINE.format(number) for number in range(lines)))
    memory = Memory()
    with serving(reading_ollama(refusal=None, limit=limit)) as server:
        found = summed_up(server, said, memory)
        asked = [one.body for one in server.chats() if not is_sample(one.body)]
    whole = [data_of(request_of(body)) for body in asked if tokens_of(body) <= limit]
    assert len(whole) < len(asked)
    assert found.coverage.missing == ()
    assert all(any(line.text in data for data in whole) for line in said.lines)


@pytest.mark.parametrize(("length", "is_trusted"), [(13_000, True), (14_000, False)])
def test_without_a_count_only_what_fits_at_a_token_a_byte_is_trusted(length, is_trusted):
    request = replace(LONG, system="", user="x" * length)
    with serving(reading_ollama(lambda _: "{}", counts=False)) as server:
        engine = engine_of(server)
        if is_trusted:
            assert engine.answer(request, nothing).text == "{}"
            return
        with pytest.raises(QuestionTooLong, match="not told how much"):
            engine.answer(request, nothing)


def test_where_bytes_count_what_may_not_fit_is_too_long():
    with (
        serving(lm_studio) as server,
        pytest.raises(QuestionTooLong, match="it may take 12138 tokens"),
    ):
        engine_of(server).answer(replace(LONG, system="", user="ж" * 6005), nothing)


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ({}, None),
        ({"capabilities": ["completion", "thinking"]}, False),
        ({"capabilities": ["thinking"], "thinking": {"values": [True, False]}}, False),
        ({"capabilities": ["thinking"], "thinking": {"values": ["high", False, "low"]}}, False),
        ({"capabilities": ["thinking"], "thinking": {"values": ["high", "low", "medium"]}}, "low"),
        ({"capabilities": ["thinking"], "thinking": {"values": ["deep", "deeper"]}}, "deep"),
        ({"capabilities": ["thinking"], "thinking": {"values": [False]}}, False),
        ({"capabilities": ["thinking"], "thinking": {"values": "oops"}}, False),
        ({"capabilities": ["thinking"], "thinking": {"values": []}, "family": "gptoss"}, "low"),
        ({"capabilities": ["thinking"], "thinking": {"values": [True]}}, False),
    ],
)
def test_a_model_is_told_to_think_as_little_as_it_can(shown, told):
    with serving(ollama(**shown)) as server:
        engine_of(server).answer(replace(LONG, user="hello"), nothing)
    assert server.chats()[0].body.get("think") == told


def test_a_sample_that_the_server_does_not_read_is_a_failure_of_the_server():
    routes, unknown = ollama()
    routes[CHAT] = objects("", read=None) and (lambda _: 1 / 0)
    with serving((routes, unknown)) as server, pytest.raises(TextEngineFailed, match="broke off"):
        engine_of(server).count_tokens(LONG)


# ── the story of a summary ───────────────────────────────────────────────────────────────────

THREE_HOURS = talk(180)


def summed_up(server, said, memory=None):
    memory = memory or Memory()
    return summarise(said, engine_of(server), OPTIONS, memory, nothing, memory.once)


def parts_asked(server):
    asked = [request_of(one.body) for one in server.chats() if not is_sample(one.body)]
    return [request for request in asked if not is_merge(request)]


def test_three_hours_take_fewer_than_half_of_the_questions_that_bytes_would():
    with serving(reading_ollama) as server:
        by_samples = make_plan(THREE_HOURS, engine_of(server), OPTIONS)
    with serving(reading_ollama(version="0.3.0")) as server:
        by_bytes = make_plan(THREE_HOURS, engine_of(server), OPTIONS)
    assert (len(by_samples.parts), len(by_bytes.parts)) == (6, 16)


def test_three_hours_are_summed_up_with_every_minute_of_them():
    with serving(reading_ollama) as server:
        found = summed_up(server, THREE_HOURS)
        assert len(samples(server)) == 1
    assert found.coverage.missing == ()
    assert found.provenance.fallbacks == ()
    asked = "\n".join(map(data_of, parts_asked(server)))
    assert all(line.text in asked for line in THREE_HOURS.lines)


def partly_dense(stretch, minutes=120):
    """A talk whose last quarter is of another kind."""
    lines = list(talk(minutes).lines)
    middle = len(lines) * 3 // 4
    return spoken(lines[:middle] + [replace(line, text=stretch) for line in lines[middle:]])


DENSE = {
    "numbers": "31415926535897932384626433832795028841971693993751058209749445923078164062862",
    "Chinese": "春天的花开了夏天的雨下了秋天的叶落了冬天的雪化了",
    "emoji": "🚢🌊⚓🧭🗺️🐚🐠🐳🦀🌅🚢🌊⚓🧭🗺️🐚🐠🐳",
}
HOW = {"refuses": REFUSALS[0], "cuts silently": None}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("script", DENSE)
def test_a_stretch_that_is_far_denser_is_asked_for_in_halves(script, how):
    said = partly_dense(DENSE[script])
    memory = Memory()
    with serving(reading_ollama(refusal=HOW[how])) as server:
        found = summed_up(server, said, memory)
        unread = [one.body for one in server.chats() if tokens_of(one.body) > 16_384]
    assert found.coverage.missing == ()
    assert found.coverage.covered_s == found.coverage.speech_s
    assert memory.progress[-1][0] == memory.progress[-1][1]
    was_too_long = any("fit into the 16384" in note for note in memory.notes)
    assert was_too_long or script != "numbers"  # another script is sampled by itself
    assert was_too_long == bool(unread)
    answered = [one for one in parts_asked(server) if one not in map(request_of, unread)]
    fitting = [one for one in answered if tokens_in(one.system + one.user) <= 16_384 - 3072]
    asked = "\n".join(map(data_of, fitting))
    assert all(f"[{int(line.start_s)}] {line.text}" in asked for line in said.lines)


def test_what_is_too_long_however_short_it_is_is_named_as_missing():
    said = of_texts("word " * 8000, "Nobody ever reads this.", "word " * 8000)
    routes, unknown = reading_ollama()
    honest = routes[CHAT]

    def chat(body):
        if "[5] " in body["messages"][-1]["content"] and not is_sample(body):
            return objects("{}", read=99_999)
        return honest(body)

    memory = Memory()
    with serving((routes | {CHAT: chat}, unknown)) as server:
        found = summed_up(server, said, memory)
        assert len(server.chats()) < 50
    (gap,) = found.coverage.missing
    assert gap.start_s <= said.lines[1].start_s < said.lines[1].end_s <= gap.end_s
    assert any("not summarised" in one for one in found.provenance.fallbacks)
    assert memory.progress[-1][0] == memory.progress[-1][1]


def test_a_server_that_finds_everything_too_long_is_given_up():
    routes, unknown = reading_ollama()
    honest = routes[CHAT]

    def chat(body):
        return honest(body) if is_sample(body) else Said({"error": REFUSALS[0]}, status=400)

    with serving((routes | {CHAT: chat}, unknown)) as server:
        with pytest.raises(QuestionTooLong, match="does not fit"):
            summed_up(server, talk(20))
        assert len(server.chats()) < 100


@pytest.mark.parametrize("limit", [10, 300])
def test_a_server_that_reads_next_to_nothing_is_given_up(limit):
    with serving(reading_ollama(refusal=None, limit=limit)) as server:
        with pytest.raises(QuestionTooLong, match=f"{limit} tokens of it were read"):
            summed_up(server, talk(20))
        assert len(server.chats()) < 100
