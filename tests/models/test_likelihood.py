"""How likely tokens are, against torch's product and softmax of the same bytes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("models.kernels.tiles", exc_type=ImportError)

from models.engines.panels import panels, start
from models.kernels.arithmetic import Linear, Norm, normalise, to_bytes
from models.kernels.likelihood import likelihoods, parts, tally
from models.kernels.tiles import PANEL, ZERO

WIDTH, VOCABULARY = 64, 20 * PANEL


def found_by_kernels(x, norm, weight, scale, following, below, threads):
    """Each thread's part, one after the other."""
    columns = (panels(weight), start(weight), scale.numpy(), np.zeros(VOCABULARY, np.float32))
    layers = Linear(*(column[None] for column in columns))
    norms = Norm(*(column.numpy()[None] for column in norm))
    tokens = np.array(following, np.int64)
    found = np.empty((threads, 3, len(following)), np.float32)
    for (first, end), out in zip(parts(below, threads), found, strict=True):
        tally(x.numpy(), norms, layers, tokens, first, end, out)
    return torch.from_numpy(likelihoods(found))


def exact(x, norm, weight, scale, following, below):
    row, codes = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.uint8)
    logits = torch.empty(len(x), VOCABULARY, dtype=torch.float64)
    for r in range(len(x)):
        normalise(x[r].numpy(), Norm(*(column.numpy() for column in norm)), row)
        step = float(to_bytes(row, codes))
        logits[r] = (
            weight.double()
            @ torch.from_numpy((codes - np.uint8(ZERO)).view(np.int8)).double()
            * step
            * scale
        )
    return logits[:, :below].softmax(-1)[range(len(following)), following]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 20),
    below=st.integers(1, VOCABULARY),
    threads=st.integers(1, 4),
    spread=st.sampled_from([1e-5, 1e-3, 0.02]),
)
def test_probabilities_are_torchs_for_any_number_of_tokens_and_threads(
    seed, n, below, threads, spread
):
    torch.manual_seed(seed)
    x, norm = torch.randn(n, WIDTH) * 5, (torch.rand(WIDTH) + 0.5, torch.randn(WIDTH))
    weight = torch.randint(-127, 128, (VOCABULARY, WIDTH), dtype=torch.int8)
    scale = (torch.rand(VOCABULARY) + 0.5) * spread
    following = torch.randint(below, (n,)).tolist()
    given_all = (x, norm, weight, scale, following, below)
    found = found_by_kernels(*given_all, threads)
    assert torch.allclose(found, exact(*given_all).float(), atol=1e-12, rtol=1e-4)


@given(below=st.integers(1, 60_000), threads=st.integers(1, 9))
def test_parts_are_all_tokens_in_whole_panels(below, threads):
    found = parts(below, threads)
    assert len(found) == threads
    assert found[0][0] == 0
    assert found[-1][1] == below
    assert all(end == first for (_, end), (first, _) in pairwise(found))
    assert all(first % PANEL == 0 for first, _ in found)
