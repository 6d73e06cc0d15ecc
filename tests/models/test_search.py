"""How texts are sampled, given up and ranked; that beams are whisper's is shown in test_slots."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.model import ModelDimensions, Whisper

from models.engines.choosing import choose
from models.engines.decode import quiet
from models.engines.search import Samples
from pipeline.types import SpeechOptions

LONGEST = 100  # tokens
CALM = SpeechOptions(compression_ratio_limit=None, log_probability_limit=None)


def task_of(longest):
    model = Whisper(ModelDimensions(80, 1500, 64, 1, 1, 51865, 2 * longest, 64, 1, 1))
    options = DecodingOptions(language="en", temperature=0.4, best_of=3)
    with quiet():
        return DecodingTask(model, options)


@pytest.fixture(scope="module")
def task():
    return task_of(LONGEST)


@pytest.fixture(scope="module")
def long_task():
    return task_of(224)


def grow(samples, number, tokens, log_probability=-0.5):
    for token in tokens:
        samples.add(number, token, log_probability)


def words(task, text):
    return task.tokenizer.encode(text)


# ── choosing ─────────────────────────────────────────────────────────────────────────────────


def test_samples_come_as_often_as_they_are_likely():
    """Three tokens of 60, 30 and 10 %, at temperature 1, drawn four hundred times."""
    shares = torch.tensor([0.6, 0.0, 0.3, 0.1]).log().repeat(400, 1)
    chances = (1 - torch.rand(400, generator=torch.Generator().manual_seed(0))).tolist()
    drawn, values = choose(shares, [1.0] * 400, chances)
    counts = np.bincount(drawn, minlength=4) / 400
    assert counts == pytest.approx([0.6, 0.0, 0.3, 0.1], abs=0.08)
    assert values == pytest.approx([float(shares[0, token]) for token in drawn])
    colder, _ = choose(shares, [0.2] * 400, chances)
    assert colder.count(0) > 380


def test_the_edges_of_chance_fall_on_likely_tokens():
    shares = torch.tensor([[0.0, 0.5, 0.5, 0.0]]).log().repeat(2, 1)
    assert choose(shares, [1.0, 1.0], [2**-24, 1.0])[0] == [1, 2]


def test_at_temperature_0_the_likeliest_token_comes_whatever_the_chance():
    shares = torch.randn(3, 50).log_softmax(-1)
    drawn, values = choose(shares, [0.0, 0.0, 0.0], [0.1, 0.5, 1.0])
    assert drawn == shares.argmax(-1).tolist()
    assert values == pytest.approx(shares.amax(-1).tolist())


def test_the_same_seed_has_the_same_chances(task):
    chances = [[Samples(task, seed).chance(number) for number in range(3)] for seed in (1, 1, 2)]
    assert chances[0] == chances[1] != chances[2]
    assert len(set(chances[0])) == 3
    assert all(0 < chance <= 1 for row in chances for chance in row)


# ── coming to an end ─────────────────────────────────────────────────────────────────────────


def test_a_text_is_over_at_its_end_or_when_it_is_as_long_as_may_be(task):
    samples = Samples(task, 0)
    grow(samples, 0, [5, 6, task.tokenizer.eot])
    grow(samples, 1, [7] * (LONGEST - 1))
    assert [samples.is_over(number) for number in range(3)] == [True, False, False]
    assert samples.sampled(0) == [5, 6]
    grow(samples, 1, [7])
    assert samples.is_over(1)
    assert len(samples.sampled(1)) == LONGEST


def test_the_likeliest_text_for_its_length_is_found(task):
    samples = Samples(task, 0)
    grow(samples, 0, [5, 6, task.tokenizer.eot], -1.0)
    grow(samples, 1, [7, 8, 9, 10, task.tokenizer.eot], -0.8)
    grow(samples, 2, [11, task.tokenizer.eot], -0.9)
    found = samples.found()
    assert found.tokens == [7, 8, 9, 10]
    assert found.sum_log_probability == pytest.approx(-4.0)


def test_text_that_stays_too_unsure_even_if_all_the_rest_is_certain_is_hopeless(task):
    options = replace(CALM, log_probability_limit=-1.0)
    samples = Samples(task, 0)
    grow(samples, 0, [5] * 50, -2.0)  # -100 over at most 101 tokens
    samples.drop_hopeless(options)
    assert not samples.is_over(0)
    grow(samples, 0, [5], -2.0)
    samples.drop_hopeless(options)
    assert samples.is_over(0)
    assert not samples.is_over(1)


LIVELY = (
    " Well, nobody in the village had ever seen such a strange ship; it came up the river at dawn,"
    " painted green and gold, and its captain asked us politely for bread and news from the hills."
)


def hopeless_after(task, before, repeated):
    """How many tokens of what repeats itself are heard out after others, at most LONGEST."""
    options = replace(CALM, compression_ratio_limit=2.4)
    samples = Samples(task, 0)
    grow(samples, 0, before)
    grow(samples, 1, words(task, LIVELY)[:32])
    while not samples.is_over(0):
        grow(samples, 0, [repeated[len(samples.sampled(0)) - len(before)]])
        samples.drop_hopeless(options)
    assert not samples.is_over(1)
    return len(samples.sampled(0)) - len(before)


def test_text_that_repeats_itself_for_too_long_is_hopeless(task):
    loop = words(task, " Thanks for watching!") * LONGEST
    assert 16 <= hopeless_after(task, [], loop) <= 40


def test_so_is_text_that_got_into_a_loop_whatever_its_timestamps(long_task):
    begin = long_task.tokenizer.timestamp_begin
    phrase = words(long_task, " Thanks for watching!")
    loop = [token for i in range(50) for token in (begin + 20 * i, *phrase, begin + 20 * i + 19)]
    assert hopeless_after(long_task, [], loop) <= 80
    assert 48 <= hopeless_after(long_task, words(long_task, LIVELY), loop) <= 112


def test_so_is_a_loop_of_a_whole_sentence(long_task):
    lively = words(long_task, LIVELY) * 3
    loop = words(long_task, LIVELY.upper())[:21] * 20
    assert 48 <= hopeless_after(long_task, lively[:90], loop) <= 96


@pytest.mark.parametrize("said", ["a chant", "a refrain"])
def test_what_is_said_again_for_a_while_is_no_loop(long_task, said):
    options = replace(CALM, compression_ratio_limit=2.4)
    samples, lively = Samples(long_task, 0), words(long_task, LIVELY)
    again = {"a chant": words(long_task, " No,") * 18, "a refrain": lively[:36] * 2}[said]
    for token in [*lively, *again, *words(long_task, LIVELY.upper())][:160]:
        grow(samples, 0, [token])
        samples.drop_hopeless(options)
    assert not samples.is_over(0)
    assert len(samples.sampled(0)) > len(lively) + len(again)


def test_a_text_is_not_stopped_inside_a_character(task):
    samples = Samples(task, 0)
    spelt = words(task, " ક્ષમા 🦆")
    assert task.tokenizer.decode(spelt[:-1]).endswith("\ufffd")
    grow(samples, 0, spelt[:-1])
    samples.stop()
    assert "\ufffd" not in task.tokenizer.decode(samples.sampled(0))
    assert samples.sampled(0)


def test_a_text_that_is_stopped_is_found_and_known_as_unfinished(task):
    samples = Samples(task, 0)
    grow(samples, 0, [5, 6], -0.5)
    grow(samples, 1, [5, 7], -0.1)
    grow(samples, 2, [5, 8], -0.9)
    samples.keep_best()
    samples.stop()
    assert all(samples.is_over(number) for number in range(3))
    found = samples.found()
    assert found.tokens == [5, 7]
    assert not found.is_whole
    whole = Samples(task, 0)
    grow(whole, 0, [5, task.tokenizer.eot])
    assert whole.found().is_whole


def test_a_hopeless_text_is_found_only_where_there_is_no_other(task):
    options = replace(CALM, log_probability_limit=-1.0)
    samples = Samples(task, 0)
    grow(samples, 0, [5, 6], -200.0)
    samples.drop_hopeless(options)
    grow(samples, 1, [7, task.tokenizer.eot], -300.0)  # worse, but it came to its end
    grow(samples, 2, [8, 9], -400.0)
    samples.drop_hopeless(options)
    assert samples.found().tokens == [7]
    alone = Samples(task, 0)
    for number, token in enumerate((5, 6, 7)):
        grow(alone, number, [token], -200.0 - number)
    alone.drop_hopeless(options)
    assert alone.found().tokens == [5]


def test_of_growing_texts_only_the_likeliest_goes_on(task):
    samples = Samples(task, 0)
    for number, value in enumerate((-0.5, -0.2, -0.9)):
        grow(samples, number, [5, 6, 7 + number], value)
    for _ in range(2):
        samples.keep_best()
        assert [samples.is_over(number) for number in range(3)] == [True, False, True]
    grow(samples, 1, [20, task.tokenizer.eot], -0.9)
    assert samples.found().tokens == [5, 6, 8, 20]


def test_none_goes_on_where_a_likelier_one_is_complete(task):
    samples = Samples(task, 0)
    grow(samples, 0, [5, task.tokenizer.eot], -0.04)
    grow(samples, 1, [6, 7], -0.1)
    grow(samples, 2, [6, 7], -0.2)
    samples.keep_best()
    assert all(samples.is_over(number) for number in range(3))
    assert samples.found().tokens == [5]
