from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import int4
from models.int4 import GROUP, is_packable, kernel, pack, products, unpack


def relative_error(found, exact):
    return float((found - exact).norm() / exact.norm())


def unpacked(weight):
    return unpack(*pack(weight)).T


def simply(weight):
    """The usual way, without a search: the range of each group is divided into 15 steps."""
    groups = weight.view(-1, GROUP)
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    step = (high - low) / 15
    return (((groups - low) / step).round() * step + low).view(weight.shape)


def with_loud_columns(loud):
    torch.manual_seed(0)
    weight = torch.randn(256, 768) * 0.04
    weight[:, [5, 100, 700]] *= loud
    return weight


def test_a_weight_takes_four_bits_and_a_half():
    codes, scales = pack(torch.randn(128, 192))
    assert (codes.dtype, scales.dtype) == (torch.uint8, torch.bfloat16)
    assert (codes.nbytes + scales.nbytes) * 8 == 4.5 * 128 * 192


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_weight_comes_back_to_its_place(dtype):
    """Codes are exact for weights that lie on a grid, of which each group uses both ends."""
    torch.manual_seed(0)
    codes = torch.randint(-8, 8, (384, 192 // GROUP, GROUP))
    codes[..., 0], codes[..., 1] = -8, 7
    scale = 2.0 ** torch.randint(-12, 3, (384, 192 // GROUP, 1))
    zero = scale * torch.randint(-4, 5, (384, 192 // GROUP, 1))
    weight = (codes * scale + zero).view(384, 192)
    assert torch.equal(unpacked(weight.to(dtype)), weight.to(dtype).float())


@pytest.mark.parametrize(
    ("loud", "bound", "gain"), [(1, 0.086, 0.97), (30, 0.14, 0.87), (100, 0.075, 0.5)]
)
def test_the_search_beats_the_simple_way(loud, bound, gain):
    weight = with_loud_columns(loud)
    error = relative_error(unpacked(weight), weight)
    assert error < bound
    assert error < gain * relative_error(simply(weight), weight)


@given(
    scale=st.floats(1e-6, 1e4),
    shift=st.floats(-10, 10),
    spikes=st.lists(st.integers(0, GROUP - 1), max_size=3),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_no_weight_is_off_by_more_than_a_step(scale, shift, spikes, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(64, GROUP, generator=generator) + shift
    weight[:, spikes] *= 50
    weight *= scale
    steps = (weight.amax(1) - weight.amin(1)).maximum(weight.abs().amax(1)) / 7
    # the search may give up one weight for all the others, but not this much
    assert ((unpacked(weight) - weight).abs().amax(1) <= 1.5 * steps).all()


@pytest.mark.parametrize("loud", [1, 30, 100])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 0.0003), (torch.bfloat16, 0.005)])
def test_half_as_wide_they_are_nearly_the_same(dtype, bound, loud):
    """Rounded once they would differ by 0.00014 and 0.0017, and all are 0.08 off the true ones."""
    packed = pack(with_loud_columns(loud))
    found = unpack(*packed, dtype)
    assert (found.dtype, found.is_contiguous()) == (dtype, True)
    assert relative_error(found.float(), unpack(*packed)) < bound


def test_groups_that_float16_cannot_tell_from_zero_are_small_in_it():
    weight = torch.randn(64, GROUP) * 1e-9
    found = unpack(*pack(weight), torch.float16)
    assert found.abs().max() < 1e-6


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3])
def test_groups_of_one_value_keep_it(value):
    weight = torch.full((64, GROUP), value)
    torch.testing.assert_close(unpacked(weight), weight, rtol=0.004, atol=0.0)


def test_only_whole_blocks_and_groups_are_packed():
    assert is_packable(torch.empty(128, 192))
    assert not is_packable(torch.empty(96, 192))
    assert not is_packable(torch.empty(128, 96))


def test_shapes_are_told_without_numbers():
    for found, like in zip(
        pack(torch.empty(384, 128, device="meta")), pack(torch.randn(384, 128)), strict=True
    ):
        assert (found.shape, found.dtype, found.device.type) == (like.shape, like.dtype, "meta")


# ── products ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rows", [1, 8, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_products_are_those_of_the_unpacked_weights(rows, dtype):
    torch.manual_seed(0)
    codes, scales = pack(torch.randn(192, 128))
    x = torch.randn(rows, 128).to(dtype)
    found = products(x, codes, scales)
    exact = x.double() @ unpack(codes, scales).double()
    assert found.dtype == dtype
    assert relative_error(found.double(), exact) < 0.005  # bfloat16 rounds to 0.2 %


@pytest.mark.parametrize("loud", [1, 30, 100])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loud_activations_are_multiplied_as_well_in_half_the_width(dtype, loud):
    torch.manual_seed(0)
    weight, x = torch.randn(256, 768) * 0.04, torch.randn(40, 768)
    x[:, [5, 100, 700]] *= loud
    packed = pack(weight)
    found = (x.to(dtype) @ unpack(*packed, dtype)).float()  # what a GPU does
    assert found.isfinite().all()
    exact = x @ unpack(*packed)
    assert relative_error(found, exact) < {torch.float16: 0.0005, torch.bfloat16: 0.005}[dtype]


def test_away_from_a_cpu_products_have_the_type_of_the_activations():
    packed = [tensor.to("meta") for tensor in pack(torch.randn(128, 192))]
    for dtype in (torch.float16, torch.float32):
        found = products(torch.empty(5, 192, dtype=dtype, device="meta"), *packed)
        assert (found.shape, found.dtype) == ((5, 128), dtype)


def test_activations_may_lie_in_memory_as_they_like():
    torch.manual_seed(0)
    codes, scales = pack(torch.randn(64, 128))
    x = torch.randn(128, 8).T
    assert not x.is_contiguous()
    assert torch.equal(products(x, codes, scales), products(x.contiguous(), codes, scales))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_blocks_of_another_processor_are_multiplied_too(dtype):
    torch.manual_seed(0)
    weight, x = torch.randn(192, 128), torch.randn(3, 128).to(dtype)
    codes, scales = int4._pack_rows(weight, 16)
    scales = scales.bfloat16()
    assert codes.shape == (12, 128, 8)
    assert torch.equal(unpack(codes, scales), unpack(*pack(weight)))
    found, exact = products(x, codes, scales), x.double() @ unpack(codes, scales).double()
    assert found.dtype == dtype
    bounds = {torch.float32: 1e-6, torch.float16: 0.0005, torch.bfloat16: 0.005}
    assert relative_error(found.double(), exact) < bounds[dtype]


ON_ANOTHER_PROCESSOR = """
import torch
from models import int4
torch.manual_seed(0)
weight, x = torch.randn(192, 128), torch.randn(250, 128)
packed = int4.pack(weight)
exact = x @ int4.unpack(*packed)
for rows in (1, 8, 250):
    found = int4.products(x[:rows], *packed)
    assert (found - exact[:rows]).norm() < 0.005 * exact[:rows].norm()
print(int4.kernel()[0], float(int4.unpack(*packed).norm()))
"""


@pytest.mark.skipif(kernel()[0] != 64, reason="this processor cannot pretend to be another")
@pytest.mark.parametrize(("capability", "block"), [("default", 0), ("avx2", 32)])
def test_every_kind_of_processor_gets_the_same_weights_and_products(capability, block):
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    done = subprocess.run(
        [sys.executable, "-c", ON_ANOTHER_PROCESSOR],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found_block, norm = done.stdout.split()
    assert int(found_block) == block
    torch.manual_seed(0)
    weight = torch.randn(192, 128)
    assert float(norm) == pytest.approx(float(unpacked(weight).norm()), rel=1e-4)
