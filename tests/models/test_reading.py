"""What of a window is heard again: never what all temperatures failed at, but for its rest."""

from __future__ import annotations

import numpy as np
import pytest
from whisper.decoding import DecodingResult
from whisper.model import ModelDimensions, Whisper

from models.engines.decode import quiet
from models.engines.reading import read, tokenizer_of
from pipeline.types import SAMPLE_RATE_HZ, Clip, Span, SpeechOptions, Window

OPTIONS = SpeechOptions(language="en", word_times=False)
WINDOW = Window(100.0, 130.0, (Span(100.0, 112.0), Span(113.0, 130.0)))
CLIP = Clip(WINDOW, np.zeros(30 * SAMPLE_RATE_HZ, np.float32), OPTIONS)
SURE, UNSURE = -0.3, -1.5


@pytest.fixture(scope="module")
def model():
    return Whisper(ModelDimensions(80, 1500, 64, 1, 1, 51865, 448, 64, 1, 1))


def rest_of(model, text, log_probability, ratio=1.5, **known):
    """Text between timestamps, as "<|0|> Hello.<|10|><|10|> And", to what is left to hear."""
    with quiet():
        tokenizer = tokenizer_of(model, "en", "transcribe")
    tokens = []
    for part in text.replace("<|", "|>").split("|>"):
        is_time = part.isdigit()
        tokens += (
            [tokenizer.timestamp_begin + int(part) * 50] if is_time else tokenizer.encode(part)
        )
    result = DecodingResult(
        audio_features=None,
        language="en",
        tokens=tokens,
        text=tokenizer.decode(tokens),
        avg_logprob=log_probability,
        compression_ratio=ratio,
        no_speech_prob=0.1,
        temperature=0.0,
    )
    settings = {"may_continue": True, "is_early": True, **known}
    with quiet():
        _, rest = read(model, None, 0, CLIP, result, **settings)
    return [(window.start_s, window.end_s) for window in rest]


BEGUN = "<|0|> Hello there.<|10|><|10|> And then"
WITHOUT_TIME = "<|0|> And then she went on and on and never came to an"


def test_after_a_text_that_was_cut_short_the_rest_is_heard(model):
    assert rest_of(model, BEGUN, SURE, is_whole=False) == [(110.0, 130.0)]
    assert rest_of(model, WITHOUT_TIME, SURE, is_whole=False) == [(100.0, 112.5), (112.5, 130.0)]


def test_after_one_that_failed_besides_it_is_heard_at_first(model):
    assert rest_of(model, BEGUN, UNSURE, is_whole=False) == [(110.0, 130.0)]
    assert rest_of(model, BEGUN, UNSURE, is_whole=False, is_early=False) == []
    assert rest_of(model, BEGUN, SURE, is_whole=False, is_early=False) == [(110.0, 130.0)]
    assert rest_of(model, WITHOUT_TIME, UNSURE, is_whole=False) == []


def test_after_one_that_repeats_itself_besides_nothing_is(model):
    assert rest_of(model, BEGUN, SURE, is_whole=False, ratio=3.0) == []


@pytest.mark.parametrize("is_early", [True, False])
def test_after_a_failure_that_came_to_its_end_the_rest_is_heard(model, is_early):
    assert rest_of(model, BEGUN, UNSURE, is_early=is_early) == [(110.0, 130.0)]
    assert rest_of(model, BEGUN, SURE, is_early=is_early, ratio=3.0) == [(110.0, 130.0)]
