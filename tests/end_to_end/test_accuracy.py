"""The whole program hears well: `make accuracy` prints the figures behind these bounds."""

from __future__ import annotations

import pytest

from tests.benchmarks.accuracy import measure


# whisper's normaliser leaves its table of spellings open
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_bundled_recordings_are_heard_and_timed_well():
    episode, clips = measure()
    assert episode.word_error_rate < 0.03
    assert clips.word_error_rate < 0.03
    assert episode.starts_matched >= 55
    assert episode.start_error_median_s < 0.05


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_float32_hears_as_well():
    episode, clips = measure("float32")
    assert episode.word_error_rate < 0.03
    assert clips.word_error_rate < 0.03
