"""Windows in slots against whisper's own `decode`, one window at a time.

The demo model hears speech; small models with random weights write nonsense at length, in other
dimensions and languages.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from whisper.decoding import DecodingTask
from whisper.model import ModelDimensions, Whisper

from models import demo
from models.engines.decode import decoding_options, is_failure, quiet
from models.engines.decoder import fastest
from models.engines.decoder_modules import ModuleDecoder
from models.engines.hearing import WINDOW_TOKENS, Request
from models.engines.slots import Slots
from models.engines.spectrum import log_mel
from models.quantise import quantise_layers
from pipeline.types import SAMPLE_RATE_HZ, SpeechOptions

GREEDY = SpeechOptions(language="en", temperatures=(0.0,))
SMALL = ModelDimensions(80, 1500, 64, 1, 1, 51865, 32, 64, 1, 2)
DIMENSIONS = {
    "multilingual": SMALL,
    "128 mels": replace(SMALL, n_mels=128, n_vocab=51866),
    "English": replace(SMALL, n_vocab=51864),
}
WISHES = (
    GREEDY,
    replace(GREEDY, language="de", initial_prompt="Grüße aus <|Köln|>"),
    replace(GREEDY, beam_size=5),
    replace(GREEDY, temperatures=(0.7,), best_of=3),
    replace(GREEDY, language="fr", task="translate", temperatures=(0.0, 0.6, 1.0), best_of=2),
)


class Counting:
    """A decoder, and how many rows its passes had."""

    def __init__(self, decoder):
        self._decoder = decoder
        self.rows = []
        self.begun = []

    def step(self, tokens, positions, places):
        self.rows.append(len(tokens))
        return self._decoder.step(tokens, positions, places)

    def begin(self, slot, places, tokens, wanted):
        self.begun.append((slot, len(tokens)))
        return self._decoder.begin(slot, places, tokens, wanted)

    def __getattr__(self, name):
        return getattr(self._decoder, name)


def random_model(dims):
    model = Whisper(dims)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embedding" in name else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


@pytest.fixture(scope="module")
def models():
    return {name: random_model(dims) for name, dims in DIMENSIONS.items()}


@pytest.fixture(scope="module")
def spoken():
    checkpoint = demo.load_checkpoint()
    model = Whisper(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    return model


@pytest.fixture(scope="module")
def speech(spoken, samples_of):
    """Encoded: some of the bundled clips, and cuts of the episode of several lengths."""
    random = np.random.default_rng(4)
    episode = samples_of(demo.EPISODE)
    sounds = [samples_of(clip.path) for clip in demo.clips()[:4]]
    for size_s in (30.0, 21.0, 9.0, 2.5):
        first = int(random.integers(len(episode) - size_s * SAMPLE_RATE_HZ))
        sounds.append(episode[first : first + int(size_s * SAMPLE_RATE_HZ)])
    with torch.inference_mode():
        mels = [log_mel(samples, spoken.dims.n_mels, spoken.device) for samples in sounds]
        return spoken.encoder(torch.stack(mels))


def noise(count, seed=0, width=64):
    """Windows that differ in what all their frames have in common, so that texts differ too."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(count, 1500, width, generator=generator)
    return frames + 3 * torch.randn(count, 1, width, generator=generator)


def requests(features, wishes=(GREEDY,)):
    return [Request(x, wishes[i % len(wishes)], i) for i, x in enumerate(features)]


def decoded(model, decoder, wanted):
    """The results in the order of the requests."""
    source = iter(wanted)
    found = Slots(model, decoder).decode(lambda n: list(islice(source, n)))
    return sorted(found, key=lambda one: one.request.seed)


def tokens(found):
    return [one.result.tokens for one in found]


def whispers(model, features, options):
    """whisper repeats no features for beams: it takes several windows at once if it is greedy."""
    task = DecodingTask(model, decoding_options(model, options))
    batches = features.split(8 if options.beam_size == 1 else 1)
    with quiet():
        return [result for batch in batches for result in task.run(batch)]


def assert_as_whisper(model, features, options, slots=8):
    found = decoded(model, ModuleDecoder(model, slots, slots), requests(features, (options,)))
    for mine, truth in zip(found, whispers(model, features, options), strict=True):
        assert mine.result.tokens == truth.tokens
        assert mine.result.text == truth.text
        assert mine.result.language == truth.language
        for name in ("avg_logprob", "no_speech_prob", "compression_ratio", "temperature"):
            assert getattr(mine.result, name) == pytest.approx(getattr(truth, name), abs=1e-5)


