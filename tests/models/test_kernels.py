from __future__ import annotations

import os
import subprocess
import sys
import zlib
from inspect import getsource
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from llvmlite.binding import get_host_cpu_features
from torch.nn import functional

pytest.importorskip("models.kernels.tiles", exc_type=ImportError)

from models.kernels import arithmetic, processors, tiles
from models.kernels.arithmetic import (
    Norm,
    bfloat16,
    gelu,
    kept,
    normalise,
    softmax,
    to_bytes,
)
from models.kernels.processors import CHOSEN, INSTRUCTIONS
from models.kernels.tiles import ZERO
from tests.models.other_processors import heard
from tests.models.products import bfloat16_values, check_bfloat16, check_bytes

ROOT = Path(__file__).parents[2]
# What every processor with one of these has besides, by LLVM's names.
PLAIN = "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+popcnt,+sse4.2"


# ── products ─────────────────────────────────────────────────────────────────────────────────


def test_products_of_bytes_are_exact():
    check_bytes()


def test_products_of_bfloat16_are_as_exact_as_float32():
    check_bfloat16()


@pytest.mark.parametrize("row", INSTRUCTIONS, ids=lambda row: row.name)
def test_each_kind_of_processor_gives_the_same_products(row):
    if row == CHOSEN:
        pytest.skip("tested above")
    environment = as_another(row)
    assert said("tests.models.products", environment=environment) == row.name


def test_each_kind_of_processor_hears_the_same(tmp_path):
    avx2 = next(row for row in INSTRUCTIONS if row.name == "AVX2")
    ours, theirs = tmp_path / "avx2.npz", tmp_path / "arm.npz"
    # both compile: what was compiled now and what numba kept differ in the last bits
    apart = [{"NUMBA_CACHE_DIR": str(tmp_path / name)} for name in ("avx2", "arm")]
    program, environment = "tests.models.other_processors", as_another(avx2)
    assert said(program, ours, environment=environment | apart[0]) == "AVX2"
    assert said(program, theirs, "arm", environment=environment | apart[1]) == "Arm DotProd"
    here, on_avx2, on_arm = heard(), np.load(ours), np.load(theirs)
    for name, exact in here.items():
        # bfloat16 is rounded elsewhere, and so are the bytes that come of it
        assert np.linalg.norm(on_avx2[name] - exact) < 0.04 * np.linalg.norm(exact)
        np.testing.assert_array_equal(on_arm[name], on_avx2[name])


def as_another(row):
    """The environment that tells numba to compile for another processor."""
    here = {name for name, is_here in get_host_cpu_features().items() if is_here}
    if not row.needs <= here:
        pytest.skip(f"not here: {sorted(row.needs - here)}")
    features = ",".join([PLAIN, *(f"+{need}" for need in sorted(row.needs))])
    return os.environ | {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features}


def said(program, *words, environment):
    command = [sys.executable, "-m", program, *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


# ── rows ─────────────────────────────────────────────────────────────────────────────────────

values = st.floats(-1e4, 1e4, width=32)
rows = arrays(np.float32, st.integers(1, 200), elements=values)


@settings(max_examples=50, deadline=None)
@given(rows)
def test_bytes_are_the_nearest_of_255_and_their_scale_is_the_largest_number(row):
    out = np.zeros(row.size, np.uint8)
    scale = float(to_bytes(row, out))
    assert scale == pytest.approx(np.abs(row).max() / 127, rel=1e-6, abs=1e-12)
    assert np.abs(scale * (out - np.uint8(ZERO)).view(np.int8) - row).max() <= 0.5001 * scale


def test_a_row_of_zeros_stays_zero():
    out = np.zeros(9, np.uint8)
    to_bytes(np.zeros(9, np.float32), out)
    assert (out == ZERO).all()


@settings(max_examples=50, deadline=None)
@given(values)
def test_bfloat16_is_the_nearest(value):
    found = bfloat16_values(np.array([bfloat16(np.float32(value))], np.uint16))[0]
    assert abs(found - value) <= max(abs(value) / 256, 1e-38)


def test_a_layer_norm_is_torchs():
    torch.manual_seed(0)
    row, weight, bias = 3 + 50 * torch.randn(3, 200)
    out = np.zeros(200, np.float32)
    normalise(row.numpy(), Norm(weight.numpy(), bias.numpy()), out)
    exact = functional.layer_norm(row, (200,), weight, bias)
    torch.testing.assert_close(torch.from_numpy(out), exact, rtol=1e-5, atol=1e-3)


def test_gelu_is_the_exact_one():
    x = torch.cat([torch.linspace(-12, 12, 4001), torch.tensor([-1e4, 1e4])])
    found = torch.tensor([gelu(value) for value in x.numpy()])
    error = (found - functional.gelu(x.double())).abs()
    assert (error < 6e-5 + 1e-5 * x.abs()).all()


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros(70),
        np.full(70, -500.0),
        np.linspace(-3, 3, 70),
        np.linspace(-4000, 4000, 70),
        -np.geomspace(1e-3, 1e3, 70),
    ],
    ids=["equal", "equal and low", "near", "far", "all negative"],
)
def test_softmax_is_torchs_within_bfloat16(scores):
    padded = np.append(scores, 1e30).astype(np.float32)
    out = np.zeros(70, np.uint16)
    total = softmax(padded, out)
    exact = torch.softmax(torch.from_numpy(scores) * np.log(2), 0).numpy()
    np.testing.assert_allclose(bfloat16_values(out) / total, exact, rtol=4.1e-3, atol=1e-18)


# ── compiling ────────────────────────────────────────────────────────────────────────────────


def test_what_cannot_be_kept_on_disk_is_compiled_all_the_same():
    program = {}
    exec("def doubled(x): return 2 * x", program)
    assert kept(program["doubled"])(21) == 42


def test_the_name_that_code_is_kept_under_tells_of_the_files_that_it_comes_from():
    def one():
        return 1

    name = one.__qualname__
    expected = zlib.crc32("".join(map(getsource, (processors, tiles, arithmetic))).encode())
    kept(one)
    assert one.__qualname__ == f"{name}_{expected:08x}"
