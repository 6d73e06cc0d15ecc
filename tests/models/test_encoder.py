from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc

import pytest
import torch
from llvmlite.binding import get_host_cpu_features
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.model import ModelDimensions, Whisper

from models.checkpoint import Checkpoint, build
from models.demo import EPISODE, load_checkpoint
from models.engines.encoder import FastEncoder
from tests.models.test_needs import live_bytes

TINYS_WIDTH = ModelDimensions(80, 1500, 384, 6, 2, 51864, 448, 384, 6, 1)
THREE_LAYERS = ModelDimensions(128, 1500, 128, 2, 3, 51864, 448, 128, 2, 2)
WIDE_HEAD = ModelDimensions(80, 1500, 128, 1, 1, 51864, 448, 128, 1, 1)
PROCESSORS = {  # as numba is told, and the arithmetic that it leads to
    "+avx2,+fma,+f16c": "int8 kernels for AVX2",
    "+sse4.2": "whisper's own blocks, since this processor is not known to the kernels",
}


def seeded(dims, loud=1.0):
    """A Whisper with random weights, at the size of trained ones, and three louder channels."""
    torch.manual_seed(0)
    model = Whisper(dims)
    for name, parameter in model.named_parameters():
        if "ln" not in name:
            torch.nn.init.normal_(parameter, 0, 0.04)
        elif "weight" in name and "post" not in name:
            parameter.data[5:8] *= loud
    return Checkpoint("random", None, dims, model.state_dict())


def spectra(n, n_mels=80):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, n_mels, 3000, generator=generator).clamp(-1, 1.5)


def relative_error(found, exact):
    return float((found.float() - exact.float()).norm() / exact.float().norm())


def whispers_own(model, mels):
    with torch.inference_mode():
        return model.encoder(mels)


def with_kernels(model, threads=1):
    pytest.importorskip("models.kernels.tiles", exc_type=ImportError)
    encoder = FastEncoder(model, threads)
    assert "kernels for" in encoder.reason
    return encoder


@pytest.fixture(scope="module")
def small_model():
    return build(seeded(THREE_LAYERS), "int8", "cpu")


@pytest.fixture(scope="module")
def small_encoder(small_model):
    return with_kernels(small_model)


# ── float: whisper's own numbers ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_float_model_gives_exactly_its_own_features(precision):
    model = build(seeded(THREE_LAYERS), precision, "cpu")
    mels = spectra(2, 128)
    dtype = getattr(torch, precision)
    encoder = FastEncoder(model)
    features = encoder(mels)
    assert features.dtype == torch.float32
    assert torch.equal(features, whispers_own(model, mels.to(dtype)).float())
    assert "not int8" in encoder.reason


# ── int8: near the float model, loud channels or not ─────────────────────────────────────────


@pytest.mark.parametrize(("loud", "bound"), [(1, 0.03), (30, 0.1), (100, 0.3)])
def test_int8_is_as_near_the_float_model_as_layers_of_int8_allow(loud, bound):
    checkpoint, mels = seeded(TINYS_WIDTH, loud), spectra(1)
    exact = whispers_own(build(checkpoint, "float32", "cpu"), mels)
    model = build(checkpoint, "int8", "cpu")
    layer_by_layer = relative_error(whispers_own(model, mels), exact)
    error = relative_error(with_kernels(model)(mels), exact)
    assert error < 1.1 * layer_by_layer
    assert error < bound


def test_int8_is_near_the_float_demo_model_on_speech(samples_of):
    content = load_checkpoint()
    demo = Checkpoint("demo", None, ModelDimensions(**content["dims"]), content["model_state_dict"])
    samples = torch.tensor(samples_of(EPISODE))
    mels = torch.stack([log_mel_spectrogram(pad_or_trim(samples[i:])) for i in (0, 480_000)])
    exact = whispers_own(build(demo, "float32", "cpu"), mels)
    assert relative_error(with_kernels(build(demo, "int8", "cpu"))(mels), exact) < 0.06


# ── a window is itself, whoever shares its batch, its machine or its moment ──────────────────


def test_a_window_is_the_same_alone_and_in_a_batch(small_encoder):
    mels = spectra(3, 128)
    together = small_encoder(mels)
    assert torch.equal(together, torch.cat([small_encoder(mel[None]) for mel in mels]))


@pytest.mark.parametrize("threads", [2, 3, 200])
def test_any_number_of_threads_gives_the_same(small_model, small_encoder, threads):
    mels = spectra(2, 128)
    assert torch.equal(FastEncoder(small_model, threads)(mels), small_encoder(mels))


def test_callers_at_the_same_time_do_not_disturb_each_other(small_encoder):
    mels = spectra(4, 128)
    found = {}

    def call(i):
        found[i] = small_encoder(mels[i : i + 1])

    callers = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert torch.equal(torch.cat([found[i] for i in range(4)]), small_encoder(mels))


def test_a_spectrogram_may_be_a_view_of_any_float_type(small_encoder):
    mels = spectra(1, 128).to(torch.float16)
    view = mels.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(small_encoder(view), small_encoder(mels.float()))


def test_the_model_may_go(small_model, small_encoder):
    model = build(seeded(THREE_LAYERS), "int8", "cpu")
    encoder = FastEncoder(model, 1)
    for tensor in model.encoder.state_dict().values():
        tensor.zero_()
    mels = spectra(1, 128)
    assert torch.equal(encoder(mels), small_encoder(mels))


def most_bytes(work):
    """The most that torch's and numpy's arrays take at once while the work is done."""
    tracemalloc.start()
    work()
    numpys = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return live_bytes(work) + numpys


def test_more_windows_need_no_more_memory_than_their_features(small_encoder):
    mels = spectra(8, 128)
    one, eight = (most_bytes(lambda n=n: small_encoder(mels[:n])) for n in (1, 8))
    features_bytes = small_encoder(mels[:1]).nbytes
    assert eight - one == pytest.approx(7 * features_bytes, abs=100_000)


# ── where the kernels do not run ─────────────────────────────────────────────────────────────


def test_heads_of_another_width_run_in_whispers_own_blocks():
    checkpoint, mels = seeded(WIDE_HEAD), spectra(1)
    encoder = FastEncoder(build(checkpoint, "int8", "cpu"))
    assert "64 wide" in encoder.reason
    exact = whispers_own(build(checkpoint, "float32", "cpu"), mels)
    assert relative_error(encoder(mels), exact) < 0.02


@pytest.mark.skipif(not get_host_cpu_features().get("avx2"), reason="no AVX2 here")
@pytest.mark.parametrize(("features", "arithmetic"), PROCESSORS.items())
def test_an_older_processor_gets_what_is_right_for_it(features, arithmetic):
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features},
        check=True,
        capture_output=True,
        text=True,
    )
    reason, error = done.stdout.splitlines()
    assert reason == arithmetic
    assert float(error) < 0.03


def compare_with_float():
    """Print which arithmetic was taken, and how near the float model it comes."""
    checkpoint, mels = seeded(THREE_LAYERS), spectra(2, 128)
    encoder = FastEncoder(build(checkpoint, "int8", "cpu"))
    print(encoder.reason)
    exact = whispers_own(build(checkpoint, "float32", "cpu"), mels)
    print(relative_error(encoder(mels), exact))


if __name__ == "__main__":
    compare_with_float()
