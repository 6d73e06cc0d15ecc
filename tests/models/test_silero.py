"""SileroDetector against silero-vad's own frame-by-frame loop, on the demo recordings."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import srt
import torch

from models import demo
from models.engines.silero import SileroDetector
from pipeline.speech import spans
from pipeline.types import SAMPLE_RATE_HZ

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = (*(clip.path for clip in demo.clips()), demo.EPISODE)
FRAME_S = 512 / SAMPLE_RATE_HZ


def one_by_one(samples):
    """The probabilities as silero-vad computes them: its own wrapper, one frame at a time."""
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from silero_vad import load_silero_vad

        model = load_silero_vad(onnx=False)
    torch.set_num_threads(1)  # several threads make this loop ten times slower on a busy machine
    frames = np.pad(samples, (0, -len(samples) % 512)).reshape(-1, 512)
    with torch.inference_mode():
        result = [model(torch.from_numpy(frame), SAMPLE_RATE_HZ).item() for frame in frames]
    torch.set_num_threads(threads)
    return np.array(result, np.float32)


def joined(detector, blocks):
    return np.concatenate([np.zeros(0, np.float32), *detector.probabilities(blocks)])


def blocks_of(samples, size):
    return (samples[start : start + size] for start in range(0, len(samples), size))


@pytest.fixture(scope="module")
def detector():
    return SileroDetector()


@pytest.fixture(scope="module")
def episode(samples_of):
    return samples_of(demo.EPISODE)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name)
def test_probabilities_and_spans_are_those_of_the_frame_by_frame_loop(detector, samples_of, path):
    samples = samples_of(path)
    duration_s = len(samples) / SAMPLE_RATE_HZ
    ours, theirs = joined(detector, [samples]), one_by_one(samples)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    found = list(spans([ours], FRAME_S, duration_s))
    assert found
    assert found == list(spans([theirs], FRAME_S, duration_s))


def test_every_sentence_of_the_episode_lies_in_the_spans(detector, episode):
    found = list(spans([joined(detector, [episode])], FRAME_S, len(episode) / SAMPLE_RATE_HZ))
    for cue in srt.parse(demo.EPISODE_REFERENCE.read_text(encoding="utf-8")):
        start_s, end_s = cue.start.total_seconds(), cue.end.total_seconds()
        assert any(s.start_s <= start_s and end_s <= s.end_s for s in found), cue.content
    assert sum(s.end_s - s.start_s for s in found) < 0.95 * len(episode) / SAMPLE_RATE_HZ


@pytest.mark.parametrize("size", [160, 5_000, 512 * 512, 512 * 512 + 1])
def test_the_size_of_the_blocks_changes_nothing(detector, episode, size):
    samples = episode[: 40 * SAMPLE_RATE_HZ]  # two whole batches and a part
    expected = joined(detector, [samples])
    assert np.array_equal(joined(detector, blocks_of(samples, size)), expected)


@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(0, 0), (1, 1), (511, 1), (512, 1), (513, 2), (512 * 512, 512), (512 * 512 + 1, 513)],
)
def test_there_is_one_probability_for_each_begun_frame(detector, n_samples, n_frames):
    assert len(joined(detector, [np.zeros(n_samples, np.float32)])) == n_frames


def test_no_blocks_and_empty_blocks_give_nothing(detector):
    assert list(detector.probabilities([])) == []
    assert list(detector.probabilities([np.zeros(0, np.float32)] * 3)) == []


def test_the_last_frame_is_filled_with_silence(detector, episode):
    samples = episode[: SAMPLE_RATE_HZ + 100]
    filled = np.pad(samples, (0, -len(samples) % 512))
    assert np.array_equal(joined(detector, [samples]), joined(detector, [filled]))


def test_silence_and_hiss_are_not_speech(detector):
    hiss = np.random.default_rng(1).normal(0, 0.01, 10 * SAMPLE_RATE_HZ).astype(np.float32)
    assert joined(detector, [np.zeros_like(hiss)]).max() < 0.35
    assert joined(detector, [hiss]).max() < 0.35


def test_recordings_heard_at_the_same_time_do_not_disturb_each_other(detector, episode):
    first, second = episode[: 40 * SAMPLE_RATE_HZ], episode[-40 * SAMPLE_RATE_HZ :]
    pairs = zip(detector.probabilities([first]), detector.probabilities([second]), strict=True)
    ours_first, ours_second = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    assert np.array_equal(ours_first, joined(detector, [first]))
    assert np.array_equal(ours_second, joined(detector, [second]))


def test_the_blocks_are_taken_lazily(detector):
    taken = []

    def blocks():
        while True:
            taken.append(1)
            yield np.zeros(SAMPLE_RATE_HZ, np.float32)

    probabilities = detector.probabilities(blocks())
    for _ in range(3):
        next(probabilities)
    assert len(taken) == 50  # three batches of 16.384 s


def test_the_blocks_that_were_given_stay_as_they_were(detector, episode):
    samples = episode[: 20 * SAMPLE_RATE_HZ].copy()
    joined(detector, [samples])
    assert np.array_equal(samples, episode[: 20 * SAMPLE_RATE_HZ])


def test_torchs_threads_and_seed_are_left_alone_and_no_warning_escapes():
    code = """
import numpy, torch
from models.engines.silero import SileroDetector
torch.set_num_threads(3)
torch.manual_seed(7)
list(SileroDetector().probabilities([numpy.ones(1000, numpy.float32)]))
drawn = torch.rand(4)
torch.manual_seed(7)
assert torch.equal(drawn, torch.rand(4)), "seed"
assert torch.get_num_threads() == 3, torch.get_num_threads()
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
