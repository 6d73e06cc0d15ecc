from __future__ import annotations

import base64
import gzip
from dataclasses import asdict, replace
from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper import _ALIGNMENT_HEADS
from whisper.decoding import DecodingResult, DecodingTask
from whisper.model import ModelDimensions

from models import checkpoint, needs
from models.checkpoint import DEMO_ALIGNMENT_HEADS
from models.engines import decode
from models.engines.whisper_torch import _read
from models.needs import needed
from models.registry import ALIASES, WHISPERS, Dimensions, find
from tests.benchmarks.needs import Case, clips, measure, random_state

QUANTISATIONS = ("float32", "bfloat16", "float16", "int8", "int4")
DEVICES = ("cpu", "cuda", "mps")
ENGLISH = 51_864
SMALL = Dimensions(80, 128, 2, 2, ENGLISH, 128, 2, 2)
OF_ODD_WIDTH = Dimensions(80, 80, 2, 2, ENGLISH, 80, 2, 3)  # which int4 cannot pack


def build(dimensions, quantisation, name="any"):
    dims = ModelDimensions(**asdict(dimensions))
    spec = next((spec for spec in WHISPERS if spec.name == name), None)
    found = checkpoint.Checkpoint(name, spec, dims, random_state(dimensions))
    return checkpoint.build(found, quantisation, "cpu")


def hollow(dimensions, quantisation):
    """A model without memory for its tensors, in the precision that they would have."""
    model = checkpoint._hollow(ModelDimensions(**asdict(dimensions)), quantisation)
    dtypes = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    checkpoint._set_precision(model, dtypes.get(quantisation, torch.float32))
    return model


def bytes_of(model):
    """Of all tensors but the few numbers of the alignment heads, which are sparse."""
    tensors = chain(model.parameters(), model.buffers())
    return sum(tensor.nbytes for tensor in tensors if tensor.layout == torch.strided)


# ── weights ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("dimensions", [SMALL, OF_ODD_WIDTH, find("demo").dimensions])
def test_weights_are_exactly_those_of_the_model_that_is_built(dimensions, quantisation):
    need = needed(dimensions, quantisation, "cpu", batch_size=1)
    assert need.weights_bytes == bytes_of(build(dimensions, quantisation))


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("name", ["tiny", "medium.en", "large-v3-turbo"])
def test_weights_are_exactly_those_of_published_models(name, quantisation):
    dimensions = find(name).dimensions
    need = needed(dimensions, quantisation, "cpu", batch_size=1)
    assert need.weights_bytes == bytes_of(hollow(dimensions, quantisation))


@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_a_gpu_keeps_in_float16_what_is_not_quantised(quantisation):
    model = hollow(SMALL, quantisation)
    checkpoint._set_precision(model, torch.float16)
    assert needed(SMALL, quantisation, "cuda", 1).weights_bytes == bytes_of(model)
    slow = needed(SMALL, quantisation, "cuda", 1, fast_float16=False)
    assert slow.weights_bytes == bytes_of(hollow(SMALL, quantisation))


def test_every_published_model_has_its_alignment_heads():
    expected = {
        name: sum(gzip.decompress(base64.b85decode(dump)))
        for name, dump in _ALIGNMENT_HEADS.items()
        if name not in ALIASES
    }
    assert {**expected, "demo": len(DEMO_ALIGNMENT_HEADS)} == needs._ALIGNMENT_HEADS


def test_other_models_have_whispers_default_heads():
    model = build(OF_ODD_WIDTH, "float32")
    assert needs._alignment_heads(OF_ODD_WIDTH) == model.alignment_heads.indices().shape[1]


# ── the moments, against what torch has in memory at once ────────────────────────────────────


def live_bytes(work):
    """The most that torch's tensors take at once while the work is done."""
    with torch.inference_mode(), decode.quiet():
        work()
        with torch.profiler.profile(profile_memory=True) as profile:
            work()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    used, most = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        used += event.nbytes()
        most = max(most, used)
    return most


def windows(count, temperatures=(0.0,)):
    case = Case("any", SMALL, "float32", 1, windows=count)
    return [
        replace(clip, options=replace(clip.options, temperatures=temperatures))
        for clip in clips(case)
    ]


def described(dimensions, quantisation):
    return needs._Model(dimensions, quantisation, *needs._number_bytes(quantisation, half=False))


def size_of(moment):
    return moment.activations_bytes + moment.caches_bytes


@pytest.mark.parametrize("quantisation", ["float32", "bfloat16", "int8"])
def test_encoding_takes_what_is_computed(quantisation):
    model, heard = build(SMALL, quantisation), windows(4)
    most = live_bytes(lambda: decode.encode(model, heard))
    assert most <= size_of(needs._encode(described(SMALL, quantisation), 4)) <= 1.4 * most


