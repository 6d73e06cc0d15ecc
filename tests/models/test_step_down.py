"""Memory that runs out in the midst of decoding: nothing is lost, nothing is heard twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes
from whisper.model import ModelDimensions, Whisper

from models import demo
from models.engines.loaded import made_ready, with_batch_size
from models.engines.whisper_torch import WhisperTorch
from models.quantise import quantise_layers
from pipeline.errors import OutOfMemory
from pipeline.types import SAMPLE_RATE_HZ, Clip, EngineDescription, Span, SpeechOptions, Window
from tests.models.shortage import FailingAllocator

ROOT = Path(__file__).parents[2]
OPTIONS = SpeechOptions(model="demo", language="en")


def demo_model():
    checkpoint = demo.load_checkpoint()
    model = Whisper(ModelDimensions(**checkpoint["dims"]))
    model.load_state_dict(checkpoint["model_state_dict"])
    return model


@pytest.fixture(scope="module")
def model():
    return demo_model()


@pytest.fixture(scope="module")
def clips(samples_of):
    sounds = [samples_of(one.path) for one in demo.clips()[:3]]
    return [
        Clip(
            Window(
                100.0 * n,
                end_s := 100.0 * n + len(sound) / SAMPLE_RATE_HZ,
                (Span(100.0 * n, end_s),),
            ),
            sound,
            OPTIONS,
        )
        for n, sound in enumerate(sounds)
    ]


class Halving:
    """An engine on the model that halves its batch for each lack of memory, and counts."""

    def __init__(self, model, batch_size):
        self.relieved = 0
        self.encoded = []
        description = EngineDescription(
            "demo", "float32", "cpu", ("en",), can_translate=False, reason="a test"
        )
        self.engine = WhisperTorch(made_ready(model, description, batch_size), self.relieve)
        self.hook = model.encoder.register_forward_hook(
            lambda _, __, features: self.encoded.append(len(features))
        )

    def relieve(self, loaded):
        self.relieved += 1
        if loaded.batch_size == 1:
            raise OutOfMemory("nothing smaller is left")
        smaller = replace(loaded.description, reason=f"stepped down {self.relieved} times")
        with _disable_current_modes():  # what it takes itself was given back before
            return replace(with_batch_size(loaded, loaded.batch_size // 2), description=smaller)

    def hear(self, clips, allocator=None):
        """Windows, texts and words: a smaller batch gives other noise in the probabilities."""
        try:
            with allocator or FailingAllocator():
                heard = list(self.engine.transcribe(clips))
        finally:
            self.hook.remove()
        return [
            (one.window, segment.start_s, segment.text, [word.text for word in segment.words])
            for one in heard
            for segment in one.segments
        ]


@pytest.fixture(scope="module")
def undisturbed(model, clips):
    allocator = FailingAllocator()
    heard = Halving(model, 2).hear(clips, allocator)
    return heard, allocator.operations


@pytest.mark.parametrize("share", [0.01, 0.4, 0.6, 0.99])
def test_wherever_memory_runs_out_the_result_is_the_same(model, clips, undisturbed, share):
    expected, operations = undisturbed
    halving = Halving(model, 2)
    heard = halving.hear(clips, FailingAllocator(round(operations * share)))
    assert heard == expected
    assert halving.relieved == 1
    assert halving.engine.description.reason == "stepped down 1 times"
    # what the failure stopped is heard once more, and nothing else
    assert len(clips) <= sum(halving.encoded) <= len(clips) + 2


def test_windows_that_are_finished_are_not_heard_again(model, clips, undisturbed):
    expected, operations = undisturbed
    halving = Halving(model, 2)
    assert halving.hear(clips, FailingAllocator(round(operations * 0.9))) == expected
    assert sum(halving.encoded) == len(clips) + 1


def test_kernels_go_on_with_less_too(clips):
    def in_int8(allocator):
        model = demo_model()
        quantise_layers(model, "int8")
        halving = Halving(model, 2)
        return halving.hear(clips, allocator), halving.relieved

    allocator = FailingAllocator()
    expected = in_int8(allocator)
    heard = in_int8(FailingAllocator(round(allocator.operations * 0.6)))
    assert (expected[1], heard[1]) == (0, 1)
    assert heard[0] == expected[0]


def test_memory_that_stays_short_ends_with_an_error_and_not_in_a_loop(model, clips):
    halving = Halving(model, 4)
    with pytest.raises(OutOfMemory, match="nothing smaller"):
        halving.hear(clips, FailingAllocator(*range(200, 10**6)))
    assert halving.relieved == 3


def test_the_language_is_asked_again_with_less(recordings_model, clips):
    halving = Halving(recordings_model, 4)
    with FailingAllocator(100) as allocator:
        guess = halving.engine.detect_language(clips)
    assert halving.relieved == 1
    assert allocator.operations > 100
    assert 0 < guess.probability <= 1


@pytest.fixture(scope="module")
def recordings_model():
    torch.manual_seed(5)
    model = Whisper(ModelDimensions(80, 1500, 64, 1, 1, 51_865, 448, 64, 1, 1)).eval()
    torch.nn.init.normal_(model.decoder.positional_embedding)
    return model


LIMITED = """
import json, os, resource, sys, time
from pathlib import Path
from models.memory import Machine
from models.pool import Pool, PoolOptions
from models.quantise import quantise_layers
from models.demo import clips
from pipeline.types import Clip, Span, SpeechOptions, Window
import numpy, torch
torch.set_num_threads(1)
machine = Machine(2**40, 2**40, "a promise that is not kept", (), True)
notes = []
options = SpeechOptions(model="demo", language="en", quantisation="float32", best_of=1)
pool = Pool(PoolOptions(Path(sys.argv[1]), device="cpu", batch_size=None), notes.append,
            look=lambda _: machine)
sound = numpy.frombuffer(Path(sys.argv[2]).read_bytes(), numpy.float32)
one = Clip(Window(0.0, len(sound) / 16000, (Span(0.0, len(sound) / 16000),)), sound, options)
with pool.speech(options) as engine:
    tasks = set(os.listdir("/proc/self/task"))
    list(engine.transcribe([one]))  # everything that is loaded once is there
    end_s = time.monotonic() + 5
    while set(os.listdir("/proc/self/task")) - tasks and time.monotonic() < end_s:
        os.sched_yield()  # until the thread that heard is gone: the next one takes its stack
    lines = open("/proc/self/status").read().splitlines()
    used = 1024 * int(next(line.split()[1] for line in lines if "VmSize" in line))
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]), resource.RLIM_INFINITY))
    heard = list(engine.transcribe([one] * 8))
    texts = [" ".join(segment.text for segment in result.segments) for result in heard]
    print(json.dumps([texts, engine.description.reason, notes]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS works on Linux")
def test_under_a_real_limit_on_memory_the_same_is_heard_with_less(tmp_path, clips, undisturbed):
    sound = tmp_path / "sound"
    sound.write_bytes(clips[0].samples.tobytes())
    room_bytes = 6 * 2**20  # for some windows at once, not for eight
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path, sound, str(room_bytes)],
        # one heap, or what a thread may take depends on which of them it is given
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        cwd=ROOT, capture_output=True, check=False, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts, reason, notes = json.loads(done.stdout)
    expected = [text for window, _, text, _ in undisturbed[0] if window == clips[0].window]
    assert texts == [" ".join(expected)] * 8
    assert reason.startswith("out of memory with demo, float32, batch ")
    assert len(notes) > 1
