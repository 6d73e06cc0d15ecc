from __future__ import annotations

import base64
import gzip
from dataclasses import asdict, replace
from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper import _ALIGNMENT_HEADS
from whisper.model import ModelDimensions

from models import checkpoint, needs, quantise, weight_bytes
from models.checkpoint import DEMO_ALIGNMENT_HEADS
from models.engines import decode
from models.engines.alignment import salience
from models.engines.decoder_modules import ModuleDecoder
from models.engines.encoder import AT_ONCE_ON_GPU, FastEncoder
from models.engines.loaded import made_ready
from models.engines.spectrum import _on_device, together
from models.engines.whisper_torch import AHEAD, _encode
from models.needs import CANDIDATES, needed
from models.registry import ALIASES, WHISPERS, Dimensions, find
from models.weight_bytes import Model
from pipeline.types import Clip, EngineDescription, SpeechOptions, Window
from tests.benchmarks.needs import Case, measure, random_state

QUANTISATIONS = ("float32", "bfloat16", "float16", "int8", "int4")
DEVICES = ("cpu", "cuda", "mps")
ENGLISH = 51_864
SMALL = Dimensions(80, 128, 2, 2, ENGLISH, 128, 2, 2)
FEW_WORDS = replace(SMALL, n_vocab=64)
WIDE = Dimensions(80, 800, 10, 1, 64, 800, 10, 1)  # for which there are no kernels
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


def without_kernels(dimensions, quantisation, batch_size=1):
    return needed(dimensions, quantisation, "cpu", batch_size, int8_kernels=False)


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("dimensions", [SMALL, OF_ODD_WIDTH, find("demo").dimensions])
def test_weights_are_exactly_those_of_the_model_that_is_built(dimensions, quantisation):
    need = without_kernels(dimensions, quantisation)
    assert need.weights_bytes == bytes_of(build(dimensions, quantisation))


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("name", ["tiny", "medium.en", "large-v3-turbo"])
def test_weights_are_exactly_those_of_published_models(name, quantisation):
    dimensions = find(name).dimensions
    need = without_kernels(dimensions, quantisation)
    assert need.weights_bytes == bytes_of(hollow(dimensions, quantisation))


@pytest.mark.parametrize("dimensions", [SMALL, find("demo").dimensions])
def test_weights_for_kernels_are_those_that_are_packed(dimensions):
    tiles = pytest.importorskip("models.kernels.tiles", exc_type=ImportError)
    from models.engines import decoder_packing, encoder_packing

    model = build(dimensions, "int8")
    packed = [encoder_packing.pack(model), decoder_packing.pack(model)]
    packed_bytes = sum(array.nbytes for array in arrays_in(packed))
    computed = needed(dimensions, "int8", "cpu", 1).weights_bytes
    padding = 64 * (dimensions.n_text_state + 12)  # of the logits, where panels are narrower
    missing = computed - packed_bytes
    assert missing == 0 if tiles.PANEL == 64 else 0 <= missing < padding


def test_heads_of_another_width_have_no_kernels():
    need = needed(OF_ODD_WIDTH, "int8", "cpu", 2)
    assert need == without_kernels(OF_ODD_WIDTH, "int8", 2)


def arrays_in(packed):
    """All arrays in tuples in tuples."""
    if isinstance(packed, (list, tuple)):
        return chain.from_iterable(map(arrays_in, packed))
    return [packed]


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


def described(dimensions, quantisation):
    return Model(
        dimensions, quantisation, needs._number_bytes(quantisation, half=False), is_packed=False
    )


INT8 = described(SMALL, "int8")


def on_a_cpu(batch_size):
    return needs._Work("cpu", batch_size, CANDIDATES)


def on_a_gpu(batch_size):
    return needs._Work("cuda", batch_size, CANDIDATES)


@pytest.mark.parametrize("quantisation", ["float32", "bfloat16", "int8", "int4"])
def test_encoding_takes_what_is_computed(quantisation):
    encoder, mel = FastEncoder(build(WIDE, quantisation)), torch.zeros(1, WIDE.n_mels, 3000)
    most = live_bytes(lambda: encoder(mel)) + mel.nbytes
    if quantisation == "int8":
        most += 12 * WIDE.n_audio_state**2 * 4  # the block that is float
    computed = needs._encode_bytes(described(WIDE, quantisation), on_a_cpu(1))
    assert most <= computed <= 1.5 * most


def test_encoding_several_windows_together_takes_what_is_computed():
    encoder, mels = FastEncoder(build(WIDE, "float32")), torch.zeros(2, WIDE.n_mels, 3000)
    most = live_bytes(lambda: encoder(mels)) + mels.nbytes
    computed = needs._encode_bytes(described(WIDE, "float32"), on_a_gpu(2))
    assert most <= computed <= 1.5 * most


