"""One window on its way through the temperatures, until a text is good enough.

Goes in: a request and whisper's set-up of a search. Comes out: whether another try follows, and
whisper's result. Does not know: slots, other windows, logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.engines.decode import is_failure
from models.engines.search import Beams, Samples, result_of

if TYPE_CHECKING:
    from torch import Tensor
    from whisper.decoding import DecodingResult, DecodingTask

    from models.engines.rules import Rules
    from pipeline.types import SpeechOptions

# What all fall-backs of one window may sample before only the likeliest text goes on, so that
# nonsense takes no more than twice the time of speech.
FALL_BACK_TOKENS = 240


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A window to decode."""

    features: Tensor  # (T, d)
    options: SpeechOptions  # with a language
    seed: int  # of its samples; equal sound should have equal seeds


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A window's result. Until the next is asked for, the decoder holds the window in `place`."""

    request: Request
    result: DecodingResult
    place: int
    reason: str | None  # why not all temperatures were tried, where more were needed


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A search as whisper sets it up; the same for many windows."""

    whisper: DecodingTask
    rules: Rules

    def search(self, seed: int) -> Samples | Beams:
        """For one window."""
        whisper = self.whisper
        return Samples(whisper, seed) if whisper.options.beam_size is None else Beams(whisper)


class Hearing:
    """A request that has a place, at one of its temperatures.

    Its texts grow in step with each other, so that the same ones are cut off whoever else is heard.
    """

    def __init__(self, request: Request, place: int, task: Task) -> None:
        self.request, self.place = request, place
        self.no_speech_probability = math.nan
        self.attempt = 0
        self._spent = 0  # tokens sampled in fall-backs
        self._result: DecodingResult | None = None
        self._try(task)

    def _try(self, task: Task) -> None:
        self.task = task
        self.search = task.search(self.request.seed + self.attempt)
        self.running = 0  # rows that have a slot

    @property
    def gave_up(self) -> bool:
        """Whether the fall-backs have taken all that they may."""
        return self._spent >= FALL_BACK_TOKENS

    @property
    def may_fall_back(self) -> bool:
        """Whether there is another temperature."""
        return not self.gave_up and self.attempt + 1 < len(self.request.options.temperatures)

    def weed(self) -> None:
        """End the samples that are not worth going on with, after a token more for each."""
        assert isinstance(self.search, Samples), "beams are of use to each other"
        if self.attempt > 0:
            self._spent += self.running
        if self.gave_up:
            self.search.keep_best()
        if self.gave_up or self.may_fall_back:
            self.search.drop_hopeless(self.request.options, others_follow=not self.gave_up)

    def is_good(self) -> bool:
        """Whether the attempt, now over, is the last: good enough, or nothing is left to try."""
        self._result = result_of(
            self.task.whisper,
            self.search.found(),
            self.request.features,
            self.no_speech_probability,
        )
        return not self.may_fall_back or not is_failure(self._result, self.request.options)

    def fall_back(self, task: Task) -> None:
        """Go on to the next temperature."""
        self.attempt += 1
        self._try(task)

    def decoded(self) -> Decoded:
        """What has come of the last attempt."""
        assert self._result is not None, "it is asked for when it is good"
        reason = f"its fall-backs took {FALL_BACK_TOKENS} tokens" if self.gave_up else None
        return Decoded(self.request, self._result, self.place, reason)


@dataclass(slots=True, eq=False)
class Row:
    """What a slot holds: one text of a window."""

    hearing: Hearing
    number: int  # of the text among the window's
    length: int  # tokens that the slot holds
    token: int = -1  # the next one

    @property
    def is_over(self) -> bool:
        """Whether no token follows."""
        return self.hearing.search.is_over(self.number)

    @property
    def sampled(self) -> list[int]:
        """Its tokens after those that it was given."""
        return self.hearing.search.sampled(self.number)
