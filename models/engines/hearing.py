"""One window on its way through the temperatures, until a text is good enough.

Goes in: a request and whisper's set-up of a search. Comes out: whether another try follows, and
whisper's result. Does not know: slots, other windows, logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from models.engines.decode import is_failure, is_repetitive
from models.engines.search import Beams, Found, Samples, loop_at, result_of

if TYPE_CHECKING:
    from torch import Tensor
    from whisper.decoding import DecodingResult, DecodingTask

    from models.engines.rules import Rules
    from pipeline.types import SpeechOptions

# What all tries of one window may sample together, so that nonsense takes no more than twice the
# time of speech: a CPU encodes a window in the time of 84 to 112 tokens, and speech has 80 to 100.
# More samples than whisper's five, or beams, take their time with speech, too.
WINDOW_TOKENS = 240
_A_SAMPLE = 48
_WORTH_TRYING = 1 / 5  # of all; with less left, no other temperature is tried
_CHOOSING = 1 / 3  # of what is left, for all samples of a try; after it, the likeliest grows alone


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
    is_whole: bool  # whether the text came to an end of its own


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
        self._budget = max(WINDOW_TOKENS, _A_SAMPLE * request.options.best_of)  # tokens
        self._spent = 0  # of it
        self._tried: list[_Tried] = []
        self._try(task)

    def _try(self, task: Task) -> None:
        self.task = task
        self.search = task.search(self.request.seed + self.attempt)
        self.running = 0  # rows that have a slot
        self._chosen_at = self._spent + (self._budget - self._spent) * _CHOOSING

    @property
    def may_fall_back(self) -> bool:
        """Whether there is another temperature, and something left to spend on it."""
        is_last = self.attempt + 1 == len(self.request.options.temperatures)
        return not is_last and self._budget - self._spent >= self._budget * _WORTH_TRYING

    def weed(self) -> None:
        """End the samples that are not worth going on with, after a token more for each."""
        assert isinstance(self.search, Samples), "beams are of use to each other"
        self._spent += self.running if self.attempt else 1
        if self.attempt and self._spent >= self._chosen_at:
            self.search.keep_best()
        if self.attempt and self._spent >= self._budget:
            self.search.stop()
        if self.may_fall_back:
            self.search.drop_hopeless(self.request.options)

    def is_good(self) -> bool:
        """Whether the attempt, now over, is the last: good enough, or nothing is left to try."""
        found = self.search.found()
        features, no_speech = self.request.features, self.no_speech_probability
        result = result_of(self.task.whisper, found, features, no_speech)
        self._tried.append(_Tried(result, found.is_whole))
        is_fair = found.is_whole and not is_failure(result, self.request.options)
        return is_fair or not self.may_fall_back

    def fall_back(self, task: Task) -> None:
        """Go on to the next temperature."""
        self.attempt += 1
        self._try(task)

    def decoded(self) -> Decoded:
        """What has come of it: the last attempt's text, as in whisper.

        Where that one was cut short, the likeliest of those that came to an end of their own; if
        there is none, the one that says most before it repeats itself.
        """
        last = self._tried[-1]
        if not last.is_whole:
            cut = [self._before_loop(one) for one in self._tried]
            whole = [one for one in cut if one.is_whole]
            last = max(whole, key=_likelihood) if whole else max(cut, key=self._substance)
        return Decoded(self.request, last.result, self.place, last.is_whole)

    def _before_loop(self, one: _Tried) -> _Tried:
        """The attempt without the loop that its text ends in."""
        whisper, result = self.task.whisper, one.result
        end = loop_at(result.tokens, whisper.tokenizer.timestamp_begin)
        if end is None:
            return one
        found = Found(result.tokens[:end], result.avg_logprob * (end + 1))
        cut = result_of(whisper, found, result.audio_features, result.no_speech_prob)
        return _Tried(replace(cut, temperature=result.temperature), is_whole=False)

    def _substance(self, one: _Tried) -> tuple[bool, int]:
        return not is_repetitive(one.result, self.request.options), len(one.result.tokens)


class _Tried(NamedTuple):
    """What came of one attempt."""

    result: DecodingResult
    is_whole: bool


def _likelihood(one: _Tried) -> float:
    likelihood: float = one.result.avg_logprob
    return likelihood


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
