"""Spans and windows, on made-up probabilities."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.speech import DEFAULT, SpeechDetection, find_windows, spans, windows
from pipeline.types import SAMPLE_RATE_HZ, Span, Window

FRAME_SAMPLES = 512
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
WINDOW_SAMPLES = 480_000


class LoudnessDetector:
    """Complete and simple: a frame is speech as far as it is loud. Frames of 10 ms."""

    frame_samples = 160

    def probabilities(self, blocks):
        rest = np.zeros(0, np.float32)
        for block in blocks:
            rest = np.concatenate([rest, block])
            whole = len(rest) - len(rest) % self.frame_samples
            if whole:
                yield self._loudness(rest[:whole])
            rest = rest[whole:]
        if len(rest):
            yield self._loudness(np.pad(rest, (0, self.frame_samples - len(rest))))

    def _loudness(self, samples):
        return np.abs(samples).reshape(-1, self.frame_samples).mean(axis=1)


def track(*runs):
    """Probabilities of consecutive runs, each (probability, frames)."""
    return np.concatenate(
        [np.full(frames, probability, np.float32) for probability, frames in runs]
    )


def frames(seconds):
    return round(seconds / FRAME_S)


def samples(seconds):
    return round(seconds * SAMPLE_RATE_HZ)


def spans_of(probabilities, options=DEFAULT, duration_s=None):
    length_s = len(probabilities) * FRAME_S
    return list(spans([probabilities], FRAME_S, duration_s or length_s, options))


def cut(items, places):
    return np.split(items, sorted(place % (len(items) + 1) for place in places))


levels = st.sampled_from([0.0, 0.2, 0.34, 0.36, 0.49, 0.5, 0.7, 0.99, 1.0])
lengths = st.one_of(st.integers(1, 20), st.integers(1, 300), st.integers(800, 2500))
tracks = st.lists(st.tuples(levels, lengths), min_size=1, max_size=14).map(lambda r: track(*r))
noises = st.integers(0, 10_000).map(
    lambda seed: np.random.default_rng(seed).beta(0.4, 0.3, 3_000).astype(np.float32)
)
probabilities = st.one_of(tracks, noises)
detections = st.builds(
    SpeechDetection,
    min_speech_s=st.sampled_from([0.0, 0.1, 0.25]),
    min_silence_s=st.sampled_from([0.0, 0.1, 0.3, 2.0]),
    pad_s=st.sampled_from([0.0, 0.03, 0.2, 1.0]),
    max_span_s=st.sampled_from([3.0, 10.0, 29.5, 30.0]),
    max_pause_s=st.sampled_from([0.0, 1.0, 3.0, 30.0]),
)
modest = settings(max_examples=60, deadline=None)


@modest
@given(probabilities, detections, st.integers(0, FRAME_SAMPLES - 1))
def test_spans_are_in_order_disjoint_inside_the_media_and_short_enough(heard, options, missing):
    total = len(heard) * FRAME_SAMPLES - missing  # the last frame may be a part of one
    found = spans_of(heard, options, total / SAMPLE_RATE_HZ)
    for span in found:
        assert 0 <= span.start_s < span.end_s <= total / SAMPLE_RATE_HZ
        assert samples(span.end_s) - samples(span.start_s) <= samples(options.max_span_s)
    for one, other in pairwise(found):
        assert one.end_s <= other.start_s


@modest
@given(probabilities, detections)
def test_no_speech_of_the_minimal_length_is_lost(heard, options):
    found = spans_of(heard, options)
    covered = np.zeros(len(heard) * FRAME_SAMPLES, bool)
    for span in found:
        covered[samples(span.start_s) : samples(span.end_s)] = True
    edges = np.flatnonzero(np.diff(heard >= options.threshold, prepend=False, append=False))
    for start, end in edges.reshape(-1, 2):
        if (end - start) * FRAME_S >= options.min_speech_s:
            assert covered[start * FRAME_SAMPLES : end * FRAME_SAMPLES].all()


@modest
@given(probabilities, detections)
def test_every_span_holds_speech(heard, options):
    shortest_part_s = (options.max_span_s - 2 * options.pad_s) / 4 - 2 * FRAME_S
    for span in spans_of(heard, options):
        if span.end_s - span.start_s < shortest_part_s:  # no part of a split stretch
            start, end = samples(span.start_s), samples(span.end_s)
            first, last = start // FRAME_SAMPLES, -(-end // FRAME_SAMPLES)
            assert (heard[first:last] >= options.threshold).any()


@modest
@given(probabilities, detections)
def test_every_span_is_in_exactly_one_window_and_windows_fit_into_whisper(heard, options):
    found = spans_of(heard, options)
    packed = list(windows(found, options))
    assert [span for window in packed for span in window.spans] == found
    for window in packed:
        assert window.start_s == window.spans[0].start_s
        assert window.end_s == window.spans[-1].end_s
        assert samples(window.end_s) - samples(window.start_s) <= WINDOW_SAMPLES
        assert all(b.start_s - a.end_s <= options.max_pause_s for a, b in pairwise(window.spans))
    for one, other in pairwise(packed):
        assert one.end_s <= other.start_s


@modest
@given(probabilities, detections, st.lists(st.integers(0, 100_000), max_size=20))
def test_the_size_of_the_blocks_changes_nothing(heard, options, places):
    whole = spans_of(heard, options)
    assert list(spans(cut(heard, places), FRAME_S, len(heard) * FRAME_S, options)) == whole


@given(st.integers(0, 2_000))
@modest
def test_silence_gives_nothing(n_frames):
    assert spans_of(track((0.34, n_frames))) == []
    assert list(windows([])) == []


def test_ten_minutes_without_a_pause_are_split_with_nothing_lost_between():
    total = 600 * SAMPLE_RATE_HZ
    found = spans_of(track((1.0, -(-total // FRAME_SAMPLES))), duration_s=600.0)
    assert found[0].start_s == 0
    assert found[-1].end_s == 600
    assert all(one.end_s == other.start_s for one, other in pairwise(found))
    assert len(found) == 21  # as few as can be
    assert min(span.end_s - span.start_s for span in found) > 7  # and no scraps
    assert [window.spans for window in windows(found)] == [(span,) for span in found]


def test_too_long_a_stretch_is_split_in_its_longest_short_dip():
    heard = track((0.9, 500), (0.1, 2), (0.9, 100), (0.1, 6), (0.9, 100), (0.1, 2), (0.9, 300))
    one, other = spans_of(heard)
    assert one.end_s == other.start_s
    assert samples(one.end_s) / FRAME_SAMPLES == pytest.approx(500 + 2 + 100 + 3, abs=1)


def test_a_dip_above_the_release_threshold_does_not_end_speech():
    steady = track((0, 50), (0.9, 50), (0.36, 50), (0.9, 50), (0, 50))
    broken = track((0, 50), (0.9, 50), (0.34, 50), (0.9, 50), (0, 50))
    assert len(spans_of(steady)) == 1
    assert len(spans_of(broken)) == 2


def test_speech_that_fell_silent_must_reach_the_threshold_to_go_on():
    heard = track((0.9, 50), (0.34, 1), (0.49, 30), (0.9, 50))
    one, other = spans_of(heard)
    assert (one.end_s, other.start_s) == (50 * FRAME_S + 0.2, 81 * FRAME_S - 0.2)


def test_a_stretch_is_split_only_if_it_would_be_too_long_with_its_context():
    most = int((29.5 - 2 * 0.2) / FRAME_S)
    assert len(spans_of(track((0, 50), (0.9, most), (0, 50)))) == 1
    assert len(spans_of(track((0, 50), (0.9, most + 1), (0, 50)))) == 2


def test_speech_does_not_begin_below_the_threshold():
    assert spans_of(track((0, 50), (0.49, 200), (0, 50))) == []


def test_a_short_silence_is_bridged_and_a_long_one_is_not():
    short, long = frames(0.25), frames(0.35)
    assert len(spans_of(track((0.9, 50), (0.0, short), (0.9, 50)))) == 1
    assert len(spans_of(track((0.9, 50), (0.0, long), (0.9, 50)))) == 2


def test_a_click_is_dropped_and_a_short_word_is_kept():
    assert spans_of(track((0, 50), (1.0, 7), (0, 50))) == []  # 0.224 s
    assert len(spans_of(track((0, 50), (1.0, 8), (0, 50)))) == 1  # 0.256 s


def test_a_span_has_context_on_both_sides():
    (span,) = spans_of(track((0, 50), (0.9, 50), (0, 50)))
    assert span == Span(1.4, 3.4)  # the speech is at 1.6 … 3.2


def test_neighbours_share_the_gap_when_it_is_too_small_for_both_contexts():
    one, other = spans_of(track((0, 50), (0.9, 50), (0, 10), (0.9, 50), (0, 50)))
    assert one.end_s == other.start_s == 105 * FRAME_S


def test_context_ends_where_the_media_ends():
    (span,) = spans_of(track((0, 2), (0.9, 50), (0, 2)), duration_s=53.5 * FRAME_S)
    assert span == Span(0.0, 53.5 * FRAME_S)


def test_probabilities_beyond_the_media_are_ignored():
    heard = track((0.9, 50), (0, 50), (0.9, 50))
    assert spans_of(heard, duration_s=90 * FRAME_S) == spans_of(heard[:90])


def test_windows_are_filled_up_to_thirty_seconds_and_not_beyond():
    fitting = [Span(0.0, 10.0), Span(11.0, 20.0), Span(21.0, 30.0)]
    assert list(windows(fitting)) == [Window(0.0, 30.0, tuple(fitting))]
    longer = [*fitting[:2], Span(21.0, 30.0 + 1 / SAMPLE_RATE_HZ)]
    assert [window.spans for window in windows(longer)] == [tuple(longer[:2]), (longer[2],)]


def test_a_long_pause_ends_the_window():
    around = [Span(0.0, 2.0), Span(5.0, 7.0), Span(10.5, 12.0)]
    assert [len(window.spans) for window in windows(around)] == [2, 1]
    assert [len(w.spans) for w in windows(around, SpeechDetection(max_pause_s=4.0))] == [3]


def test_windows_come_as_soon_as_they_are_full():
    def endless():
        second = 0
        while True:
            yield Span(second + 0.0, second + 0.5)
            second += 1

    assert next(windows(endless())).end_s == 29.5


def test_spans_come_while_the_recording_goes_on():
    def endless():
        while True:
            yield track((0.9, 50), (0.0, 50))

    found = spans(endless(), FRAME_S, 1e6)
    assert [next(found).start_s for _ in range(3)] == [
        0.0,
        100 * FRAME_S - 0.2,
        200 * FRAME_S - 0.2,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"release_threshold": 0.6},
        {"release_threshold": 0.0},
        {"threshold": 1.1},
        {"max_span_s": 30.1},
        {"max_span_s": 1.0},
    ],
)
def test_options_that_cannot_be_kept_are_refused(wrong):
    with pytest.raises(ValueError, match="wanted"):
        SpeechDetection(**wrong)


def test_find_windows_goes_from_samples_to_windows():
    sound = np.zeros(60 * SAMPLE_RATE_HZ + 77, np.float32)
    for start_s, end_s in ((5, 8), (10, 12), (40, 60)):
        sound[start_s * SAMPLE_RATE_HZ : end_s * SAMPLE_RATE_HZ] = 0.9
    told = []
    found = find_windows(
        np.array_split(sound, 13), len(sound) / SAMPLE_RATE_HZ, LoudnessDetector(), told.append
    )
    first, second = Span(4.8, 8.2), Span(9.8, 12.2)
    third = Span(39.8, len(sound) / SAMPLE_RATE_HZ)
    assert found == (Window(4.8, 12.2, (first, second)), Window(39.8, third.end_s, (third,)))
    assert told == sorted(told)
    assert told[-1] == len(sound) / SAMPLE_RATE_HZ


def test_find_windows_of_silence_is_empty():
    quiet = [np.zeros(SAMPLE_RATE_HZ, np.float32)] * 3
    assert find_windows(quiet, 3.0, LoudnessDetector(), [].append) == ()
    assert find_windows([], 0.0, LoudnessDetector(), [].append) == ()
