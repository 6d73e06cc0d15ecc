from __future__ import annotations

import copy
import gc
import math
import weakref
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from whisper.decoding import DecodingOptions, decode
from whisper.model import ModelDimensions, Whisper

from models import checkpoint, int4
from models.checkpoint import build
from models.quantise import (
    INT4,
    INT8,
    VERSION,
    WEIGHTS_AT_ONCE,
    activations,
    converted,
    int8_products,
    quantise_layers,
    quantise_rows,
    scheme,
    widened_products,
)

BOTH = pytest.mark.parametrize("quantisation", ["int8", "int4"])
LOUD = [5, 100, 300]
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


def quantised(linear, quantisation="int8"):
    """The layer that quantise_layers puts in this one's place."""
    model = seeded(SMALL_ENOUGH)
    model.encoder.blocks[0].mlp[0] = linear
    quantise_layers(model, quantisation)
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
        found = quantised(linear)(x)
    torch.testing.assert_close(
        found, reference(x, linear.weight, linear.bias), rtol=2e-4, atol=1e-4
    )


@pytest.mark.parametrize("loud", [1, 30, 100])
@pytest.mark.parametrize("tokens", [1, 1500])
@BOTH
def test_a_layer_is_near_its_float_self_even_with_loud_channels(loud, tokens, quantisation):
    torch.manual_seed(0)
    linear = torch.nn.Linear(768, 768)
    x = torch.randn(tokens, 768)
    x[:, [5, 100, 700]] *= loud  # what trained transformers do
    with torch.inference_mode():
        error = relative_error(quantised(linear, quantisation)(x), linear(x))
    # int8: one scale for all tokens would give twice that, since the loudest token would set it.
    # int4: its activations are float, so loud ones change nothing.
    bounds = {"int8": {1: 0.012, 30: 0.06, 100: 0.065}, "int4": {1: 0.08, 30: 0.08, 100: 0.08}}
    assert error < bounds[quantisation][loud]


def test_a_loud_token_does_not_disturb_its_neighbours():
    torch.manual_seed(0)
    layer = quantised(torch.nn.Linear(64, 64))
    x = torch.randn(4, 64)
    louder = x.clone()
    louder[2] *= 1000
    others = [0, 1, 3]
    with torch.inference_mode():
        assert torch.equal(layer(x)[others], layer(louder)[others])


