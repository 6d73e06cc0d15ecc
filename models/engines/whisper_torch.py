"""Whisper on torch, many windows at once.

Goes in: clips, of one file or of several. Comes out: the segments of each.
Does not know: where the model came from, files, or what the segments are for. Where memory runs
out, it goes on with what it is lent instead; nothing that was heard is heard again.

    clips ─► encode ─► decode, with whisper's fall-back ─► cut ─► words ─► segments
               ▲                                            │
               └────── parts of a window that were not heard ┘
"""

from __future__ import annotations

import zlib
from collections import deque
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from models.engines.decode import quiet
from models.engines.desk import Desk, Question, Taken
from models.engines.hearing import Request
from models.engines.languages import likeliest
from models.engines.reading import read
from models.engines.slots import Slots
from models.engines.spectrum import log_mels
from models.shortage import is_shortage, trim
from pipeline.types import Heard, LanguageGuess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from models.engines.hearing import Decoded
    from models.engines.loaded import Loaded
    from pipeline.types import Clip, EngineDescription

# Clips that are taken before the first of them is answered, for each that is heard at once: one
# that takes its time holds back the answers of those after it, but not their hearing.
AHEAD = 2
_MOST_AHEAD = 32  # beyond a batch: 60 MB of sound


class WhisperTorch:
    """A `pipeline.protocols.SpeechEngine`.

    `relieve` gives something that needs less memory in place of what ran out of it, and takes the
    other's memory back; it raises OutOfMemory when nothing is left.
    """

    def __init__(self, loaded: Loaded, relieve: Callable[[Loaded], Loaded]) -> None:
        self._loaded = loaded
        self._relieve = relieve
        self._exhausted: Exception | None = None  # why nothing is left to hear with

    @property
    def description(self) -> EngineDescription:
        """What hears now."""
        return self._loaded.description

    @property
    def ahead(self) -> int:
        """How many clips may be taken and not be answered yet, so that none is waited for."""
        batch_size = self._loaded.batch_size
        return min(AHEAD * batch_size, batch_size + _MOST_AHEAD)

    @property
    def language(self) -> LanguageGuess | None:
        """The language, if it knows only one."""
        return None if self._loaded.model.is_multilingual else LanguageGuess("en", None)

    def detect_language(self, clips: Iterable[Clip]) -> LanguageGuess:
        """Mean probabilities over the clips (at least one); a model of English is not asked."""
        if known := self.language:
            return known
        questions = tuple(map(Question, clips))
        waiting = iter(questions)
        for _ in self.hear(lambda room: list(islice(waiting, room))):
            pass
        return likeliest([question.probabilities for question in questions])

    def transcribe(self, clips: Iterable[Clip]) -> Iterator[Heard]:
        """Decode clips together and yield one result for each, in order."""
        source = map(Taken, clips)
        opened: deque[Taken] = deque()

        def take(room: int) -> list[Taken]:
            fresh = list(islice(source, max(0, min(room, self.ahead - len(opened)))))
            opened.extend(fresh)
            return fresh

        for _ in self.hear(take):
            while opened and opened[0].is_answered:
                yield opened.popleft().heard

    def hear(self, take: Callable[[int], Sequence[Taken | Question]]) -> Iterator[Taken]:
        """Clips as they are answered, in any order, until none is left in work.

        `take(n)` gives up to n clips or questions, none if none waits now.
        """
        desk = Desk(take)
        if self._exhausted:
            raise self._exhausted
        while True:
            loaded = self._loaded
            loaded.set_threads()
            slots = Slots(loaded.model, loaded.decoder)
            try:
                for decoded in slots.decode(partial(_requests, loaded, slots, desk)):
                    taken = _settle(loaded, desk, decoded)
                    if taken.is_answered:
                        yield taken
            except (MemoryError, RuntimeError) as error:
                if not is_shortage(error):
                    raise
            else:
                trim()  # so that text can be laid out where sound was heard
                return
            # Only now is what the exception's frames held free.
            desk.put_back()
            self._loaded = self._relieved(loaded)

    def _relieved(self, loaded: Loaded) -> Loaded:
        try:
            return self._relieve(loaded)
        except Exception as error:
            self._exhausted = error
            raise


def _requests(loaded: Loaded, slots: Slots, desk: Desk, room: int) -> list[Request]:
    """The next parts, encoded; questions are answered on the way."""
    import numpy as np

    desk.fill(room)
    while question := desk.question:
        (features,) = _encode(loaded, [question.clip])
        desk.answer(slots.language_probabilities(features))
        desk.fill(room)  # a question takes no room
    clips = [part.clip for part in desk.parts(room)]
    requests = [
        Request(features, clip.options, zlib.crc32(np.ascontiguousarray(clip.samples).data))
        for clip, features in zip(clips, _encode(loaded, clips), strict=True)
    ]
    for request in requests:
        desk.begin(request)
    return requests


def _encode(loaded: Loaded, clips: Sequence[Clip]) -> Iterator[Tensor]:
    """The encoded sound of each clip, (T, d)."""
    import torch

    device, n_mels = loaded.model.device, loaded.model.dims.n_mels
    sounds, together = [clip.samples for clip in clips], loaded.encoder.at_once
    for first in range(0, len(sounds), together):
        with torch.inference_mode():
            mels = log_mels(sounds[first : first + together], n_mels, device)
            # a view of one would keep the memory of all
            features = [one.clone() for one in loaded.encoder(mels)]
        yield from features


def _settle(loaded: Loaded, desk: Desk, decoded: Decoded) -> Taken:
    """Note what was heard of a part."""
    import torch

    part = desk.part(decoded.request)
    with torch.inference_mode(), quiet():
        segments, rest = read(
            loaded.model,
            loaded.decoder,
            decoded.place,
            part.clip,
            decoded.result,
            is_whole=decoded.is_whole,
            may_continue=part.may_continue,
            is_early=part.is_early,
        )
    return desk.finish(decoded.request, segments, rest)
