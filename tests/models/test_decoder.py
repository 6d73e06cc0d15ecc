"""The decoders against whisper's own, with seeded random checkpoints of small dimensions."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from whisper.model import ModelDimensions, Whisper, disable_sdpa

from models.engines.decoder import fastest
from models.engines.decoder_modules import ModuleDecoder
from models.quantise import quantise_layers

FRAMES = 1500
EOT = 50257
FLOAT, INT8, MODULES_INT8 = "float32", "int8 by kernels", "int8 by modules"


@cache
def random_model(heads=2, layers=2, contexts=64):
    width = 64 * heads
    model = Whisper(
        ModelDimensions(80, FRAMES, width, heads, 1, 51865, contexts, width, heads, layers)
    )
    generator = torch.Generator().manual_seed(heads)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embedding" in name else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            if "ln" in name and name.endswith("weight"):
                parameter.add_(1)
    return model.eval()


@cache
def int8_model(**dimensions):
    model = copy.deepcopy(random_model(**dimensions))
    quantise_layers(model, "int8")
    return model


def kernels(places, slots, threads=2, **dimensions):
    pytest.importorskip("models.kernels.tiles", exc_type=ImportError)
    decoder, reason = fastest(int8_model(**dimensions), places, slots, threads)
    assert "kernels for" in reason
    return decoder


def make(kind, places, slots, **dimensions):
    if kind == FLOAT:
        return ModuleDecoder(random_model(**dimensions), places, slots)
    if kind == MODULES_INT8:
        return ModuleDecoder(int8_model(**dimensions), places, slots)
    return kernels(places, slots, **dimensions)


def windows(count, seed=0, width=128):
    return torch.randn(count, FRAMES, width, generator=torch.Generator().manual_seed(seed))


def some_tokens(count, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(50000, (count, length), generator=generator).tolist()


@torch.inference_mode()
def logits_of(model, tokens, features):
    return model.decoder(torch.tensor([tokens]), features[None])[0]


def error(found, truth):
    return float((found - truth).norm() / truth.norm())


# ── the same numbers ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "bound"), [(FLOAT, 1e-5), (MODULES_INT8, 0.03), (INT8, 0.03)])
def test_rows_of_different_lengths_get_whispers_logits(kind, bound):
    features, tokens = windows(3), some_tokens(3, 12)
    truth = [logits_of(random_model(), *pair) for pair in zip(tokens, features, strict=True)]
    decoder = make(kind, places=4, slots=5)
    lengths = [1, 7, 4]
    for row in range(3):
        decoder.hear([row + 1], [features[row]])
        given = tokens[row][: lengths[row]]
        first, last = decoder.begin(row, [row + 1], [given], (0, lengths[row] - 1))[0]
        assert error(first, truth[row][0]) < bound
        assert error(last, truth[row][lengths[row] - 1]) < bound
    for _ in range(5):
        step = [tokens[row][lengths[row]] for row in range(3)]
        found = decoder.step(step, lengths, (1, 2, 3))
        assert found.dtype == torch.float32
        assert found.shape == (3, 51865)
        for row in range(3):
            assert error(found[row], truth[row][lengths[row]]) < bound
            lengths[row] += 1


def test_float_logits_are_within_a_ten_thousandth_of_whispers():
    features, (tokens,) = windows(1)[0], some_tokens(1, 60)
    decoder = ModuleDecoder(random_model(), 1, 1)
    decoder.hear([0], [features])
    found = decoder.begin(0, [0], [tokens], range(60))[0]
    assert torch.allclose(found, logits_of(random_model(), tokens, features), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("heads", "threads"), [(1, 2), (3, 1), (5, 3)])
def test_kernels_are_right_for_any_number_of_heads_and_threads(heads, threads):
    features, tokens = windows(2, width=64 * heads), some_tokens(2, 40)
    both = kernels(3, 4, threads, heads=heads), make(MODULES_INT8, 3, 4, heads=heads)
    for row in range(2):
        truth = logits_of(random_model(heads=heads), tokens[row], features[row])
        errors = []
        for decoder in both:
            decoder.hear([row], [features[row]])
            # more than fit into one pass
            (found,) = decoder.begin(row, [row], [tokens[row]], range(40))
            errors.append(error(found, truth))
        assert errors[0] < 1.2 * errors[1]  # which is due to int8 itself


@pytest.mark.parametrize("factor", [30, 100])
def test_a_few_channels_far_larger_than_the_rest_harm_the_kernels_less_than_int8_at_large(factor):
    features = windows(1)[0]
    features[:, [3, 70]] *= factor
    (tokens,) = some_tokens(1, 10)
    truth = logits_of(random_model(), tokens, features)
    errors = []
    for decoder in (kernels(1, 1), make(MODULES_INT8, 1, 1)):
        decoder.hear([0], [features])
        errors.append(error(decoder.begin(0, [0], [tokens], range(10))[0], truth))
    assert errors[0] < errors[1]
    assert errors[0] < 0.07  # 0.02 without them


def test_many_small_weights_count_together():
    """One frame far likelier than each other one, but not than all of them."""
    features = torch.zeros(FRAMES, 128)
    features[:, 0] = torch.linspace(-1, 1, FRAMES)  # so that the channel has a scale
    features[700] = 3.0
    (tokens,) = some_tokens(1, 6)
    decoder = kernels(1, 1)
    decoder.hear([0], [features])
    found = decoder.begin(0, [0], [tokens], range(6))[0]
    assert error(found, logits_of(random_model(), tokens, features)) < 0.03


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=str)
def test_other_precisions_are_whispers_own(precision):
    model = copy.deepcopy(random_model()).to(precision)
    for part in model.modules():
        if isinstance(part, torch.nn.LayerNorm):
            part.float()  # as models.checkpoint keeps them
    features, (tokens,) = windows(1)[0], some_tokens(1, 8)
    decoder = ModuleDecoder(model, 1, 1)
    decoder.hear([0], [features])
    found = decoder.begin(0, [0], [tokens], range(8))[0]
    assert error(found, logits_of(model, tokens, features.to(precision))) < 0.01


# ── rows, slots and places ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [FLOAT, INT8])
def test_a_row_does_not_depend_on_its_neighbours(kind):
    features, tokens = windows(16), some_tokens(16, 6)
    together, alone = make(kind, places=16, slots=16), make(kind, places=1, slots=1)
    for row in range(16):
        together.hear([row], [features[row]])
        together.begin(row, [row], [tokens[row][: 1 + row % 4]], (0,))[0]
    lengths = [1 + row % 4 for row in range(16)]
    step = [tokens[row][lengths[row]] for row in range(16)]
    found = together.step(step, lengths, range(16)).clone()
    for row in range(16):
        alone.hear([0], [features[row]])
        alone.begin(0, [0], [tokens[row][: lengths[row]]], (0,))[0]
        (one,) = alone.step([step[row]], [lengths[row]], [0])
        if kind == INT8:
            assert torch.equal(one, found[row])  # its sums are of integers, row by row
        assert torch.allclose(one, found[row], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [FLOAT, INT8])
def test_rows_may_share_a_window_in_any_order(kind):
    features, tokens = windows(2), some_tokens(5, 3)
    shared, own = make(kind, places=3, slots=5), make(kind, places=5, slots=5)
    places = [2, 0, 2, 2, 0]
    shared.hear([0], [features[0]])
    shared.hear([2], [features[1]])
    for row, place in enumerate(places):
        own.hear([row], [features[place // 2]])
    for length in range(3):
        step = [row[length] for row in tokens]
        found = shared.step(step, [length] * 5, places)
        assert torch.allclose(found, own.step(step, [length] * 5, range(5)), atol=1e-4)


@pytest.mark.parametrize("kind", [FLOAT, INT8])
def test_slots_take_over_what_others_hold_at_the_same_time(kind):
    decoder = make(kind, places=1, slots=3)
    decoder.hear([0], [windows(1)[0]])
    tokens = some_tokens(3, 4)
    for slot, row in enumerate(tokens):
        decoder.begin(slot, [0], [row], (3,))[0]
    before = decoder.step([7, 7, 7], [4, 4, 4], [0, 0, 0]).clone()
    decoder.copy([1, 0, 0], [0, 1, 2], 4)
    after = decoder.step([7, 7, 7], [4, 4, 4], [0, 0, 0])
    assert torch.allclose(after, before[[1, 0, 0]], atol=1e-5)
    decoder.copy([], [], 0)


@pytest.mark.parametrize("kind", [FLOAT, INT8])
def test_what_was_heard_and_written_before_is_forgotten(kind):
    features, tokens = windows(2), some_tokens(2, 20)
    used, fresh = make(kind, places=1, slots=1), make(kind, places=1, slots=1)
    used.hear([0], [features[1] * 50])
    used.begin(0, [0], [tokens[1]], (19,))[0]
    for decoder in (used, fresh):
        decoder.hear([0], [features[0]])
    found = used.begin(0, [0], [tokens[0][:5]], (4,))[0].clone()
    assert torch.equal(found, fresh.begin(0, [0], [tokens[0][:5]], (4,))[0])


@pytest.mark.parametrize("kind", [FLOAT, INT8])
def test_many_rows_of_one_token_begin_together(kind):
    """As an English model's do; the same logits are wanted twice."""
    features, tokens = windows(40), some_tokens(40, 1)
    together, alone = make(kind, places=40, slots=40), make(kind, places=1, slots=1)
    together.hear(range(40), list(features))
    found = together.begin(0, range(40), tokens, (0, 0))
    assert found.shape == (40, 2, 51865)
    for row in (0, 23, 24, 39):
        alone.hear([0], [features[row]])
        truth = alone.begin(0, [0], [tokens[row]], (0,))[0, 0]
        assert torch.allclose(found[row], truth.expand(2, -1), atol=1e-4)