def int8_decoder(model, places, slots):
    quantised = Whisper(model.dims)
    quantised.load_state_dict(model.state_dict())
    quantise_layers(quantised, "int8")
    return fastest(quantised, places, slots, 2)[0]


# ── the same as whisper ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", DIMENSIONS)
@pytest.mark.parametrize(
    ("count", "options"),
    [
        (56, GREEDY),
        (8, replace(GREEDY, initial_prompt="Anna, Oliver and the king")),
        (32, replace(GREEDY, beam_size=5)),
    ],
    ids=["greedy", "with a prompt", "beams"],
)
def test_windows_get_the_tokens_that_whisper_gives_to_each(models, name, count, options):
    assert_as_whisper(models[name], noise(count, seed=count), options)


@pytest.mark.parametrize("options", [GREEDY, replace(GREEDY, beam_size=5)], ids=["greedy", "beams"])
def test_so_does_speech(spoken, speech, options):
    chosen = speech if options.beam_size == 1 else speech[6:]
    assert_as_whisper(spoken, chosen, options)


# ── neighbours ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_int8", [False, True], ids=["float", "int8"])
def test_a_window_says_the_same_alone_and_among_windows_that_come_and_go(models, is_int8):
    model = models["multilingual"]
    make = int8_decoder if is_int8 else ModuleDecoder
    wanted = requests(noise(15, seed=1), WISHES)
    together = decoded(model, make(model, 16, 16), wanted)
    crowded = decoded(model, make(model, 2, 5), wanted)
    alone = [decoded(model, make(model, 1, 5), [one])[0] for one in wanted]
    assert tokens(together) == tokens(crowded) == tokens(alone)
    assert [one.result.temperature for one in crowded] == [
        one.result.temperature for one in together
    ]
    assert len(set(map(tuple, tokens(together)))) > 10


def test_nobody_waits_for_the_slowest(spoken, speech):
    decoder = Counting(ModuleDecoder(spoken, 3, 3))
    found = decoded(spoken, decoder, requests(speech))
    lengths = [len(one.result.tokens) + 1 for one in found]  # with eot
    assert sum(decoder.rows) == sum(lengths) - len(lengths)  # the first comes with the prompt
    busy = [rows for rows in decoder.rows if rows == 3]
    assert len(busy) >= len(decoder.rows) - max(lengths)


def test_windows_are_taken_when_there_is_room_for_them(models):
    model, asked = models["multilingual"], []
    waiting = requests(noise(7))

    def take(room):
        asked.append(room)
        taken, waiting[:] = waiting[:room], waiting[room:]
        return taken

    found = list(Slots(model, ModuleDecoder(model, 3, 3)).decode(take))
    assert len(found) == 7
    assert asked[0] == 3
    assert max(asked) == 3


def test_windows_that_are_taken_together_begin_together(models):
    model = models["multilingual"]
    decoder = Counting(ModuleDecoder(model, 5, 9))
    decoded(model, decoder, requests(noise(5), (GREEDY,)))
    assert decoder.begun == [(0, 5)]


def test_but_for_others_and_long_prompts(models):
    model = random_model(replace(SMALL, n_text_ctx=448))
    french, long = (
        replace(GREEDY, language="fr"),
        replace(GREEDY, initial_prompt=" village" * 120),  # 124 tokens with those that follow it
    )
    samples = replace(GREEDY, temperatures=(0.7,), best_of=2)
    short = {"compression_ratio_limit": None, "log_probability_limit": None}
    wanted = (GREEDY, GREEDY, french, long, long, long, samples, samples)
    decoder = Counting(ModuleDecoder(model, 8, 10))
    decoded(model, decoder, requests(noise(8), [replace(one, **short) for one in wanted]))
    assert [count for _, count in decoder.begun] == [2, 1, 2, 1, 1, 1]
    assert [slot for slot, _ in decoder.begun] == [0, 2, 3, 5, 6, 8]


def test_nothing_to_take_gives_nothing(models):
    model = models["English"]
    assert decoded(model, ModuleDecoder(model, 1, 1), []) == []


