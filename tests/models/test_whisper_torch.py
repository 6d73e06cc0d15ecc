"""WhisperTorch against whisper's own decoding, window by window, with real models.

The demo model knows speech; small models with random weights stand in for other dimensions,
languages and tasks, and write nonsense at length.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingResult
from whisper.model import ModelDimensions, Whisper

from models import demo
from models.engines import decode as ours
from models.engines.loaded import made_ready
from models.engines.whisper_torch import WhisperTorch
from models.registry import find
from pipeline.errors import OutOfMemory
from pipeline.types import SAMPLE_RATE_HZ, Clip, EngineDescription, Span, SpeechOptions, Window
from tests.benchmarks.peers import checkpoint

SPEECH = SpeechOptions(language="en", word_times=False, temperatures=(0.0,))
TINY = ModelDimensions(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=64,
    n_audio_head=1,
    n_audio_layer=1,
    n_vocab=51865,
    n_text_ctx=32,
    n_text_state=64,
    n_text_head=1,
    n_text_layer=2,
)
TINY_128 = replace(TINY, n_mels=128, n_vocab=51866)


def clip(samples, options=SPEECH, start_s=0.0):
    end_s = start_s + len(samples) / SAMPLE_RATE_HZ
    return Clip(Window(start_s, end_s, (Span(start_s, end_s),)), samples, options)


def demo_model(**dimensions):
    checkpoint = demo.load_checkpoint()
    state = checkpoint["model_state_dict"]
    dims = replace(ModelDimensions(**checkpoint["dims"]), **dimensions)
    positions = "decoder.positional_embedding"
    model = Whisper(dims)
    model.load_state_dict({**state, positions: state[positions][: dims.n_text_ctx]})
    return model


def random_model(dims):
    model = Whisper(dims)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embedding" in name else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


def engine(model, batch_size=8):
    languages = ("en", "de", "fr") if model.is_multilingual else ("en",)
    description = EngineDescription(
        "test", "float32", "cpu", languages, can_translate=False, reason="a test"
    )
    return WhisperTorch(made_ready(model, description, batch_size), nothing_less)


def nothing_less(_):
    raise OutOfMemory("memory ran out in a test of something else")


@pytest.fixture(scope="module")
def spoken():
    return demo_model()


@pytest.fixture(scope="module")
def tiny():
    return random_model(TINY)


@pytest.fixture(scope="module")
def tiny_128():
    return random_model(TINY_128)


@pytest.fixture(scope="module")
def recordings(samples_of):
    return [samples_of(path) for path in (demo.EPISODE, *(clip.path for clip in demo.clips()))]


def windows(recordings, count, seed, options=SPEECH):
    """Slices of any recording at any place and of any length, with noise and silence among them."""
    random = np.random.default_rng(seed)
    for index in range(count):
        size = int(random.uniform(0.3, 30.0) * SAMPLE_RATE_HZ)
        if index % 10 == 0:
            loudness = 0.0 if index % 20 else 0.1
            yield clip(random.normal(0, loudness, size).astype(np.float32), options)
        else:
            recording = recordings[0 if index % 3 else random.integers(len(recordings))]
            first = int(random.integers(max(1, len(recording) - size)))
            yield clip(recording[first : first + size], options, first / SAMPLE_RATE_HZ)


def texts(heard):
    return [" ".join(segment.text for segment in one.segments) for one in heard]


def test_a_window_says_the_same_alone_and_in_a_batch(spoken, recordings):
    clips = list(windows(recordings, 6, seed=3))
    batched = texts(engine(spoken).transcribe(clips))
    assert any(batched)
    assert batched == texts(engine(spoken, batch_size=1).transcribe(clips))


# ── order ────────────────────────────────────────────────────────────────────────────────────


def test_clips_of_different_files_and_languages_are_answered_in_order(tiny, recordings):
    wishes = [
        SPEECH,
        replace(SPEECH, language="de", initial_prompt="Grüße aus <|Köln|>"),
        replace(SPEECH, language="fr", task="translate"),
        replace(SPEECH, initial_prompt="Anna, Oliver"),
    ]
    clips = [
        replace(one, options=wishes[index % 4])
        for index, one in enumerate(windows(recordings, 7, seed=2))
    ]
    heard = list(engine(tiny, batch_size=4).transcribe(iter(clips)))
    assert [one.window for one in heard] == [one.window for one in clips]
    assert texts(heard) == texts(
        one for single in clips for one in engine(tiny).transcribe([single])
    )
    assert len(set(texts(heard))) > 4


def test_clips_are_taken_as_they_are_needed(tiny, recordings):
    silent = replace(SPEECH, no_speech_limit=-1.0, log_probability_limit=99.0)  # whatever is said
    taken = []

    def source():
        for index, one in enumerate(windows(recordings, 10, seed=1, options=silent)):
            taken.append(index)
            yield one

    for index, heard in enumerate(engine(tiny, batch_size=4).transcribe(source())):
        assert heard.segments == ()
        assert len(taken) <= index + 2 * 4
    assert len(taken) == 10


def test_no_clips_give_no_results(tiny):
    assert list(engine(tiny).transcribe([])) == []


# ── nothing is lost ──────────────────────────────────────────────────────────────────────────


def test_what_does_not_fit_into_one_decoding_is_heard_in_the_next(recordings):
    clips = [clip(recordings[5], start_s=100.0), clip(recordings[1], start_s=7.0)]
    short = demo_model(n_text_ctx=44)  # 22 tokens: the first sentence and a half
    heard = list(engine(short).transcribe(clips))
    assert texts(heard) == texts(engine(demo_model()).transcribe(clips))
    assert len(heard[0].segments) == 3
    starts = [segment.start_s for segment in heard[0].segments]
    truth = [100.0 + segment.start_s for segment in demo.clips()[4].segments]
    assert starts == pytest.approx(truth, abs=0.3)


def test_a_sentence_that_does_not_fit_is_heard_in_parts(recordings):
    clips = [clip(recordings[5])]
    heard = list(engine(demo_model(n_text_ctx=16)).transcribe(clips))
    assert len(heard) == 1
    assert len(heard[0].segments) >= 3
    assert heard[0].segments[-1].end_s > 9.0


def test_nonsense_without_end_comes_to_an_end(tiny, recordings):
    for heard in engine(tiny).transcribe(windows(recordings, 2, seed=8)):
        edges = [edge for one in heard.segments for edge in (one.start_s, one.end_s)]
        edges = [heard.window.start_s, *edges, heard.window.end_s]
        assert edges == sorted(edges)
        assert all(segment.text.strip() for segment in heard.segments)


# ── fall-back ────────────────────────────────────────────────────────────────────────────────


def test_only_windows_that_fail_go_on_to_the_next_temperature(spoken, recordings):
    options = replace(SPEECH, temperatures=(0.0, 0.4), best_of=2)
    never_good = replace(options, compression_ratio_limit=-1.0)
    clips = [clip(recordings[1], options), clip(recordings[2], never_good)]
    first, second = engine(spoken).transcribe(clips)
    assert {segment.temperature for segment in first.segments} == {0.0}
    assert {segment.temperature for segment in second.segments} == {0.4}


def test_samples_depend_on_the_sound_only(tiny, recordings):
    options = replace(SPEECH, temperatures=(1.0,), best_of=2)
    clips = list(windows(recordings, 3, seed=6, options=options))
    before = torch.random.get_rng_state()
    heard = texts(engine(tiny).transcribe(clips))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert texts(engine(tiny, batch_size=1).transcribe(clips[::-1])) == heard[::-1]
    assert len(set(heard)) == 3


def test_a_silent_window_has_no_segments(spoken):
    silence = clip(np.zeros(5 * SAMPLE_RATE_HZ, np.float32))
    (heard,) = engine(spoken).transcribe([silence])
    assert heard.segments == ()


@pytest.mark.parametrize(
    ("ratio", "log_probability", "no_speech", "failure", "silence"),
    [
        (1.0, -0.5, 0.1, False, False),
        (3.0, -0.5, 0.1, True, False),  # repetitive
        (1.0, -1.5, 0.1, True, False),  # unsure
        (1.0, -1.5, 0.9, False, True),  # unsure, since nothing was said
        (1.0, -0.5, 0.9, False, False),  # sure, so something was said
        (1.0, -0.5, math.nan, False, False),
    ],
)
def test_the_rules_are_those_of_whisper(ratio, log_probability, no_speech, failure, silence):
    result = DecodingResult(
        audio_features=torch.zeros(1),
        language="en",
        compression_ratio=ratio,
        avg_logprob=log_probability,
        no_speech_prob=no_speech,
    )
    assert ours.is_failure(result, SPEECH) == failure
    assert ours.is_silence(result, SPEECH) == silence


# ── language ─────────────────────────────────────────────────────────────────────────────────


def test_an_english_model_hears_english(spoken, recordings):
    guess = engine(spoken).detect_language([clip(recordings[1])])
    assert (guess.language, guess.probability) == ("en", None)


def test_the_language_is_the_likeliest_on_average(tiny_128, recordings):
    clips = list(windows(recordings, 5, seed=4))
    guess = engine(tiny_128, batch_size=2).detect_language(iter(clips))
    mels = [log_mel_spectrogram(pad_or_trim(one.samples.copy()), 128) for one in clips]
    rows = [tiny_128.detect_language(mel)[1] for mel in mels]
    means = {code: sum(row[code] for row in rows) / 5 for code in rows[0]}
    assert guess.language == max(means, key=means.get)
    assert guess.probability == pytest.approx(max(means.values()), rel=1e-4)


# ── nonsense ─────────────────────────────────────────────────────────────────────────────────


def test_a_text_that_never_ends_and_that_nobody_could_say_is_not_heard_again_in_halves(
    recordings,
):
    dimensions = replace(find("tiny").dimensions, n_audio_layer=1, n_text_layer=1)
    with ours.quiet():
        endless = checkpoint.scripted(dimensions, words=300)  # due after decoding is cut off
    state = endless["model_state_dict"]
    state["decoder.ln.weight"] *= 60  # so sure of itself that nothing else is tried
    model = Whisper(ModelDimensions(**asdict(dimensions)))
    model.load_state_dict(state)
    hearing, encoded = engine(model), []
    model.encoder.register_forward_hook(lambda *_: encoded.append(1))
    sound = np.resize(recordings[0], 30 * SAMPLE_RATE_HZ)
    (heard,) = hearing.transcribe([clip(sound, replace(SPEECH, temperatures=(0.0, 0.4, 0.8)))])
    (segment,) = heard.segments
    assert len(segment.text) > 900
    assert len(encoded) <= 1


def test_a_window_that_overflowed_says_nothing(spoken, recordings):
    broken = recordings[0][: 10 * SAMPLE_RATE_HZ].copy()
    broken[1000] = np.nan
    whole = clip(recordings[1][: 10 * SAMPLE_RATE_HZ])
    first, second = engine(spoken).transcribe([clip(broken), whole])
    assert first.segments == ()
    (alone,) = engine(spoken).transcribe([whole])
    assert [said.text for said in second.segments] == [said.text for said in alone.segments] != []
