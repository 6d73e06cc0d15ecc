"""Where somebody speaks, and how the speech is packed into windows.

Goes in: samples in blocks, and a detector. Comes out: windows of at most 30 s.
Does not know: which model detects, where the samples come from, what is said.

    probabilities  one for each frame                              ▁▂▇▇▅▇▁▁▁▁▁▁▇▇▇▁▁▁▁▂▁▁▁▇▇▇▇
    spans          above the threshold, padded, at most 30 s        ├─────┤    ├──┤       ├───┤
    windows        as many spans as fit; cut only in pauses         ├─────────────┤       ├───┤

All arithmetic is in whole frames and samples; seconds appear where a value leaves.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from pipeline.types import SAMPLE_RATE_HZ, WINDOW_S, Span, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np

    from pipeline.protocols import SpeechDetector

_DIP_S = 0.16  # a split looks for the quietest stretch of this length: a short breath


@dataclass(frozen=True, slots=True)
class SpeechDetection:
    """What counts as speech, and where it may be cut. Unmarked defaults are silero-vad's."""

    threshold: float = 0.5  # speech begins at a frame at least this probable
    release_threshold: float = 0.35  # and may end at a frame less probable than this
    min_speech_s: float = 0.25  # shorter is a click or a cough, and dropped
    # Silero has 0.1, but the closures of plosives reach 0.15 s: we want pauses between phrases.
    min_silence_s: float = 0.3
    # Silero has 0.03. More costs little, and a soft first or last sound must not be cut off.
    pad_s: float = 0.2
    # Pads included. Short of 30 s, so that Whisper hears an end even where speech had to be cut.
    max_span_s: float = WINDOW_S - 0.5
    # A longer pause ends the window. Each window costs a full 30-s encoding, so short pauses are
    # bridged; but in long silences Whisper invents words and loses track of time.
    max_pause_s: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.release_threshold <= self.threshold <= 1:
            raise ValueError("wanted: 0 < release_threshold <= threshold <= 1")
        if not 1 + 2 * self.pad_s <= self.max_span_s <= WINDOW_S:
            raise ValueError("wanted: 1 + 2 * pad_s <= max_span_s <= WINDOW_S")


DEFAULT = SpeechDetection()


def find_windows(
    blocks: Iterable[np.ndarray],
    duration_s: float,
    detector: SpeechDetector,
    on_progress: Callable[[float], None],
    options: SpeechDetection = DEFAULT,
) -> tuple[Window, ...]:
    """The windows of one recording; none when nobody speaks.

    `blocks` are consecutive float32 (n,) samples at 16 kHz, any n, taken once and lazily;
    `on_progress` is told up to which second of the media they have been heard.
    """
    frame_s = detector.frame_samples / SAMPLE_RATE_HZ
    probabilities = detector.probabilities(blocks)
    watched = _watched(probabilities, frame_s, duration_s, on_progress)
    return tuple(windows(spans(watched, frame_s, duration_s, options), options))


def spans(
    probabilities: Iterable[np.ndarray],
    frame_s: float,
    duration_s: float,
    options: SpeechDetection = DEFAULT,
) -> Iterator[Span]:
    """Stretches of speech with some context: in order, disjoint, within 0 … duration_s.

    `probabilities` are consecutive float (m,) blocks, one value for each `frame_s`. Speech longer
    than `max_span_s` is split where it is quietest, into spans that touch.
    """
    frame_samples = _samples(frame_s)
    total_samples = _samples(duration_s)
    pad_samples = _samples(options.pad_s)
    max_frames = (_samples(options.max_span_s) - 2 * pad_samples) // frame_samples
    min_speech_frames = round(options.min_speech_s / frame_s)
    dip_frames = max(1, round(_DIP_S / frame_s))
    stretches = (
        (first * frame_samples, end * frame_samples)
        for start, heard in _stretches(probabilities, frame_s, options)
        if len(heard) >= min_speech_frames
        for first, end in _split(start, heard, max_frames, dip_frames)
        if first * frame_samples < total_samples
    )
    return _padded(stretches, pad_samples, total_samples)


