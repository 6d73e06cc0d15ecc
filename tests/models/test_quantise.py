from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch.nn import functional
from whisper.decoding import DecodingOptions, decode
from whisper.model import ModelDimensions, Whisper

from models import checkpoint
from models.checkpoint import build
from models.quantise import (
    int8_products,
    multiplies_int8,
    quantise_linears,
    quantise_rows,
    resolve,
)

TINYS_ENCODER = ModelDimensions(80, 1500, 384, 6, 4, 51864, 448, 64, 1, 1)
SMALL_ENOUGH = ModelDimensions(80, 1500, 64, 2, 2, 51864, 448, 64, 2, 2)


def seeded(dims, seed=0):
    """A Whisper with random weights, at the size of trained ones."""
    torch.manual_seed(seed)
    model = Whisper(dims).eval().requires_grad_(requires_grad=False)
    for name, parameter in model.named_parameters():
        if "ln" not in name and "token" not in name:
            parameter.normal_(0, 0.04)
    return model


def relative_error(found, exact):
    return float((found - exact).norm() / exact.norm())


def int8_layer(linear):
    """The layer that quantise_linears puts in this one's place."""
    model = seeded(SMALL_ENOUGH)
    model.encoder.blocks[0].mlp[0] = linear
    quantise_linears(model)
    return model.encoder.blocks[0].mlp[0]


def reference(x, weight, bias):
    """The same arithmetic, number by number in float64."""
    x, weight, bias = (tensor.detach().double() for tensor in (x, weight, bias))
    rows = []
    for token in x:
        step = max(float(token.abs().max()), 1e-30) / 127
        row = []
        for channel, offset in zip(weight, bias, strict=True):
            weight_step = float(channel.abs().max()) / 127
            products = torch.round(token / step) * torch.round(channel / weight_step)
            row.append(float(products.sum()) * step * weight_step + float(offset))
        rows.append(row)
    return torch.tensor(rows)


# ── the arithmetic ───────────────────────────────────────────────────────────────────────────


def test_a_layer_computes_its_formula_row_by_row():
    torch.manual_seed(0)
    linear = torch.nn.Linear(40, 24)
    x = torch.randn(5, 40) * torch.tensor([[1e-3], [1.0], [50.0], [1e4], [0.0]])
    with torch.inference_mode():
        found = int8_layer(linear)(x)
    torch.testing.assert_close(
        found, reference(x, linear.weight, linear.bias), rtol=2e-4, atol=1e-4
    )


@pytest.mark.parametrize("loud", [1, 30, 100])
@pytest.mark.parametrize("tokens", [1, 1500])
def test_a_layer_is_near_its_float_self_even_with_loud_channels(loud, tokens):
    torch.manual_seed(0)
    linear = torch.nn.Linear(768, 768)
    x = torch.randn(tokens, 768)
    x[:, [5, 100, 700]] *= loud  # what trained transformers do
    with torch.inference_mode():
        error = relative_error(int8_layer(linear)(x), linear(x))
    # One scale for all tokens would give twice that: the loudest token would set it.
    assert error < {1: 0.012, 30: 0.06, 100: 0.065}[loud]


def test_a_loud_token_does_not_disturb_its_neighbours():
    torch.manual_seed(0)
    layer = int8_layer(torch.nn.Linear(64, 64))
    x = torch.randn(4, 64)
    louder = x.clone()
    louder[2] *= 1000
    others = [0, 1, 3]
    with torch.inference_mode():
        assert torch.equal(layer(x)[others], layer(louder)[others])