def test_what_comes_of_a_result_may_be_taken_next(models):
    """As a part of a window that has to be heard again does."""
    model, waiting = models["English"], requests(noise(2))
    taken = []
    slots = Slots(model, ModuleDecoder(model, 1, 1))
    for one in slots.decode(lambda _: [waiting.pop(0)] if waiting else []):
        taken.append(one.request.seed)
        if one.request.seed == 1:
            waiting.append(replace(one.request, seed=2))
    assert taken == [0, 1, 2]


def test_a_window_is_held_until_the_next_result_is_asked_for(models):
    model, features = models["multilingual"], noise(6)
    decoder, own = ModuleDecoder(model, 2, 3), ModuleDecoder(model, 1, 1)
    source = iter(requests(features))
    for one in Slots(model, decoder).decode(lambda n: list(islice(source, n))):
        own.hear([0], [one.request.features])
        truth = own.align(0, 0, [50258, 5, 6], 50257)
        assert torch.equal(decoder._heard[:, :, one.place], own._heard[:, :, 0])
        assert truth.scores.shape == (1, 3, 1500)


# ── samples ──────────────────────────────────────────────────────────────────────────────────


def test_samples_depend_on_the_seed_and_on_nothing_else(models):
    model = models["multilingual"]
    options = replace(GREEDY, temperatures=(1.0,), best_of=3)
    same = [Request(noise(1)[0], options, seed) for seed in (1, 1, 2)]
    before = torch.random.get_rng_state()
    source = iter(same)
    slots = Slots(model, ModuleDecoder(model, 9, 9))
    found = tokens(slots.decode(lambda n: list(islice(source, n))))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found[0] == found[1] != found[2]


# ── fall-back ────────────────────────────────────────────────────────────────────────────────


def test_only_windows_that_fail_go_on_to_the_next_temperature(spoken, speech):
    options = replace(GREEDY, temperatures=(0.0, 0.4), best_of=2)
    never_good = replace(options, compression_ratio_limit=-1.0)
    decoder = ModuleDecoder(spoken, 2, 2)
    found = decoded(spoken, decoder, requests(speech[:2], (options, never_good)))
    assert [one.result.temperature for one in found] == [0.0, 0.4]
    assert (
        found[0].result.tokens
        == whispers(spoken, speech[:1], replace(options, temperatures=(0.0,)))[0].tokens
    )


def test_where_no_temperature_follows_no_text_is_cut_short(models):
    model = models["English"]
    hopeless = replace(GREEDY, log_probability_limit=0.0, compression_ratio_limit=0.0)
    assert_as_whisper(model, noise(3), hopeless)


def test_a_text_that_is_sure_to_fail_is_not_gone_on_with(models):
    model = random_model(replace(SMALL, n_text_ctx=64))
    options = replace(GREEDY, temperatures=(0.0, 0.5), best_of=1, log_probability_limit=-0.5)
    (whole,) = whispers(model, noise(1), options)
    assert is_failure(whole, options)
    decoder = Counting(ModuleDecoder(model, 1, 1))
    (found,) = decoded(model, decoder, requests(noise(1), (options,)))
    assert found.result.temperature == 0.5
    assert len(found.result.tokens) == model.dims.n_text_ctx // 2  # the last one is whole
    assert len(decoder.rows) < 1.6 * len(found.result.tokens)


def test_nonsense_costs_no_more_than_long_speech(spoken):
    """Five temperatures with five samples each, all of which fail, are not tried to the end."""
    options = replace(SpeechOptions(language="en"), compression_ratio_limit=-1.0)
    decoder = Counting(ModuleDecoder(spoken, 2, 10))
    found = decoded(spoken, decoder, requests(noise(2, width=192), (options,)))
    assert all(one.result.tokens for one in found)
    assert sum(decoder.rows) <= len(found) * WINDOW_TOKENS


def test_where_the_last_try_was_cut_short_the_best_of_all_is_taken():
    """The first text failed by a hair, and it is whole."""
    model = random_model(replace(SMALL, n_text_ctx=256))
    (whole,) = whispers(model, noise(1), GREEDY)
    options = replace(
        SpeechOptions(language="en"),
        compression_ratio_limit=None,
        log_probability_limit=whole.avg_logprob + 0.01,
    )
    decoder = Counting(ModuleDecoder(model, 1, 5))
    (found,) = decoded(model, decoder, requests(noise(1), (options,)))
    assert max(decoder.rows) == 5
    assert found.is_whole
    assert found.result.tokens == whole.tokens
    assert found.result.temperature == 0