@pytest.mark.parametrize("quantisation", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize(("temperature", "count", "sequences"), [(0.0, 3, 3), (1.0, 1, 5)])
def test_the_first_step_takes_what_is_computed(quantisation, temperature, count, sequences):
    model = build(SMALL, quantisation)
    (clip,) = windows(1, (temperature,))
    options = replace(decode.decoding_options(model, clip.options), sample_len=2)
    features = torch.zeros(count, SMALL.n_audio_ctx, SMALL.n_audio_state)
    most = live_bytes(lambda: DecodingTask(model, options).run(features)) + features.nbytes
    if quantisation == "int8":  # the system gives no memory for results that are still to come
        most -= min(sequences * 227, needs._ROWS_AT_ONCE) * ENGLISH * 4
    work = needs._Work(sequences, windows=count, batch_size=count)
    assert most <= size_of(needs._prompt(described(SMALL, quantisation), work)) <= 1.2 * most


def test_word_times_take_what_is_computed():
    model = build(SMALL, "float32")
    (clip,) = windows(1)
    features = torch.randn(SMALL.n_audio_ctx, SMALL.n_audio_state)
    first_timestamp, word, count = 50_363, 1000, 223
    result = DecodingResult(
        features, "en", tokens=[first_timestamp] + [word] * count, compression_ratio=99.0
    )
    most = live_bytes(lambda: _read(model, clip, features, result, may_continue=False))
    computed = size_of(needs._word_times(described(SMALL, "float32"), 1))
    assert most + features.nbytes <= computed <= 1.1 * most


@pytest.mark.parametrize(("sequences", "count"), [(2, 2), (5, 1)])
def test_caches_are_as_long_as_whisper_lets_them_get(sequences, count):
    model = build(SMALL, "float32")
    features = torch.zeros(count, SMALL.n_audio_ctx, SMALL.n_audio_state)
    caches, hooks = model.install_kv_cache_hooks()
    with torch.inference_mode():
        tokens = torch.zeros(sequences, SMALL.n_text_ctx, dtype=torch.long)
        model.decoder(tokens, features, kv_cache=caches)
    for hook in hooks:
        hook.remove()
    work = needs._Work(sequences, windows=count, batch_size=count)
    most = features.nbytes + sum(cache.nbytes for cache in caches.values())
    assert needs._last_step(described(SMALL, "float32"), work).caches_bytes == most


# ── the whole ────────────────────────────────────────────────────────────────────────────────


def test_a_process_stays_below_what_is_computed(tmp_path):
    row = measure(Case("any", SMALL, "int8", batch_size=1, windows=1), tmp_path)
    assert row.measured_bytes < row.computed_bytes < 1.5 * row.measured_bytes


ANY_DIMENSIONS = st.builds(
    Dimensions,
    n_mels=st.sampled_from([80, 128]),
    n_audio_state=st.just(0),
    n_audio_head=st.integers(1, 20),
    n_audio_layer=st.integers(1, 32),
    n_vocab=st.integers(ENGLISH, 51_866),
    n_text_state=st.just(0),
    n_text_head=st.integers(1, 20),
    n_text_layer=st.integers(1, 32),
).flatmap(
    lambda one: st.integers(1, 20).map(
        lambda width: replace(one, n_audio_state=64 * width, n_text_state=64 * width)
    )
)
ANY_PLACE = st.tuples(st.sampled_from(QUANTISATIONS), st.sampled_from(DEVICES))
MORE = st.integers(0, 4)


@given(ANY_DIMENSIONS, ANY_PLACE, st.integers(1, 64), st.integers(1, 10), MORE, MORE)
@settings(max_examples=100)
def test_more_windows_or_candidates_never_need_less(
    dimensions, place, batch_size, candidates, more_windows, more_candidates
):
    need = needed(dimensions, *place, batch_size, candidates)
    more = needed(dimensions, *place, batch_size + more_windows, candidates + more_candidates)
    assert more.total_bytes >= need.total_bytes
    assert more.weights_bytes == need.weights_bytes


@given(ANY_DIMENSIONS, ANY_PLACE, st.integers(1, 64), st.tuples(MORE, MORE, MORE, MORE))
@settings(max_examples=100)
def test_a_larger_model_never_needs_less(dimensions, place, batch_size, more):
    width, heads, audio_layers, text_layers = more
    larger = replace(
        dimensions,
        n_audio_state=dimensions.n_audio_state + 64 * width,
        n_text_state=dimensions.n_text_state + 64 * width,
        n_text_head=dimensions.n_text_head + heads,
        n_audio_layer=dimensions.n_audio_layer + audio_layers,
        n_text_layer=dimensions.n_text_layer + text_layers,
    )
    need, more_need = (needed(one, *place, batch_size) for one in (dimensions, larger))
    assert more_need.total_bytes >= need.total_bytes
    assert more_need.weights_bytes >= need.weights_bytes


@given(ANY_DIMENSIONS, st.sampled_from(DEVICES), st.integers(1, 64))
@settings(max_examples=100)
def test_a_stronger_quantisation_never_has_larger_weights(dimensions, device_kind, batch_size):
    found = [needed(dimensions, q, device_kind, batch_size) for q in QUANTISATIONS]
    weights = [need.weights_bytes for need in found]
    assert weights == sorted(weights, reverse=True)
    assert found[-1].total_bytes <= found[-2].total_bytes  # int4, int8


@pytest.mark.parametrize("ending", ["", ".en"])
@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("kind", DEVICES)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_each_published_size_needs_more_than_the_one_below(ending, quantisation, kind, batch_size):
    names = [f"{name}{ending}" for name in ("tiny", "base", "small", "medium")]
    names += [] if ending else ["large-v3"]
    totals = [
        needed(find(name).dimensions, quantisation, kind, batch_size).total_bytes for name in names
    ]
    assert all(smaller < larger for smaller, larger in pairwise(totals))


def test_the_parts_make_up_the_total():
    need = needed(SMALL, "int8", "cpu", 8)
    assert need.total_bytes == sum(asdict(need).values())
    assert need.margin_bytes == int((need.total_bytes - need.margin_bytes) * needs._MARGIN)
