"""Recorded steps, as a GPU plays them back. None is here: what records stands in for CUDA graphs.

Like these it keeps operations and no Python: every number that a step takes from Python is frozen
at its first run, and only what lies in tensors may change.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx
from whisper.model import ModelDimensions, Whisper

from models.engines import playback
from models.engines.choosing import choose
from models.engines.decoder_modules import ModuleDecoder
from models.engines.feed import Shape, numbers_of, shape_of, unpacked
from models.engines.playback import Playback
from models.engines.rules import Rules, log_probabilities
from models.quantise import quantise_layers

DIMS = ModelDimensions(80, 1500, 128, 2, 1, 51865, 192, 128, 2, 2)
PLACES, SLOTS = 4, 9


class Tape:
    """A `Recorder` of the operations that a function asks for."""

    def __init__(self):
        self.recorded = self.played = 0

    def __call__(self, function):
        self.recorded += 1
        operations = make_fx(function)()

        def play():
            self.played += 1
            operations()

        return play


def random_model():
    model = Whisper(DIMS)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embedding" in name else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.fixture
def eager(monkeypatch):
    """Every shape is worth recording at once."""
    monkeypatch.setattr(playback, "_WORTH_RECORDING", 1)


def windows(count):
    return list(torch.randn(count, 1500, 128, generator=torch.Generator().manual_seed(1)))


# ── shapes ───────────────────────────────────────────────────────────────────────────────────

rows = st.lists(
    st.tuples(st.integers(0, DIMS.n_text_ctx - 1), st.integers(0, PLACES - 1)),
    min_size=1,
    max_size=SLOTS,
)


@given(rows)
def test_a_roomy_shape_has_room_for_what_it_was_made_for(found):
    starts, places = zip(*found, strict=True)
    exact = shape_of([[7]] * len(found), 0, starts, places)
    roomy = exact.roomy(SLOTS, PLACES, DIMS.n_text_ctx)
    assert exact.rows <= roomy.rows <= SLOTS
    assert exact.reach <= roomy.reach <= DIMS.n_text_ctx
    assert exact.place + exact.windows <= roomy.windows <= PLACES
    assert exact.most <= roomy.most <= roomy.rows
    assert (roomy.slot, roomy.place) == (0, 0)
    assert roomy.roomy(SLOTS, PLACES, DIMS.n_text_ctx) == roomy


@given(rows)
def test_the_device_finds_each_row_where_it_was_packed(found):
    starts, places = zip(*found, strict=True)
    tokens = [[100 + row] for row in range(len(found))]
    exact = shape_of(tokens, 0, starts, places)
    for shape in (exact, exact.roomy(SLOTS, PLACES, DIMS.n_text_ctx)):
        feed = unpacked(shape, torch.tensor(numbers_of(shape, tokens, starts, places)))
        for row, (start, place) in enumerate(found):
            assert feed.tokens[row].tolist() == tokens[row]
            assert feed.positions[row].tolist() == [start]
            assert feed.seen[row].sum() == start + 1
            assert feed.places[row] + feed.heard.start == place
            assert feed.members[feed.places[row], feed.ranks[row]] == row


def test_there_are_few_shapes():
    limit = 128
    roomy = {Shape(0, n, 1, n, 0, n, 1).roomy(limit, limit, 448).rows for n in range(1, limit + 1)}
    assert sorted(roomy) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]


# ── played back ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("quantisation", [None, "int8"])
def test_what_is_played_back_is_what_a_step_gives(quantisation):
    """Rows come and go, share windows, and reach further from step to step."""
    model = random_model()
    if quantisation:
        quantise_layers(model, quantisation)
    tape = Tape()
    recorded = ModuleDecoder(model, PLACES, SLOTS, tape)
    plain = ModuleDecoder(model, PLACES, SLOTS)
    assert recorded.reason == "steps recorded once"
    assert plain.reason is None
    random = torch.Generator().manual_seed(0)
    for decoder in (recorded, plain):
        decoder.hear(range(PLACES), windows(PLACES))
        decoder.begin(0, [0, 1, 3], [[5, 6, 7, 8]] * 3, (3,))
        decoder.copy([0] * 3, [3, 4, 5], 4)
    for step in range(70):
        count = 6 if step < 40 else 2  # the rest has come to its end
        places = [0, 1, 3, 0, 0, 0][:count]
        tokens = torch.randint(50000, (count,), generator=random).tolist()
        found = recorded.step(tokens, [4 + step] * count, places)
        truth = plain.step(tokens, [4 + step] * count, places)
        assert found.shape == truth.shape
        assert torch.allclose(found, truth, atol=1e-3), step
    assert tape.recorded == 1 + 3  # the trial; six rows, two rows, and these past position 63
    assert tape.played == 70 + 1  # and the trial's; a new recording is compared with a step itself


def test_a_shape_is_recorded_only_when_it_comes_again_and_again(model):
    tape = Tape()
    decoder = ModuleDecoder(model, PLACES, SLOTS, tape)
    for position in range(playback._WORTH_RECORDING - 1):
        decoder.step([7, 7], [position] * 2, [0, 1])
    assert tape.recorded == 1
    decoder.step([7, 7], [9, 9], [0, 1])
    assert tape.recorded == 2


def numbers(value):
    return torch.full((1,), value)


def doubled(shape, given):
    return (2 * given).expand(shape.rows, 3).float()


SHAPE = Shape(0, 2, 1, 64, 0, 1, 1)


@pytest.mark.usefixtures("eager")
def test_where_recording_fails_all_goes_on_without_and_the_reason_is_known():
    def broken(_function):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    run = Playback(doubled, broken, torch.zeros(2, 3))
    for value in (4, 5):
        assert run(SHAPE, numbers(value)).tolist() == [[2.0 * value] * 3] * 2
    assert run.failure == "operation not permitted when stream is capturing"


@pytest.mark.usefixtures("eager")
def test_a_recording_that_gives_other_numbers_is_not_played():
    output = torch.zeros(2, 3)

    def wrong(function):
        return lambda: (function(), output.add_(1))

    run = Playback(doubled, wrong, output)
    for value in (4, 5):
        assert run(SHAPE, numbers(value)).tolist() == [[2.0 * value] * 3] * 2
    assert run.failure == "a recorded step gave other numbers"


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kept", ["nothing", "its first numbers"])
def test_neither_is_one_that_does_not_depend_on_the_numbers(kept):
    def careless(function):
        function()  # now, and not in what is recorded
        result = output.clone()
        return lambda: output.copy_(result) if kept == "its first numbers" else None

    output = torch.zeros(2, 3)
    run = Playback(doubled, careless, output)
    for value in (4, 5, 6):
        assert run(SHAPE, numbers(value)).tolist() == [[2.0 * value] * 3] * 2
    assert run.failure == "a recorded step gave other numbers"


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("fault", ["raises", "does nothing"])
def test_a_recording_that_fails_spoils_nothing_that_was_written(model, fault):
    made = []

    def failing(function):
        made.append(function)
        if len(made) == 1:
            return function
        function()
        if fault == "raises":
            raise RuntimeError("out of memory")
        return lambda: None

    decoders = ModuleDecoder(model, PLACES, SLOTS, failing), ModuleDecoder(model, PLACES, SLOTS)
    for decoder in decoders:
        decoder.hear(range(2), windows(2))
    for position in range(4):
        first, second = (
            decoder.step([7 + position, 9], [position] * 2, [0, 1]) for decoder in decoders
        )
        assert torch.allclose(first, second, atol=1e-3)
    assert len(made) == 2


@pytest.mark.usefixtures("eager")
def test_rows_that_overflowed_prove_nothing():
    tape = Tape()
    run = Playback(doubled, tape, torch.zeros(2, 3))
    assert run(SHAPE, torch.tensor([float("nan")])).isnan().all()
    assert (tape.recorded, run.failure) == (0, None)
    for value in (4.0, 5.0):
        assert run(SHAPE, torch.tensor([value])).tolist() == [[2 * value] * 3] * 2
    assert (tape.recorded, run.failure) == (1, None)


@pytest.mark.usefixtures("eager")
def test_no_more_is_recorded_than_memory_is_meant_for(monkeypatch):
    monkeypatch.setattr(playback, "_MOST", 2)
    tape = Tape()
    run = Playback(doubled, tape, torch.zeros(9, 3))
    for shape in (SHAPE, SHAPE._replace(rows=3), SHAPE._replace(rows=4)):
        for value in (1, 2, 3):
            assert run(shape, numbers(value))[-1].tolist() == [2.0 * value] * 3
    assert tape.recorded == 2
    for value in (4, 5):  # now it comes more often than others, and takes the place of one
        assert run(shape, numbers(value))[-1].tolist() == [2.0 * value] * 3
    assert tape.recorded == 3


# ── nothing waits ────────────────────────────────────────────────────────────────────────────


class NoNumbers:
    """Records nothing, since there is nothing to compare."""

    def __call__(self, function):
        function()
        raise RuntimeError("there are no numbers")


@pytest.mark.parametrize("quantisation", [None, "int8", "int4"])
def test_a_step_on_a_gpu_never_asks_for_a_number(quantisation):
    """Tensors on the meta device have none to give: asking for one raises."""
    model = random_model().half()
    if quantisation:
        quantise_layers(model, quantisation)
    heads, model = model.alignment_heads, model.to("meta")
    model.register_buffer("alignment_heads", heads, persistent=False)  # which are read at loading
    with torch.inference_mode():
        decoder = ModuleDecoder(model, PLACES, SLOTS, NoNumbers())
        decoder.hear([0, 2], [torch.empty(1500, 128, device="meta")] * 2)
        started = decoder.begin(0, [0, 2], [[1, 2, 3, 4]] * 2, (0, 3))
        logits = decoder.step([7, 8], [4, 4], [0, 2])
        decoder.copy([1], [0], 5)
        for rules in (Rules((1, 2), (3,), 50364, 50414, 50257), Rules((1,), (3,), None, None, 9)):
            assert log_probabilities(logits, rules, [[], [50364, 7]]).is_meta
    assert started.shape == (2, 2, DIMS.n_vocab)
    assert logits.is_meta
    with pytest.raises(RuntimeError, match="meta"):
        logits.max().item()


def test_what_is_chosen_comes_back_in_one_transfer(monkeypatch):
    asked = []
    theirs = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda x: asked.append(x.shape) or theirs(x))
    likely = torch.randn(3, 51865).log_softmax(-1)
    tokens, values = choose(likely, [0.0, 0.5, 0.0], [0.1, 0.2, 1.0])
    assert asked == [(2, 3)]
    assert tokens[0] == likely[0].argmax()
    assert values == pytest.approx([float(likely[row, token]) for row, token in enumerate(tokens)])