@pytest.mark.parametrize("windows", [1, 3])
def test_spectra_made_together_take_what_is_computed(windows):
    """With so small a model they take more than its encoder."""
    sounds = [np.zeros(480_000, np.float32)] * windows
    most = live_bytes(lambda: together(_on_device(sounds, torch.device("cpu")), SMALL.n_mels))
    computed = needs._encode_bytes(described(SMALL, "float32"), on_a_gpu(windows))
    assert most <= computed <= 1.02 * most


def test_what_a_gpu_does_at_once_is_what_is_computed():
    assert FastEncoder(hollow(SMALL, "int8")).at_once == AT_ONCE_ON_GPU == needs._ENCODED_ON_GPU
    assert FastEncoder(build(SMALL, "float32")).at_once == on_a_cpu(8).encoded_together == 1
    assert quantise.WEIGHTS_AT_ONCE == needs._WIDENED
    assert [on_a_gpu(n).encoded_together for n in (1, 8, 128)] == [1, 8, 8]


def test_windows_are_encoded_in_groups_and_each_takes_memory_of_its_own():
    model = build(SMALL, "float32")
    description = EngineDescription(
        "any", "float32", "cpu", ("en",), can_translate=False, reason="a test"
    )
    loaded, groups = made_ready(model, description, batch_size=1), []
    model.encoder.register_forward_pre_hook(lambda _, given: groups.append(len(given[0])))
    options, random = SpeechOptions(language="en"), np.random.default_rng(0)
    sounds = [random.standard_normal(n).astype(np.float32) for n in (9, 480_000, 5000, 70_000, 0)]
    clips = [Clip(Window(0.0, 30.0, ()), sound, options) for sound in sounds]
    alone = list(_encode(loaded, clips))
    loaded.encoder.at_once = 2
    grouped = list(_encode(loaded, clips))
    assert groups == [1] * 5 + [2, 2, 1]
    torch.testing.assert_close(torch.stack(grouped), torch.stack(alone), atol=1e-5, rtol=1e-4)
    assert all(one.untyped_storage().nbytes() == one.nbytes for one in grouped)
    assert list(_encode(loaded, [])) == []


def test_of_many_windows_on_a_gpu_only_what_is_kept_of_them_counts():
    large = find("large-v3").dimensions
    of_eight, of_many = (needed(large, "float16", "cuda", n) for n in (8, 128))
    assert of_many.activations_bytes == of_eight.activations_bytes < 0.4e9
    tokens = 2 * 32 * (1500 + 448) * 1280 * 2  # keys and values of what is heard and said
    each = tokens + 1500 * 1280 * 4 + 51_866 * 4  # and encoded sound, and a step's logits
    assert of_many.caches_bytes - of_eight.caches_bytes == 120 * each
    assert of_many.caches_bytes > 0.97 * (of_many.activations_bytes + of_many.caches_bytes)


@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_a_gpu_takes_memory_for_weights_that_it_widens(quantisation):
    model, at_most = described(SMALL, quantisation), quantise.WEIGHTS_AT_ONCE
    half = replace(model, number_bytes=2)
    for weights, widened in ((1000, 1000), (9 * at_most, at_most)):
        assert needs._widened_bytes(half, on_a_gpu(1), weights) == 2 * widened
        assert needs._widened_bytes(model, on_a_cpu(1), weights) == 0


@pytest.mark.parametrize("quantisation", ["float32", "bfloat16", "int8", "int4"])
def test_word_times_take_what_is_computed(quantisation):
    model = build(SMALL, quantisation)
    decoder, text = ModuleDecoder(model, places=1, slots=1), [1000] * 224
    tokens = [50_257, 50_362, *text, 50_256]
    most = live_bytes(lambda: salience(decoder.align(0, 0, tokens, 50_256).scores, 1500))
    logits_bytes = needs._logits_bytes(described(SMALL, quantisation), slots=1)
    computed = 2 * needs._word_times_bytes(SMALL) + logits_bytes
    copied = 1.3 if quantisation in ("int8", "int4") else 1.8  # floats of a step may be copied too
    assert most <= computed <= copied * most


