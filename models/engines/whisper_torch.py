"""Whisper on torch, many windows at once.

Goes in: clips, of one file or of several. Comes out: the segments of each, in order.
Does not know: where the model came from, files, or what the segments are for. Where memory runs
out, it goes on with what it is lent instead; nothing that was heard is heard again.

    clips ─► batch ─► encode ─► decode, with whisper's fall-back ─► cut ─► words ─► segments
               ▲                                                     │
               └──────── parts of a window that were not heard ──────┘
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from models.engines.decode import decode_batch, encode, is_repetitive, is_silence, quiet
from models.engines.segments import build, cut, part_of, settle
from models.engines.words import align
from models.shortage import is_shortage
from pipeline.types import SAMPLE_RATE_HZ, Clip, Heard, LanguageGuess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from torch import Tensor
    from whisper.decoding import DecodingResult
    from whisper.model import Whisper
    from whisper.tokenizer import Tokenizer

    from pipeline.types import EngineDescription, Segment, Task, Window, Word

    T = TypeVar("T")

MAX_ROUNDS = 16  # how often the rest of a window is heard: a bound on work, not met by speech


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model on its device, and how many windows it hears at once."""

    model: Whisper
    description: EngineDescription
    batch_size: int = 8


@dataclass(slots=True)
class _Open:
    """A clip that was taken and is not answered yet."""

    clip: Clip
    segments: list[Segment] = field(default_factory=list)
    unheard: int = 1  # parts of it that are still to be heard


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A clip, or what is left of it, to be heard in the next batch."""

    of: _Open
    clip: Clip
    round: int = 1


class WhisperTorch:
    """A `pipeline.protocols.SpeechEngine`. The model is the same after every call as before it.

    `relieve` gives something that needs less memory in place of what ran out of it, and takes the
    other's memory back; it raises OutOfMemory when nothing is left.
    """

    def __init__(self, loaded: Loaded, relieve: Callable[[Loaded], Loaded]) -> None:
        self._loaded = loaded
        self._relieve = relieve

    @property
    def description(self) -> EngineDescription:
        """What hears now."""
        return self._loaded.description

    def detect_language(self, clips: Iterable[Clip]) -> LanguageGuess:
        """Mean probabilities over the clips (at least one); a model of English is not asked."""
        if not self._loaded.model.is_multilingual:
            return LanguageGuess("en", None)
        waiting = list(clips)
        rows: list[dict[str, float]] = []
        while batch := waiting[len(rows) : len(rows) + self._loaded.batch_size]:
            rows += self._within_memory(partial(_language_probabilities, clips=batch)) or []
        means = {code: sum(row[code] for row in rows) / len(rows) for code in rows[0]}
        language = max(means, key=lambda code: means[code])
        return LanguageGuess(language, means[language])

    def transcribe(self, clips: Iterable[Clip]) -> Iterator[Heard]:
        """Decode clips in batches and yield one result for each, in order."""
        source = iter(clips)
        opened: deque[_Open] = deque()
        parts: list[_Part] = []
        while True:
            parts += self._fresh(source, len(parts), opened)
            if not parts:
                return
            batch, rest = parts[: self._loaded.batch_size], parts[self._loaded.batch_size :]
            again: list[_Part] = []
            self._within_memory(partial(_hear, batch=batch, again=again))
            parts = [*again, *batch, *rest]
            while opened and opened[0].unheard == 0:
                done = opened.popleft()
                segments = sorted(done.segments, key=lambda segment: segment.start_s)
                yield Heard(done.clip.window, tuple(segments))

    def _within_memory(self, work: Callable[[Whisper], T]) -> T | None:
        """What the work gives; None if memory ran out, so that the rest is to be done with less."""
        try:
            return work(self._loaded.model)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
        # Only now is what the exception's frames held free.
        self._loaded = self._relieve(self._loaded)
        return None

    def _fresh(self, source: Iterator[Clip], waiting: int, opened: deque[_Open]) -> list[_Part]:
        """New clips to fill a batch, unless too many wait for an older one to be answered."""
        batch_size = self._loaded.batch_size
        room = min(batch_size - waiting, 2 * batch_size - len(opened))
        fresh = [_Open(clip) for clip in islice(source, max(0, room))]
        opened.extend(fresh)
        return [_Part(one, one.clip) for one in fresh]


def _hear(model: Whisper, batch: list[_Part], again: list[_Part]) -> None:
    """Decode the parts of the batch together, and note their segments.

    Each part leaves the batch when it is heard; what is left to hear of it goes to `again`.
    """
    import torch

    clips = [part.clip for part in batch]
    with torch.inference_mode(), quiet(), _hooks_restored(model):
        features = encode(model, clips)
        results = decode_batch(model, features, clips)
        for part, encoded, result in zip(tuple(batch), features, results, strict=True):
            may_continue = part.round < MAX_ROUNDS
            segments, rest = _read(model, part.clip, encoded, result, may_continue=may_continue)
            part.of.segments += segments
            part.of.unheard += len(rest) - 1
            again += [
                _Part(part.of, _clip_of(part.clip, window), part.round + 1) for window in rest
            ]
            batch.remove(part)


def _read(
    model: Whisper, clip: Clip, features: Tensor, result: DecodingResult, *, may_continue: bool
) -> tuple[tuple[Segment, ...], tuple[Window, ...]]:
    """The segments of one decoded clip, and the windows that are left to hear."""
    options = clip.options
    if is_silence(result, options):
        return (), ()
    tokenizer = _tokenizer(model, result.language, options.task)
    # decoding stops after half of the text context, a little earlier with a long prompt
    full = len(result.tokens) >= model.dims.n_text_ctx // 2 - 2
    duration_s = len(clip.samples) / SAMPLE_RATE_HZ
    found = cut(
        result.tokens,
        timestamp_begin=tokenizer.timestamp_begin,
        eot=tokenizer.eot,
        duration_s=duration_s,
        truncated=full and not is_repetitive(result, options),
    )
    pieces, rest = settle(clip.window, found, may_continue=may_continue)
    texts = [tokenizer.decode(list(piece.tokens)) for piece in pieces]
    words: tuple[tuple[Word, ...], ...] = ((),) * len(pieces)
    if options.word_times and options.task == "transcribe":
        words = align(model, tokenizer, features, pieces, duration_s)
    heard = part_of(clip.window, clip.window.start_s, rest[0].start_s) if rest else clip.window
    return build(heard, pieces, texts, words, result), rest


def _clip_of(clip: Clip, window: Window) -> Clip:
    """The sound of a window inside the clip's own."""
    first = round((window.start_s - clip.window.start_s) * SAMPLE_RATE_HZ)
    last = round((window.end_s - clip.window.start_s) * SAMPLE_RATE_HZ)
    return Clip(window, clip.samples[first:last], clip.options)


def _tokenizer(model: Whisper, language: str, task: Task) -> Tokenizer:
    from whisper.tokenizer import get_tokenizer

    return get_tokenizer(
        model.is_multilingual, num_languages=model.num_languages, language=language, task=task
    )


def _language_probabilities(model: Whisper, clips: Sequence[Clip]) -> list[dict[str, float]]:
    """The probability of each language code, clip by clip."""
    import torch
    from whisper.decoding import detect_language

    with torch.inference_mode(), quiet():
        rows: list[dict[str, float]] = detect_language(model, encode(model, clips))[1]
    return rows


@contextmanager
def _hooks_restored(model: Whisper) -> Iterator[None]:
    """Remove the hooks that `whisper.timing` leaves behind when an exception comes."""
    tables = [module._forward_hooks for module in model.decoder.modules()]  # noqa: SLF001  - torch lists them nowhere else
    before = [set(table) for table in tables]
    try:
        yield
    finally:
        for table, known in zip(tables, before, strict=True):
            for key in set(table) - known:
                del table[key]