def windows(spans: Iterable[Span], options: SpeechDetection = DEFAULT) -> Iterator[Window]:
    """Pack spans greedily into slices of at most 30 s that begin and end with a span's bounds.

    `spans` are in order and disjoint, each at most 30 s; every one ends up in exactly one window.
    """
    held: list[Span] = []
    for span in spans:
        if held and not _fits(span, held, options.max_pause_s):
            yield _window(held)
            held = []
        held.append(span)
    if held:
        yield _window(held)


def _watched(
    probabilities: Iterable[np.ndarray],
    frame_s: float,
    duration_s: float,
    on_progress: Callable[[float], None],
) -> Iterator[np.ndarray]:
    """Pass the blocks on, and tell the progress as each comes."""
    frames = 0
    for block in probabilities:
        frames += len(block)
        on_progress(min(frames * frame_s, duration_s))
        yield block


def _stretches(
    probabilities: Iterable[np.ndarray], frame_s: float, options: SpeechDetection
) -> Iterator[tuple[int, array[float]]]:
    """First frame and probabilities of each stretch of speech, however short or long.

    A stretch begins at the threshold; it ends where the probability falls below the release
    threshold and does not reach the threshold again for `min_silence_s`.
    """
    min_silence_frames = round(options.min_silence_s / frame_s)
    start, heard = 0, array("f")  # the open stretch: 4 bytes a frame, 11 MB for a day without pause
    quiet = 0  # frames at its end that may turn out to be silence
    for frame, probability in enumerate(chain.from_iterable(b.tolist() for b in probabilities)):
        if probability >= options.threshold:
            quiet = 0
            if not heard:
                start = frame
        elif not heard:
            continue
        elif quiet or probability < options.release_threshold:
            quiet += 1
        heard.append(probability)
        if quiet and quiet >= min_silence_frames:
            yield start, heard[:-quiet]
            heard, quiet = array("f"), 0
    if heard:
        yield start, heard[: len(heard) - quiet]


def _split(
    start: int, heard: array[float], max_frames: int, dip_frames: int
) -> Iterator[tuple[int, int]]:
    """First frame, and frame after the last, of the parts of a stretch; the parts touch.

    Each cut is in the later half of what is allowed, in the middle of the quietest dip, the last
    of equals. The last part gets at least a quarter, since Whisper is poor at scraps.
    """
    first = 0
    while len(heard) - first > max_frames:
        low = first + max_frames // 2
        high = min(first + max_frames, len(heard) - max_frames // 4)
        dips = range(high - dip_frames, low - 1, -1)
        quietest = min(dips, key=lambda dip: sum(heard[dip : dip + dip_frames]))
        cut = quietest + dip_frames // 2
        yield start + first, start + cut
        first = cut
    yield start + first, start + len(heard)


def _padded(
    stretches: Iterable[tuple[int, int]], pad_samples: int, total_samples: int
) -> Iterator[Span]:
    """Give each stretch (in samples) its context: at most half of the gap to its neighbour."""
    previous_end = -2 * pad_samples  # before the first and after the last there is no neighbour
    beyond = total_samples + 2 * pad_samples
    for (start, end), (next_start, _) in pairwise(chain(stretches, [(beyond, beyond)])):
        first = max(0, start - min(pad_samples, (start - previous_end) // 2))
        last = min(total_samples, end + min(pad_samples, (next_start - end) // 2))
        yield Span(first / SAMPLE_RATE_HZ, last / SAMPLE_RATE_HZ)
        previous_end = end


def _fits(span: Span, held: list[Span], max_pause_s: float) -> bool:
    """Whether a window of the held spans may take this one as well."""
    length_samples = _samples(span.end_s) - _samples(held[0].start_s)
    pause_s = span.start_s - held[-1].end_s
    return length_samples <= _samples(WINDOW_S) and pause_s <= max_pause_s


def _window(held: list[Span]) -> Window:
    return Window(held[0].start_s, held[-1].end_s, tuple(held))


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)