@pytest.mark.parametrize("shape", [(1, 64), (3, 1, 64), (2, 7, 64)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_layer_keeps_the_shape_and_the_precision_of_its_input(shape, bias, dtype):
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 48, bias=bias)
    x = torch.randn(shape).to(dtype)
    with torch.inference_mode():
        found, exact = int8_layer(linear)(x), linear(x.float())
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    assert relative_error(found.float(), exact) < 0.02


def test_quantised_rows_fill_their_range_and_zeros_stay_zeros():
    x = torch.tensor([[0.5, -1.0, 0.25], [0.0, 0.0, 0.0], [1e-5, 2e-5, -3e-5]])
    rows, scale = quantise_rows(x)
    assert rows.dtype == torch.int8
    assert rows.tolist() == [[64, -127, 32], [0, 0, 0], [42, 85, -127]]
    assert (rows * scale - x).abs().max() <= scale.max() / 2


@pytest.mark.parametrize("tokens", [1, 2, 17, 1500])
def test_products_do_not_saturate(tokens):
    """On processors without VNNI torch's own do; 3072 is the widest layer of `small`."""
    left = torch.full((tokens, 3072), 127, dtype=torch.int8)
    right = torch.full((8, 3072), 127, dtype=torch.int8)
    for sign in (1, -1):
        sums = int8_products(left, sign * right)
        assert torch.equal(sums.double(), sign * (left.double() @ right.double().T))


# ── a whole model ────────────────────────────────────────────────────────────────────────────


def test_every_linear_layer_of_the_blocks_is_replaced_and_its_weights_are_freed():
    model = seeded(SMALL_ENOUGH)
    weights = [
        weakref.ref(module.weight)
        for blocks in (model.encoder.blocks, model.decoder.blocks)
        for module in blocks.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    assert len(weights) == 2 * 6 + 2 * 10
    quantise_linears(model)
    gc.collect()
    assert [weight() for weight in weights] == [None] * len(weights)
    assert not any(isinstance(module, torch.nn.Linear) for module in model.modules())


def test_an_encoder_of_tinys_size_stays_near_its_float_self():
    model = seeded(TINYS_ENCODER)
    exact = copy.deepcopy(model.encoder)
    quantise_linears(model)
    torch.manual_seed(1)
    mel = torch.randn(1, 80, 3000)
    with torch.inference_mode():
        assert relative_error(model.encoder(mel), exact(mel)) < 0.03


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # whisper's tokenizer
def test_whispers_own_decoding_with_its_cache_works_on_a_quantised_model():
    model = seeded(SMALL_ENOUGH)
    quantise_linears(model)
    torch.manual_seed(1)
    mel = torch.randn(2, 80, 3000)
    options = DecodingOptions(language="en", fp16=False, sample_len=6)
    cached = decode(model, mel, options)
    with torch.inference_mode():
        audio = model.encoder(mel)
    for n, result in enumerate(cached):
        again = decode(model, audio[n : n + 1], options)[0]
        assert again.tokens == result.tokens
        assert len(result.tokens) == 6


def test_steps_with_a_cache_give_the_logits_of_one_pass():
    model = seeded(SMALL_ENOUGH)
    quantise_linears(model)
    audio = torch.randn(1, 1500, 64)
    tokens = torch.tensor([[50257, 50362, 11, 257]])
    with torch.inference_mode():
        whole = model.decoder(tokens, audio)
        cache, hooks = model.install_kv_cache_hooks()
        parts = [model.decoder(tokens[:, :3], audio, kv_cache=cache)]
        parts.append(model.decoder(tokens[:, 3:], audio, kv_cache=cache))
        for hook in hooks:
            hook.remove()
    # not equal: another order of float sums can turn a rounding to int8
    assert relative_error(torch.cat(parts, 1), whole) < 0.01


def test_a_quantised_model_can_be_copied_and_moved():
    model = seeded(SMALL_ENOUGH)
    quantise_linears(model)
    twin = copy.deepcopy(model).to("cpu")
    audio = torch.randn(1, 3, 64)
    layer, other = (m.encoder.blocks[0].mlp[0] for m in (model, twin))
    with torch.inference_mode():
        assert torch.equal(layer(audio), other(audio))


def test_int8_takes_about_a_quarter_of_the_memory_of_the_layers():
    state = seeded(TINYS_ENCODER).state_dict()
    found = checkpoint.Checkpoint("mine.pt", None, TINYS_ENCODER, state)

    def block_bytes(quantisation):
        blocks = build(found, quantisation, "cpu").encoder.blocks
        tensors = [*blocks.parameters(), *blocks.buffers()]
        return sum(t.numel() * t.element_size() for t in tensors)

    assert block_bytes("int8") < 0.26 * block_bytes("float32")


# ── the choice ───────────────────────────────────────────────────────────────────────────────


def test_a_precision_that_was_asked_for_is_taken():
    assert resolve("float16", "cpu", "small") == ("float16", "float16 was asked for")
    assert resolve("int8", "cpu", "demo")[0] == "int8"


def test_the_demo_is_float32_by_itself():
    precision, reason = resolve("auto", "cpu", "demo")
    assert precision == "float32"
    assert "demo" in reason


def test_on_a_cpu_int8_is_taken_where_it_is_exact():
    precision, reason = resolve("auto", "cpu", "small")
    assert precision == ("int8" if multiplies_int8("cpu") else "float32")
    assert "processor" in reason


def test_no_other_device_is_trusted_with_few_rows():
    assert not multiplies_int8("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_float16_is_taken_where_it_is_fast():
    fast = torch.cuda.get_device_capability() >= (7, 0)
    assert resolve("auto", "cuda:0", "small")[0] == ("float16" if fast else "float32")


def test_the_float_way_of_the_products_is_the_same_formula():
    torch.manual_seed(0)
    left, _ = quantise_rows(torch.randn(9, 64))
    right, _ = quantise_rows(torch.randn(16, 64))
    exact = functional.linear(left.double(), right.double())
    assert torch.equal(int8_products(left, right).double(), exact)