@pytest.mark.parametrize("kind", [FLOAT, INT8])
def test_a_row_can_fill_the_whole_context(kind):
    features, (tokens,) = windows(1)[0], some_tokens(1, 64)
    decoder = make(kind, places=1, slots=2)
    decoder.hear([0], [features])
    decoder.begin(0, [0], [tokens[:63]], (62,))[0]
    (found,) = decoder.step([tokens[63]], [63], [0])
    assert error(found, logits_of(random_model(), tokens, features)[63]) < 0.03


# ── alignment ────────────────────────────────────────────────────────────────────────────────


@torch.inference_mode()
def watched(model, tokens, features):
    """The scores of whisper's alignment heads, as `whisper.timing` gets at them."""
    maps = []
    hooks = [
        block.cross_attn.register_forward_hook(lambda _, __, out: maps.append(out[-1][0]))
        for block in model.decoder.blocks
    ]
    with disable_sdpa():
        logits = logits_of(model, tokens, features)
    for hook in hooks:
        hook.remove()
    return logits, torch.stack(
        [maps[layer][head] for layer, head in model.alignment_heads.indices().T]
    )


@pytest.mark.parametrize(("kind", "bound"), [(FLOAT, 1e-5), (INT8, 0.03)])
def test_alignment_sees_the_heads_that_whisper_aligns_by(kind, bound):
    features, (tokens,) = windows(1)[0], some_tokens(1, 60)
    logits, scores = watched(random_model(), tokens, features)
    truth = logits[:-1, :EOT].softmax(-1)[range(59), tokens[1:]]
    decoder = make(kind, places=2, slots=2)
    decoder.hear([1], [features])
    found = decoder.align(1, 1, tokens, below=EOT)
    assert found.scores.shape == (2, 60, FRAMES)
    # what is the same for all frames makes no difference
    centred = [x - x.mean(-1, keepdim=True) for x in (found.scores, scores)]
    assert error(*centred) < bound
    assert torch.allclose(found.probabilities.log(), truth.log(), atol=60 * bound)


