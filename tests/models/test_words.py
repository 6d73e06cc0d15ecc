"""Word times, with the demo model and with one that writes nonsense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from models import demo
from models.engines.loaded import made_ready
from models.engines.whisper_torch import WhisperTorch
from models.engines.words import LETTER_S, _begun, _ended, _with_time
from pipeline.errors import OutOfMemory
from pipeline.types import (
    SAMPLE_RATE_HZ,
    Clip,
    EngineDescription,
    Span,
    SpeechOptions,
    Window,
    Word,
)

WITH_WORDS = SpeechOptions(language="en", word_times=True, temperatures=(0.0,))
START_S = 1000.0


def clip(samples, options=WITH_WORDS):
    end_s = START_S + len(samples) / SAMPLE_RATE_HZ
    return Clip(Window(START_S, end_s, (Span(START_S, end_s),)), samples, options)


def demo_model():
    checkpoint = demo.load_checkpoint()
    model = Whisper(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    return model


def nothing_less(_):
    raise OutOfMemory("memory ran out in a test of something else")


def transcribe(model, clips):
    description = EngineDescription(
        "test", "float32", "cpu", ("en",), can_translate=False, reason="a test"
    )
    return list(WhisperTorch(made_ready(model, description, 8), nothing_less).transcribe(clips))


@pytest.fixture(scope="module")
def recordings(samples_of):
    return [samples_of(clip.path) for clip in demo.clips()]


@pytest.fixture(scope="module")
def spoken():
    return demo_model()


@pytest.fixture(scope="module")
def heard(spoken, recordings):
    return transcribe(spoken, [clip(samples) for samples in recordings])


def timed_words(heard):
    words = (word for segment in heard.segments for word in segment.words)
    return [(word.start_s, word.end_s, word.text) for word in words]


def check(heard):
    """What holds for all words of a window."""
    edges = [heard.window.start_s]
    for segment in heard.segments:
        if segment.words:
            assert "".join(word.text for word in segment.words).strip() == segment.text
            assert segment.start_s == segment.words[0].start_s
            assert segment.end_s == segment.words[-1].end_s
        edges += [edge for word in segment.words for edge in (word.start_s, word.end_s)]
        assert all(0.0 <= word.probability <= 1.0 for word in segment.words)
    edges += [heard.window.end_s]
    assert edges == sorted(edges)


def test_every_segment_has_its_words_in_order(heard):
    for one in heard:
        assert all(segment.words for segment in one.segments)
        check(one)


def test_segments_begin_and_end_where_they_are_spoken(heard):
    for one, truth in zip(heard, demo.clips(), strict=True):
        spoken = [(START_S + true.start_s, START_S + true.end_s) for true in truth.segments]
        found = [(segment.start_s, segment.end_s) for segment in one.segments]
        assert np.array(found) == pytest.approx(np.array(spoken), abs=0.6)


def test_punctuation_belongs_to_the_word_before_it(heard):
    words = [word.text for segment in heard[0].segments for word in segment.words]
    assert words[0] == " Kevin,"
    assert words[-1] == " museum."


def test_a_translation_has_no_words(spoken, recordings):
    (one,) = transcribe(spoken, [clip(recordings[1], replace(WITH_WORDS, task="translate"))])
    assert one.segments
    assert not any(segment.words for segment in one.segments)


def test_a_word_without_time_takes_some_of_the_pause_before_it_and_no_more():
    squeezed = Word(6.4, 6.4, " everyone,", 1.0)
    assert _with_time(squeezed, free_from_s=5.0).start_s == pytest.approx(6.4 - 9 * LETTER_S)
    assert _with_time(squeezed, free_from_s=6.3).start_s == 6.3
    assert _with_time(squeezed, free_from_s=6.4) == squeezed
    spoken = Word(6.0, 6.4, " everyone,", 1.0)
    assert _with_time(spoken, free_from_s=5.0) == spoken


def test_the_first_and_last_word_leave_silence_to_the_timestamps():
    word = Word(1.0, 2.0, " Hello.", 1.0)
    assert _begun(word, 1.3).start_s == 1.3
    assert _ended(word, 1.7).end_s == 1.7
    for elsewhere_s in (0.5, 1.0, 2.0, 2.5):
        assert _begun(word, elsewhere_s) == _ended(word, elsewhere_s) == word


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nonsense_in_any_script_keeps_the_rules(language):
    dims = ModelDimensions(80, 1500, 64, 1, 1, 51865, 48, 64, 1, 2)
    model = Whisper(dims)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 3 * SAMPLE_RATE_HZ)).astype(np.float32)
    options = replace(
        WITH_WORDS, language=language, temperatures=(1.0,), best_of=1, log_probability_limit=-99.0
    )
    results = transcribe(model, [clip(row, options) for row in noise])
    assert any(segment.words for one in results for segment in one.segments)
    for one in results:
        check(one)
