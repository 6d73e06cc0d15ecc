"""Engines that say what a script says, without models.

Goes in: clips and samples, as for any engine. Comes out: what the script gives for them.
Does not know: what is in the sound. They remember what they were asked, and can fail on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from pipeline.types import (
    SAMPLE_RATE_HZ,
    EngineDescription,
    Heard,
    LanguageGuess,
    Segment,
    Window,
    Word,
)

if TYPE_CHECKING:
    import numpy as np

    from pipeline.protocols import SpeechDetector, SpeechEngine, TextEngine
    from pipeline.types import Clip, Span, SpeechOptions

Script = Callable[[Window], tuple[Segment, ...]]
Failure = tuple[int, Exception]  # the clip, counted from 0 over all calls, and what is raised at it

DESCRIPTION = EngineDescription(
    model="scripted",
    quantisation="float32",
    device="cpu",
    languages=("en", "de"),
    can_translate=True,
    reason="it says what its script says",
)

ENGLISH = LanguageGuess("en", 1.0)


class ScriptedEngine:
    """A `pipeline.protocols.SpeechEngine`.

    `script` is a function of the window, or texts: the n-th clip gets the n-th, over and over.
    Clips are taken `batch_size` at a time; with the batch that holds the failing clip, `failure` is
    raised, once, before any of its results is given. From the clip of `change` on, another
    description holds, as after a lack of memory.
    """

    def __init__(
        self,
        script: Script | tuple[str, ...] = ("Hello.",),
        description: EngineDescription = DESCRIPTION,
        batch_size: int = 1,
        failure: Failure | None = None,
        guess: LanguageGuess = ENGLISH,
        change: tuple[int, EngineDescription] | None = None,
    ) -> None:
        self._script = script
        self._description = description
        self._batch_size = batch_size
        self._failure = failure
        self._guess = guess
        self._change = change
        self.asked: list[Clip] = []  # clips to transcribe, in order
        self.batches: list[int] = []  # how many clips went together
        self.asked_for_language: list[Clip] = []

    @property
    def description(self) -> EngineDescription:
        """As it was given for the clip that was asked last."""
        if self._change is not None and len(self.asked) > self._change[0]:
            return self._change[1]
        return self._description

    def detect_language(self, clips: Iterable[Clip]) -> LanguageGuess:
        """The same guess, whatever is heard."""
        heard = list(clips)
        assert heard, "a language is asked over one clip or more"
        self.asked_for_language += heard
        return self._guess

    def transcribe(self, clips: Iterable[Clip]) -> Iterator[Heard]:
        """What the script says for each clip, in order."""
        source = iter(clips)
        while batch := list(islice(source, self._batch_size)):
            first = len(self.asked)
            self.asked += batch
            self.batches.append(len(batch))
            if self._failure is not None and first <= self._failure[0] < len(self.asked):
                raise self._failure[1]
            for number, clip in enumerate(batch, first):
                yield Heard(clip.window, self._segments(clip.window, number))

    def _segments(self, window: Window, number: int) -> tuple[Segment, ...]:
        if callable(self._script):
            return self._script(window)
        return spoken(window, self._script[number % len(self._script)])


def spoken(window: Window, text: str) -> tuple[Segment, ...]:
    """The text, evenly spoken from the window's first speech to its last; no text: no segment."""
    texts = text.split()
    if not texts:
        return ()
    start_s, end_s = window.spans[0].start_s, window.spans[-1].end_s
    times_s = [start_s + (end_s - start_s) * n / len(texts) for n in range(len(texts))] + [end_s]
    words = tuple(
        Word(times_s[n], times_s[n + 1], f" {word}", probability=1.0)
        for n, word in enumerate(texts)
    )
    return (
        Segment(
            start_s,
            end_s,
            " ".join(texts),
            words,
            temperature=0.0,
            average_log_probability=-0.1,
            compression_ratio=1.0,
            no_speech_probability=0.0,
        ),
    )


class ScriptedDetector:
    """A `pipeline.protocols.SpeechDetector`: probability 1 where a frame touches a span, else 0."""

    def __init__(self, spans: tuple[Span, ...], frame_samples: int = 512) -> None:
        self.frame_samples = frame_samples
        self._spans = spans
        self.heard_samples: list[int] = []  # the length of each recording

    def probabilities(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """One block of probabilities for each block of samples; the last frame may be short."""
        total_samples = done_frames = 0
        for block in blocks:
            total_samples += len(block)
            frames = total_samples // self.frame_samples
            yield self._between(done_frames, frames)
            done_frames = frames
        yield self._between(done_frames, -(-total_samples // self.frame_samples))
        self.heard_samples.append(total_samples)

    def _between(self, first: int, end: int) -> np.ndarray:
        import numpy as np

        start_s = np.arange(first, end) * self.frame_samples / SAMPLE_RATE_HZ
        end_s = start_s + self.frame_samples / SAMPLE_RATE_HZ
        speech = np.zeros(end - first, bool)
        for span in self._spans:
            speech |= (start_s < span.end_s) & (end_s > span.start_s)
        return speech.astype(np.float32)


class ScriptedEngines:
    """A `pipeline.protocols.Engines` that lends what it was given, or raises `failure`."""

    def __init__(
        self, engine: SpeechEngine, detector: SpeechDetector, failure: Exception | None = None
    ) -> None:
        self._engine = engine
        self._detector = detector
        self._failure = failure
        self.lent: list[SpeechOptions] = []  # what speech engines were asked for

    @contextmanager
    def detector(self) -> Iterator[SpeechDetector]:
        """The detector."""
        yield self._detector

    @contextmanager
    def speech(self, options: SpeechOptions) -> Iterator[SpeechEngine]:
        """The engine, whatever the options."""
        self.lent.append(options)
        if self._failure is not None:
            raise self._failure
        yield self._engine

    @contextmanager
    def text(self, llm: str | None) -> Iterator[TextEngine | None]:  # noqa: ARG002  - the protocol's
        """None: it lends ears only."""
        yield None

    def rest(self) -> None:
        """It has nothing to give back."""
