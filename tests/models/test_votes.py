"""The kernel that chooses tokens, against whisper's own filters and `choosing.choose`."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines import choosing
from models.engines.choosing import choose, next_tokens
from models.engines.rules import Rules, log_probabilities, rules_of
from tests.models.test_rules import TASKS, filtered, sampled_tokens

ROUNDING = 2e-5  # of a sum of float32 shares; a chance so near an edge may fall on either side
TEXT = Rules((0,), (), None, None, eot=0)  # all tokens are text, and any but 0 may follow
# of ten tokens, 0 and 9 never come and 2 not first; 6 to 9 are timestamps, 6 and 7 may come first
TEN = Rules((0, 9), (2,), 6, 7, eot=4)

pytestmark = pytest.mark.skipif(
    choosing._kernel() is None, reason="the kernel does not compile for this processor"
)


def drawn(logits, temperature, chances):
    """The token for each chance, all for the same logits (V,)."""
    n = len(chances)
    return next_tokens(logits.repeat(n, 1), TEXT, [[1]] * n, [temperature] * n, chances)[0]


def drawn_by_choose(logits, temperature, chances):
    n = len(chances)
    truth = log_probabilities(logits.repeat(n, 1), TEXT, [[1]] * n)
    return choose(truth, [temperature] * n, chances)[0]


def edges(log_probabilities, temperature):
    """Up to which chance each token of (V,) is drawn, float64."""
    return (log_probabilities.double() / temperature).softmax(-1).cumsum(-1)


def may_fall_on(edges, chance):
    """The first token, and the last."""
    around = torch.tensor([chance - ROUNDING, chance + ROUNDING], dtype=torch.float64)
    return torch.searchsorted(edges, around).tolist()  # beyond all edges: any of the last


# ── whisper's rules ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task.options.suppress_tokens))
@settings(max_examples=20)
@given(data=st.data())
def test_rows_of_all_kinds_get_what_whisper_leaves_them(task, data):
    sampled = data.draw(st.lists(sampled_tokens(task), min_size=1, max_size=4))
    n = len(sampled)
    heat, chance = st.sampled_from([0.0, 0.2, 0.6, 1.0]), st.floats(0, 0.9999, exclude_min=True)
    heats = data.draw(st.lists(heat, min_size=n, max_size=n))
    chances = data.draw(st.lists(chance, min_size=n, max_size=n))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    logits = torch.randn(n, task.model.dims.n_vocab, generator=generator)
    logits *= data.draw(st.sampled_from([1, 5, 30]))
    # so that a timestamp wins in some rows, and text in others
    logits[:, task.tokenizer.timestamp_begin :] += data.draw(st.floats(-9, 3, width=32))
    chosen = next_tokens(logits.clone(), rules_of(task), sampled, heats, chances)
    for row, (token, value) in enumerate(zip(*chosen, strict=True)):
        truth = filtered(task, logits[row], sampled[row])
        assert truth[token] > -math.inf
        assert value == pytest.approx(float(truth[token]), abs=1e-4)
        if heats[row]:
            first, last = may_fall_on(edges(truth, heats[row]), chances[row])
            assert first <= token <= last
        else:
            assert token == truth.argmax()


@pytest.mark.parametrize(
    ("sampled", "follow"),
    [
        ([], {6, 7}),
        ([1], {1, 2, 3, 4, 5, 6, 7, 8}),
        ([6], {1, 2, 3, 4, 5}),
        ([6, 1], {1, 2, 3, 4, 5, 7, 8}),
        ([6, 1, 7], {4, 5, 7, 8}),
    ],
)
def test_all_that_may_follow_is_drawn_and_nothing_else(sampled, follow):
    """What may not follow would be far likelier."""
    logits = torch.full((10,), 50.0)
    logits[[token for token in follow if token < TEN.timestamp_begin]] = 0
    logits[[token for token in follow if token >= TEN.timestamp_begin]] = -3
    chances = [(i + 0.5) / 200 for i in range(200)]
    rows = logits.repeat(200, 1)
    for temperature in (1.0, 2.0):
        heats = [temperature] * 200
        tokens, _ = next_tokens(rows.clone(), TEN, [sampled] * 200, heats, chances)
        assert set(tokens) == follow
        assert tokens == sorted(tokens)
    assert next_tokens(rows[:1].clone(), TEN, [sampled], [0.0], [1.0])[0] == [min(follow)]


# ── `choose`, with draws that are known ──────────────────────────────────────────────────────


@pytest.mark.parametrize("vocabulary", [2, 3, 256, 257, 258, 700])
def test_it_chooses_what_choose_does(vocabulary):
    generator = torch.Generator().manual_seed(vocabulary)
    logits = torch.randn(90, vocabulary, generator=generator) * 3
    heats = [(0.0, 0.2, 0.4, 0.6, 0.8, 1.0)[row % 6] for row in range(90)]
    chances = (torch.rand(90, generator=generator) * 0.9999 + 1e-30).tolist()
    truth = log_probabilities(logits.clone(), TEXT, [[1]] * 90)
    found = next_tokens(logits, TEXT, [[1]] * 90, heats, chances)
    compared = 0
    for row, ours, theirs in zip(
        range(90),
        zip(*found, strict=True),
        zip(*choose(truth, heats, chances), strict=True),
        strict=True,
    ):
        first, last = may_fall_on(edges(truth[row], heats[row] or 1.0), chances[row])
        if first == last or not heats[row]:
            compared += 1
            assert ours == pytest.approx(theirs, abs=1e-5)
    assert compared > 80


def test_the_share_of_each_token_is_that_of_its_temperature():
    shares = torch.tensor([0, 0.1, 0.2, 0.3, 0.4])
    chances = [(i + 0.5) / 1000 for i in range(1000)]
    for temperature in (0.2, 0.5, 1.0):
        tokens = drawn(shares.log(), temperature, chances)
        expected = shares ** (1 / temperature)
        counts = torch.tensor(tokens).bincount(minlength=5) / 1000
        assert torch.allclose(counts, expected / expected.sum(), atol=1.1e-3)


@pytest.mark.parametrize("draw", [drawn, drawn_by_choose])
def test_a_chance_on_an_edge_falls_on_the_token_before_it(draw):
    """1024 tokens of the same share, so that sums are exact."""
    alike, n = torch.zeros(1025), range(1024)
    assert draw(alike, 0.5, [(i + 1) / 1024 for i in n]) == [i + 1 for i in n]
    assert draw(alike, 0.5, [i / 1024 + 2**-24 for i in n]) == [i + 1 for i in n]


@pytest.mark.parametrize("draw", [drawn, drawn_by_choose])
def test_the_first_and_the_last_chance_fall_on_what_is_likely_at_all(draw):
    logits = torch.full((600,), -200.0)
    logits[[3, 400]] = 0
    assert draw(logits, 1.0, [1e-30, 0.5, 0.75, 1.0]) == [3, 3, 400, 400]


def test_where_sums_are_rounded_the_unlikely_is_not_drawn():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 200, generator=generator)
    logits[:, 100:] = -200
    tokens, _ = next_tokens(logits, TEXT, [[1]] * 40, [1.0] * 40, [1.0] * 40)
    assert max(tokens) < 100


def test_the_last_chance_falls_on_one_of_the_last():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 700, generator=generator)
    tokens, _ = next_tokens(logits, TEXT, [[1]] * 40, [1.0] * 40, [1.0] * 40)
    assert min(tokens) > 690


# ── ties ─────────────────────────────────────────────────────────────────────────────────────


def test_of_equal_ones_the_first_is_chosen():
    logits = torch.randn(3, 700, generator=torch.Generator().manual_seed(0))
    for row, equal in enumerate([[1, 699], [256, 257], [300, 301, 650]]):
        logits[row, equal] = 9
    tokens, values = next_tokens(logits.clone(), TEXT, [[1]] * 3, [0.0] * 3, [1.0] * 3)
    expected = choose(log_probabilities(logits, TEXT, [[1]] * 3), [0.0] * 3, [1.0] * 3)
    assert tokens == expected[0] == [1, 256, 300]
    assert values == pytest.approx(expected[1], abs=1e-5)


@pytest.mark.parametrize(
    ("stamps", "token"),
    [
        ((0, -99, -99), 1),  # as likely as the likeliest text: text
        ((-0.5, -0.5, -99), 6),  # together likelier: a timestamp
        ((-99, -0.5, -0.5), 7),
        ((-1, -1, -99), 1),  # together less likely
    ],
)
def test_a_timestamp_is_chosen_where_all_together_are_likelier_than_any_text(stamps, token):
    logits = torch.tensor([[50.0, 0, 0, -1, -1, -1, *stamps, 50]])
    expected = choose(log_probabilities(logits.clone(), TEN, [[1]]), [0.0], [1.0])
    assert next_tokens(logits, TEN, [[1]], [0.0], [1.0])[0] == expected[0] == [token]