@pytest.mark.parametrize("shape", [(1, 64), (3, 1, 64), (2, 7, 64)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@BOTH
def test_a_layer_keeps_the_shape_and_the_precision_of_its_input(shape, bias, dtype, quantisation):
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 128, bias=bias)
    x = torch.randn(shape).to(dtype)
    with torch.inference_mode():
        found, exact = quantised(linear, quantisation)(x), linear(x.float())
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    assert relative_error(found.float(), exact) < {"int8": 0.02, "int4": 0.1}[quantisation]


def test_a_layer_of_odd_width_is_int8_where_int4_is_wanted():
    for linear in (torch.nn.Linear(64, 48), torch.nn.Linear(48, 64)):
        assert quantised(linear, "int4").arithmetic is INT8
    assert quantised(torch.nn.Linear(64, 128), "int4").arithmetic is INT4


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


@BOTH
def test_every_linear_layer_of_the_blocks_is_replaced_and_its_weights_are_freed(quantisation):
    model = seeded(SMALL_ENOUGH)
    weights = [
        weakref.ref(module.weight)
        for blocks in (model.encoder.blocks, model.decoder.blocks)
        for module in blocks.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    weights.append(weakref.ref(model.decoder.token_embedding.weight))
    assert len(weights) == 2 * 6 + 2 * 10 + 1
    quantise_layers(model, quantisation)
    gc.collect()
    assert [weight() for weight in weights] == [None] * len(weights)
    large = (torch.nn.Linear, torch.nn.Embedding)
    assert not any(isinstance(module, large) for module in model.modules())


@pytest.mark.parametrize("loud", [1, 30, 100])
@pytest.mark.parametrize(("quantisation", "bound"), [("int8", 0.03), ("int4", 0.16)])
def test_an_encoder_of_tinys_size_stays_near_its_float_self(quantisation, bound, loud):
    model = seeded(TINYS_ENCODER)
    model.encoder.positional_embedding[:, LOUD] *= loud  # all layers pass it on
    exact = copy.deepcopy(model.encoder)
    quantise_layers(model, quantisation)
    torch.manual_seed(1)
    mel = torch.randn(1, 80, 3000)
    with torch.inference_mode():
        found, wanted = model.encoder(mel), exact(mel)
        found[..., LOUD] = wanted[..., LOUD]  # else they alone would count
    assert relative_error(found, wanted) < bound


@BOTH
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # whisper's tokenizer
def test_whispers_own_decoding_with_its_cache_works_on_a_quantised_model(quantisation):
    model = seeded(SMALL_ENOUGH)
    quantise_layers(model, quantisation)
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


@BOTH
def test_steps_with_a_cache_give_the_logits_of_one_pass(quantisation):
    model = seeded(SMALL_ENOUGH)
    quantise_layers(model, quantisation)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_logits_are_those_of_the_float_embedding(dtype):
    model = seeded(SMALL_ENOUGH)
    exact = copy.deepcopy(model.decoder)
    quantise_layers(model, "int8")
    model.decoder.blocks = exact.blocks  # so that nothing but the embedding differs
    tokens, audio = torch.tensor([[50257, 50362, 11], [50257, 1, 2]]), torch.randn(2, 1500, 64)
    model.decoder.positional_embedding.data = exact.positional_embedding.to(dtype)
    with torch.inference_mode():
        found, wanted = model.decoder(tokens, audio.to(dtype)), exact(tokens, audio)
    assert (found.dtype, found.shape) == (torch.float32, wanted.shape)
    assert relative_error(found, wanted) < 0.03


@BOTH
def test_a_quantised_model_can_be_copied_and_moved(quantisation):
    model = seeded(SMALL_ENOUGH)
    quantise_layers(model, quantisation)
    twin = copy.deepcopy(model).to("cpu")
    audio, tokens = torch.randn(1, 3, 64), torch.tensor([[50257, 50362]])
    with torch.inference_mode():
        assert torch.equal(model.decoder(tokens, audio), twin.decoder(tokens, audio))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_tensors_made_one_by_one_are_those_of_the_model(quantisation, dtype):
    model = seeded(SMALL_ENOUGH)
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    hollow = checkpoint._hollow(SMALL_ENOUGH, quantisation)
    made = dict(converted(state, hollow))
    like = hollow.state_dict()
    assert {name: (t.shape, t.dtype) for name, t in made.items()} == {
        name: (t.shape, t.dtype) for name, t in like.items()
    }
    model.load_state_dict(state)
    quantise_layers(model, quantisation)
    wanted = model.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in made.items())


def test_tensors_are_made_when_they_are_asked_for():
    model = seeded(SMALL_ENOUGH)
    before = None
    for _, tensor in converted(model.state_dict(), checkpoint._hollow(SMALL_ENOUGH, "float32")):
        assert before is None or before() is None
        before = weakref.ref(tensor)
        del tensor


@pytest.mark.parametrize(("quantisation", "share"), [("int8", 0.26), ("int4", 0.15)])
def test_the_layers_take_less_memory_than_in_float(quantisation, share):
    state = seeded(TINYS_ENCODER).state_dict()
    found = checkpoint.Checkpoint("mine.pt", None, TINYS_ENCODER, state)

    def block_bytes(quantisation):
        blocks = build(found, quantisation, "cpu").encoder.blocks
        return sum(t.nbytes for t in [*blocks.parameters(), *blocks.buffers()])

    assert block_bytes(quantisation) < share * block_bytes("float32")


# ── devices ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("quantisation", "device", "dtype"),
    [
        ("float32", "cuda:0", torch.float32),
        ("bfloat16", "cpu", torch.bfloat16),
        ("float16", "mps", torch.float16),
        ("int8", "cpu", torch.float32),
        ("int4", "cpu", torch.float32),
        ("int8", "mps", torch.float16),
    ],
)
def test_what_is_not_quantised_is_calculated_in_what_the_device_does_well(
    quantisation, device, dtype
):
    assert activations(quantisation, device) == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@BOTH
