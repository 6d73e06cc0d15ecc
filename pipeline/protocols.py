"""What the rooms promise each other.

Goes in: nothing. Comes out: protocols, with shapes, units and who owns what. Does not know: anyone
who keeps or uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    import numpy as np

    from pipeline.types import (
        Clip,
        EngineDescription,
        Heard,
        LanguageGuess,
        SpeechOptions,
        Stage,
        TextAnswer,
        TextEngineDescription,
        TextRequest,
    )


class SpeechDetector(Protocol):
    """Says how likely speech is, frame by frame."""

    frame_samples: int  # samples that one probability stands for

    def probabilities(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Probabilities of speech, 0 … 1, one a frame.

        Takes consecutive float32 (n,) blocks of one recording, any n, and gives consecutive
        float32 (m,) blocks with sum(m) == ceil(sum(n) / frame_samples).
        """
        ...


class SpeechEngine(Protocol):
    """Turns sound into segments. Batch-first: it decides how many clips go together."""

    @property
    def description(self) -> EngineDescription:
        """What it is, and why it was taken."""
        ...

    def detect_language(self, clips: Iterable[Clip]) -> LanguageGuess:
        """Mean language probabilities over the clips (at least one)."""
        ...

    def transcribe(self, clips: Iterable[Clip]) -> Iterator[Heard]:
        """Decode clips, of one file or of several, and yield one result for each, in order.

        Clips are taken lazily, no more than the engine keeps in work. Segments are in media time,
        in order, inside their window, and do not overlap. Raises OutOfMemory.
        """
        ...


class TextEngine(Protocol):
    """A language model that answers one question at a time."""

    @property
    def description(self) -> TextEngineDescription:
        """What it is, and why it was taken."""
        ...

    def count_tokens(self, request: TextRequest) -> int:
        """How many tokens the question takes of the context, its chat template included.

        By the model's own tokenizer. Where a server has none to ask, an upper bound.
        Raises TextEngineFailed.
        """
        ...

    def answer(self, request: TextRequest, heed: Callable[[], None]) -> TextAnswer:
        """The answer, the same each time that the same is asked.

        `heed` is called at least once a second while it waits, and may raise to make it stop.
        Raises TextEngineFailed; OutOfMemory.
        """
        ...


class Engines(Protocol):
    """Lends loaded models; whoever borrows does not know when they were loaded or go."""

    def detector(self) -> AbstractContextManager[SpeechDetector]:
        """The speech detector."""
        ...

    def speech(self, options: SpeechOptions) -> AbstractContextManager[SpeechEngine]:
        """The engine for `options.model` and `options.quantisation`.

        Raises ModelUnavailable, BadCheckpoint, OutOfMemory.
        """
        ...

    def text(self, llm: str | None) -> AbstractContextManager[TextEngine | None]:
        """The language model at `llm`; lends None where nobody insists on one, and there is none.

        Raises BadOption, ModelUnavailable, BadCheckpoint, OutOfMemory, TextEngineFailed.
        """
        ...

    def rest(self) -> None:
        """Give memory back that nobody uses now."""
        ...


class Listener(Protocol):
    """Is told what happens, for a progress bar, a log or a ledger.

    Raises nothing but KeyboardInterrupt.
    """

    def stage(self, stage: Stage, total_s: float | None) -> None:
        """A stage begins; total_s of media lie before it, None when unknown."""
        ...

    def progress(self, done_s: float) -> None:
        """This stage has worked through the media up to done_s."""
        ...

    def note(self, text: str) -> None:
        """A decision and its reason, or something a person should know."""
        ...