# ── which one ────────────────────────────────────────────────────────────────────────────────


def test_the_reason_says_why_there_are_no_kernels():
    decoder, reason = fastest(random_model(), 1, 1)
    assert isinstance(decoder, ModuleDecoder)
    assert reason == "whisper's own modules, since the model is not int8"


def test_kernels_take_only_models_of_published_shapes():
    model = Whisper(ModelDimensions(80, 32, 96, 3, 1, 51865, 16, 96, 3, 1))
    quantise_layers(model, "int8")
    decoder, reason = fastest(model, 1, 1)
    assert isinstance(decoder, ModuleDecoder)
    assert "heads 64 wide" in reason


def test_a_lack_of_memory_is_no_reason_for_a_decoder_that_needs_more(monkeypatch):
    state = pytest.importorskip("models.engines.decoder_kernels", exc_type=ImportError)

    def none_left(*_):
        raise MemoryError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(state, "new_windows", none_left)
    with pytest.raises(MemoryError):
        fastest(int8_model(), 1, 1, 1)


@pytest.mark.parametrize("kind", [FLOAT, MODULES_INT8, INT8])
def test_a_window_that_overflowed_spoils_no_other_row(kind):
    decoder, heard = make(kind, 2, 2), windows(2)
    broken = heard[0].clone()
    broken[3, 4] = float("nan")
    decoder.hear([0], [broken])
    decoder.begin(0, [0], [list(range(20))], (19,))[0]
    decoder.hear([0], [heard[0]])
    decoder.begin(0, [0], [[1, 2, 3]], (2,))[0]
    decoder.hear([1], [heard[1]])
    decoder.begin(1, [1], [list(range(24))], (23,))[0]
    assert decoder.step([7, 7], [3, 24], [0, 1]).isfinite().all()