def test_on_a_gpu_that_is_float16_where_it_is_fast(quantisation):
    fast = torch.cuda.get_device_capability() >= (7, 0)
    assert activations(quantisation, "cuda:0") == (torch.float16 if fast else torch.float32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@BOTH
def test_a_gpu_gives_the_logits_of_the_processor(quantisation):
    found = checkpoint.Checkpoint("mine.pt", None, SMALL_ENOUGH, seeded(SMALL_ENOUGH).state_dict())
    here, there = (build(found, quantisation, device) for device in ("cpu", "cuda:0"))
    dtype = there.encoder.conv1.weight.dtype
    mel, tokens = torch.randn(1, 80, 3000), torch.tensor([[50257, 50362, 11]])
    with torch.inference_mode():
        wanted = here(mel, tokens)
        logits = there(mel.to("cuda:0", dtype), tokens.to("cuda:0")).cpu()
    assert relative_error(logits, wanted) < 0.02


# ── as a GPU multiplies: in float, by weights that are widened ───────────────────────────────

FLOATS = pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.float32, 0.0085), (torch.float16, 0.0085), (torch.bfloat16, 0.01)],
)


@pytest.mark.parametrize("loud", [1, 30, 100])
@pytest.mark.parametrize("tokens", [1, 5, 300])
@FLOATS
def test_widened_weights_are_near_the_float_ones_however_loud_a_channel(loud, tokens, dtype, bound):
    torch.manual_seed(0)
    weight, x = torch.randn(768, 768) * 0.04, torch.randn(tokens, 768)
    x[:, [5, 100, 700]] *= loud
    rows, scale = INT8.pack(weight)
    found = widened_products(x.to(dtype), rows, scale)
    assert found.dtype == dtype
    # 128 steps a side for weights of which the largest is four times as large as most
    assert relative_error(found.float(), x @ weight.T) < bound
    exact = x.to(dtype).double() @ (rows * scale[:, None]).double().T
    rounding = {torch.float32: 1e-6, torch.float16: 0.0005, torch.bfloat16: 0.004}
    assert relative_error(found.double(), exact) < rounding[dtype]


@FLOATS
def test_sums_that_fit_do_not_overflow_on_the_way(dtype, bound):
    weight = torch.full((3, 5120), 0.1)
    weight[1] *= -1
    x = torch.full((2, 5120), 100.0, dtype=dtype)  # times 127 each, the sum would be 65 million
    found = widened_products(x, *INT8.pack(weight))
    wanted = torch.tensor([51_200.0, -51_200.0, 51_200.0]).expand(2, 3)
    torch.testing.assert_close(found.float(), wanted, rtol=bound, atol=0)


def test_rows_of_small_weights_keep_them_and_rows_of_zeros_stay_zeros():
    torch.manual_seed(0)
    weight = torch.randn(4, 256) * torch.tensor([[1e-3], [1e-4], [0.0], [10.0]])
    rows, scale = INT8.pack(weight)
    assert scale[1] < torch.finfo(torch.float16).tiny  # it alone would lose its digits
    x = torch.randn(9, 256).half()
    found = widened_products(x, rows, scale).float()
    wanted = x.float() @ (rows * scale[:, None]).T
    for row in (0, 1, 3):
        assert relative_error(found[:, row], wanted[:, row]) < 0.001
    assert (found[:, 2] == 0).all()


def test_a_large_embedding_is_multiplied_in_blocks():
    torch.manual_seed(0)
    width = WEIGHTS_AT_ONCE // 20
    weight = torch.randint(-127, 128, (50, width), dtype=torch.int8)
    x, scale = torch.randn(2, width), torch.rand(50)
    exact = x @ (weight * scale[:, None]).T
    torch.testing.assert_close(widened_products(x, weight, scale), exact, rtol=1e-4, atol=0.05)