@pytest.mark.parametrize("quantisation", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_caches_of_modules_are_what_is_computed(quantisation, batch_size):
    model = build(SMALL, quantisation)
    slots = batch_size + CANDIDATES
    found = live_bytes(lambda: ModuleDecoder(model, batch_size, slots))
    waiting = (batch_size + 1) * 1500 * SMALL.n_audio_state * 4
    sound = batch_size * AHEAD * 480_000 * 4
    computed = without_kernels(SMALL, quantisation, batch_size).caches_bytes
    assert computed == found + waiting + sound


@pytest.mark.parametrize("batch_size", [1, 8])
def test_memory_of_the_kernels_is_what_is_computed(batch_size):
    pytest.importorskip("models.kernels.tiles", exc_type=ImportError)
    from models.kernels import decoder_state, encoder_steps

    dims, d = ModelDimensions(**asdict(FEW_WORDS)), FEW_WORDS.n_audio_state
    slots = batch_size + CANDIDATES
    state = decoder_state.new_state(dims, slots, max(slots, 84), max(slots, 24))
    encoder = [encoder_steps.new_frames(d), *[encoder_steps.new_rows(d)] * 2]
    encoder += [encoder_steps.new_heads(d)] * 2
    keys_bytes = state.keys.nbytes + state.values.nbytes
    most = sum(array.nbytes for array in arrays_in([encoder, state])) - keys_bytes
    assert most <= needs._buffers_bytes(FEW_WORDS, on_a_cpu(batch_size)) <= 1.02 * most
    held = sum(array.nbytes for array in decoder_state.new_windows(dims, batch_size))
    loading, hearing = needs._of_kernels(replace(INT8, is_packed=True), on_a_cpu(batch_size))
    assert loading.caches_bytes <= held <= 1.1 * loading.caches_bytes
    held += keys_bytes + (batch_size + 1) * 1500 * d * 4 + batch_size * AHEAD * 480_000 * 4
    assert hearing.caches_bytes <= held <= 1.01 * hearing.caches_bytes


def test_the_end_of_loading_counts_where_what_was_packed_is_larger_than_what_is_heard():
    small = find("small").dimensions
    model = Model(small, "int8", 4, is_packed=True)
    of_one, of_eight = (needed(small, "int8", "cpu", batch_size) for batch_size in (1, 8))
    packed_bytes = weight_bytes.of_modules(model)
    assert of_one.activations_bytes > packed_bytes > of_eight.activations_bytes
    assert of_eight.total_bytes > of_one.total_bytes


# ── the whole ────────────────────────────────────────────────────────────────────────────────


def test_a_process_stays_below_what_is_computed(tmp_path):
    case = Case("any", SMALL, "int8", batch_size=1, windows=2, is_first=False)
    assert 1 < measure(case, tmp_path).ratio < 1.5


ANY_DIMENSIONS = st.builds(
    Dimensions,
    n_mels=st.sampled_from([80, 128]),
    n_audio_state=st.just(0),
    n_audio_head=st.just(0),
    n_audio_layer=st.integers(1, 32),
    n_vocab=st.integers(ENGLISH, 51_866),
    n_text_state=st.just(0),
    n_text_head=st.just(0),
    n_text_layer=st.integers(1, 32),
).flatmap(
    lambda one: st.integers(1, 20).map(
        lambda width: replace(
            one,
            n_audio_state=64 * width,
            n_audio_head=width,
            n_text_state=64 * width,
            n_text_head=width,
        )
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


@given(ANY_DIMENSIONS, ANY_PLACE, st.integers(1, 64), st.tuples(MORE, MORE, MORE))
@settings(max_examples=100)
def test_a_larger_model_never_needs_less(dimensions, place, batch_size, more):
    width, audio_layers, text_layers = more
    larger = replace(
        dimensions,
        n_audio_state=dimensions.n_audio_state + 64 * width,
        n_text_state=dimensions.n_text_state + 64 * width,
        n_audio_head=dimensions.n_audio_head + width,
        n_text_head=dimensions.n_text_head + width,
        n_audio_layer=dimensions.n_audio_layer + audio_layers,
        n_text_layer=dimensions.n_text_layer + text_layers,
    )
    need, more_need = (needed(one, *place, batch_size) for one in (dimensions, larger))
    assert more_need.total_bytes >= need.total_bytes
    assert more_need.weights_bytes >= need.weights_bytes


@given(ANY_DIMENSIONS, st.sampled_from(DEVICES), st.integers(1, 64))
@settings(max_examples=100)
def test_a_stronger_quantisation_never_has_larger_weights(dimensions, device_kind, batch_size):
    found = [
        needed(dimensions, q, device_kind, batch_size, int8_kernels=False) for q in QUANTISATIONS
    ]
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


@pytest.mark.parametrize("kind", DEVICES)
def test_the_parts_make_up_the_total(kind):
    need = needed(SMALL, "int8", kind, 8)
    used_bytes = need.total_bytes - need.margin_bytes
    assert need.total_bytes == sum(asdict(need).values())
    assert need.margin_bytes == int(used_bytes * needs._MARGINS[kind])
