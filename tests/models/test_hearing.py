"""One window on its way through the temperatures: what is tried, how long, and what is taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from whisper.decoding import DecodingTask
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import get_tokenizer

from models.engines.decode import decoding_options, quiet
from models.engines.hearing import WINDOW_TOKENS, Hearing, Request, Task
from models.engines.rules import rules_of
from models.engines.search import Found
from pipeline.types import SpeechOptions

OPTIONS = SpeechOptions(language="en")
SPEECH = (
    " Well, nobody in the village had ever seen such a strange ship; it came up the river at dawn,"
    " painted green and gold, and its captain asked us politely for bread and news from the hills."
    " My aunt, who distrusted sailors, hid her silver under seven sacks of flour before she opened"
    " the door. Later we learned that he was looking for his brother, a carpenter lost eleven years"
    " ago near Odessa, and that every harbour on the coast had told him a different story."
)
SENTENCE = (
    " and the people who came to the house by the old river road were all very glad to see him"
)
MODEL = Whisper(ModelDimensions(80, 1500, 64, 1, 1, 51865, 448, 64, 1, 1))
with quiet():
    TOKENIZER = get_tokenizer(multilingual=True, num_languages=99, language="en", task="transcribe")
    WORDS = TOKENIZER.encode(SPEECH)
BEGIN, EOT = TOKENIZER.timestamp_begin, TOKENIZER.eot


def task(options, attempt):
    with quiet():
        whisper = DecodingTask(MODEL, decoding_options(MODEL, options, attempt))
    return Task(whisper, rules_of(whisper))


def heard(options, *texts):
    """A window whose attempts say these texts, each as tokens and their log probability.

    Returns it, and the number of rows that all passes had together.
    """
    hearing, rows = Hearing(Request(None, options, 1), 0, task(options, 0)), 0
    hearing.no_speech_probability = 0.1
    for attempt, (tokens, log_probability) in enumerate(texts):
        assert hearing.attempt == attempt
        count = hearing.task.whisper.n_group
        for token in tokens:
            growing = [row for row in range(count) if not hearing.search.is_over(row)]
            if not growing:
                break
            rows += len(growing)
            hearing.running = len(growing)
            for row in growing:
                hearing.search.add(row, token, log_probability)
            hearing.weed()
        if hearing.is_good():
            break
        hearing.fall_back(task(options, hearing.attempt + 1))
    return hearing.decoded(), rows


def said(count, log_probability=-0.3):
    """So many words of speech, to their end."""
    return [BEGIN, *(WORDS * 2)[:count], BEGIN + 1400, EOT], log_probability


def looped(count, phrase):
    return [BEGIN, *(WORDS * 2)[:count], *TOKENIZER.encode(phrase) * 60], -0.2


@pytest.mark.parametrize("phrase", [" Thanks for watching!", SENTENCE])
@pytest.mark.parametrize("count", [0, 40])
def test_after_a_loop_the_next_temperature_is_heard(count, phrase):
    found, rows = heard(OPTIONS, looped(count, phrase), said(100))
    assert found.result.temperature == 0.2
    assert found.result.tokens == said(100)[0][: len(found.result.tokens)]
    assert len(found.result.tokens) > 50
    assert rows <= WINDOW_TOKENS + 5


def test_a_whole_text_that_failed_is_worth_more_than_a_part_of_another():
    found, _ = heard(OPTIONS, said(160, -1.05), said(160, -0.9))
    assert (found.result.temperature, found.is_whole) == (0.0, True)
    assert found.result.tokens == said(160)[0][:-1]


def test_long_text_that_fails_at_its_end_is_taken_as_it_is():
    found, rows = heard(replace(OPTIONS, compression_ratio_limit=None), said(200, -1.01))
    assert found.is_whole
    assert rows == 203


@pytest.mark.parametrize("log_probability", [-1.1, -0.3])
@pytest.mark.parametrize("count", [90, 100, 135])
def test_what_was_said_before_a_loop_is_worth_more_than_less_of_it(count, log_probability):
    found, _ = heard(OPTIONS, looped(count, " Thanks for watching!"), said(150, log_probability))
    assert not found.is_whole
    assert found.result.temperature == 0.0
    assert found.result.tokens == looped(count, " Thanks for watching!")[0][: count + 5]


def test_one_short_sample_does_not_end_better_ones():
    hearing = Hearing(Request(None, OPTIONS, 1), 0, task(OPTIONS, 0))
    hearing.fall_back(task(OPTIONS, 1))
    texts = [[BEGIN, *WORDS[:60], BEGIN + 1400, EOT]] * 5
    texts[3] = [BEGIN, 291, BEGIN + 1400, EOT]
    for at in range(63):
        growing = [row for row in range(5) if not hearing.search.is_over(row)]
        hearing.running = len(growing)
        for row in growing:
            hearing.search.add(row, texts[row][at], -0.95 if row == 3 else -0.3)
        hearing.weed()
    assert hearing.search.found().tokens == texts[0][:-1]


def test_no_text_of_many_short_samples_is_taken_for_a_long_one():
    options, loop = replace(OPTIONS, best_of=48), " Thanks for watching!"
    found, _ = heard(options, *[looped(count, loop) for count in (100, 60, 120, 100, 90, 100)])
    assert len(found.result.tokens) >= 60


def test_all_temperatures_are_tried_on_little_text():
    little = ([BEGIN, 1012, BEGIN + 100, EOT], -1.3)
    found, rows = heard(OPTIONS, *[little] * 6)
    assert found.result.temperature == 1.0
    assert found.is_whole
    assert rows == 4 + 5 * 5 * 4


def test_whoever_wants_more_samples_gets_them():
    found, rows = heard(replace(OPTIONS, best_of=60), said(100, -1.05), said(100, -0.9))
    assert (found.result.temperature, found.is_whole) == (0.2, True)
    assert rows > 15 * 60


def test_the_first_temperature_may_be_above_0():
    options = replace(OPTIONS, temperatures=(0.2, 0.4))
    found, _ = heard(options, said(45, -1.2), said(100))
    assert (found.result.temperature, found.is_whole) == (0.4, True)


def test_beams_that_fail_leave_enough_for_another_try():
    options = replace(OPTIONS, beam_size=5)
    hearing = Hearing(Request(None, options, 1), 0, task(options, 0))
    tokens, log_probability = looped(40, " Thanks for watching!")
    hearing.search.found = lambda: Found(tokens[:224], 224 * log_probability)  # beams' own result
    hearing.no_speech_probability = 0.1
    assert not hearing.is_good()
    hearing.fall_back(task(options, 1))
    assert hearing.task.whisper.n_group == options.best_of