class Made(TorchDispatchMode):
    """Notes the shapes of tensors that are made, and what these are made of."""

    def __init__(self):
        super().__init__()
        self.kinds = set()

    def __torch_dispatch__(self, function, types, given=(), named=None):
        made = function(*given, **(named or {}))
        if not function.is_view:
            tensors = [one for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
            self.kinds |= {(tuple(one.shape), one.dtype) for one in tensors}
        return made

    @property
    def most_numbers(self):
        return max(math.prod(shape) for shape, _ in self.kinds)

    @property
    def dtypes(self):
        return {dtype for _, dtype in self.kinds}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_nothing_large_is_made_of_the_embedding_of_large(dtype):
    weight = torch.empty(51_866, 1280, dtype=torch.int8, device="meta")
    scale = torch.empty(51_866, device="meta")
    x = torch.empty(137, 1280, dtype=dtype, device="meta")
    with Made() as made:
        found = INT8.products(x, weight, scale)
    assert (found.shape, found.dtype) == ((137, 51_866), dtype)
    assert made.most_numbers <= WEIGHTS_AT_ONCE < weight.numel() / 7


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@BOTH
def test_away_from_a_cpu_everything_is_calculated_in_the_type_of_the_activations(
    quantisation, dtype
):
    model = checkpoint._hollow(SMALL_ENOUGH, quantisation)
    checkpoint._set_precision(model, dtype)
    mlp, x = model.encoder.blocks[0].mlp, torch.empty(3, 1500, 64, dtype=dtype, device="meta")
    with Made() as made:
        y = mlp(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    assert made.dtypes <= ({dtype} if quantisation == "int8" else {dtype, torch.uint8})
    assert made.most_numbers == 3 * 1500 * 4 * 64
    embedding = model.decoder.token_embedding
    with Made() as made:
        logits = embedding.logits(x)
    assert (logits.shape, logits.dtype) == ((3, 1500, 51_864), torch.float32)
    assert made.kinds >= {((51_864, 64), dtype), ((4500, 51_864), dtype)}
    assert torch.int8 not in made.dtypes


@pytest.mark.parametrize("loud", [1, 30, 100])
@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 0.01), (torch.float16, 0.01), (torch.bfloat16, 0.015)]
)
def test_a_whole_model_with_widened_weights_stays_near_its_float_self(dtype, bound, loud):
    model = seeded(SMALL_ENOUGH)
    model.encoder.positional_embedding[:, [5, 20, 50]] *= loud
    model.decoder.positional_embedding.data[:, [5, 20, 50]] *= loud
    exact = copy.deepcopy(model)
    quantise_layers(model, "int8")
    for module in model.modules():
        if hasattr(module, "arithmetic"):
            module.arithmetic = replace(INT8, products=widened_products)
    checkpoint._set_precision(model, dtype)
    torch.manual_seed(1)
    mel, tokens = torch.randn(1, 80, 3000), torch.tensor([[50257, 50362, 11, 257]])
    with torch.inference_mode():
        found, wanted = model(mel.to(dtype), tokens), exact(mel, tokens)
    assert found.isfinite().all()
    assert relative_error(found, wanted) < bound


# ── what is stored ───────────────────────────────────────────────────────────────────────────


def test_float_precisions_store_no_numbers_of_ours():
    assert [scheme(one) for one in ("float32", "bfloat16", "float16")] == [None] * 3


def test_the_numbers_of_a_version_stay_as_they_are():
    """Where this fails for a reason, raise VERSION: files of the one before hold other numbers."""
    assert (VERSION, scheme("int8")) == (1, "int8-v1")
    assert scheme("int4") in ("int4x64-v1", "int4x32-v1")
    weight = (torch.arange(64 * 128) * 7919 % 1009 - 504).div(504).view(64, 128) ** 3
    rows, scale = INT8.pack(weight)
    codes, scales = INT4.pack(weight)
    sums = [rows.abs().sum(dtype=torch.int64), scale.sum(), int4.unpack(codes, scales).abs().sum()]
    sums += [scales[..., 0].double().sum(), scales[..., 1].double().abs().sum()]
    expected = [265384, 0.495413, 2033.906, 15.947266, 4.704771]
    assert [float(one) for one in sums] == pytest.approx(expected, rel=1e-4)


def test_the_float_way_of_the_products_is_the_same_formula():
    torch.manual_seed(0)
    left, _ = quantise_rows(torch.randn(9, 64))
    right, _ = quantise_rows(torch.randn(16, 64))
    exact = functional.linear(left.double(), right.double())
    assert torch.equal(int8_products(left, right).double(), exact)
