"""One engine for many threads: the windows of their files are heard together.

Goes in: clips, from as many threads as like. Comes out: to each thread the segments of its own, in
order. Does not know: how they are heard, files, which thread is whose.

A thread of its own hears, from the first clip until none is left. Whoever asked first is served
first: others fill the places that would be empty, so the first file is not the last to be ready.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from typing import TYPE_CHECKING, Protocol

from models.engines.desk import Question, Taken
from models.engines.languages import likeliest
from models.shortage import told_as_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pipeline.protocols import SpeechEngine
    from pipeline.types import Clip, EngineDescription, Heard, LanguageGuess

HEED_EVERY_S = 0.2  # how soon one that waits sees that it is to stop
HEARING = "hearing"  # the name of the thread that hears; a program may want to end without it


class Ear(Protocol):
    """What `models.engines.whisper_torch.WhisperTorch` offers."""

    @property
    def description(self) -> EngineDescription:
        """What hears now."""
        ...

    @property
    def ahead(self) -> int:
        """How many clips it can use before the first is answered."""
        ...

    @property
    def language(self) -> LanguageGuess | None:
        """The language, if it knows only one."""
        ...

    def hear(self, take: Callable[[int], Sequence[Taken | Question]]) -> Iterator[Taken]:
        """Clips as they are answered, until `take` gives none and none is left."""
        ...


@dataclass(slots=True, eq=False)
class _Stream:
    """What one thread asked."""

    waiting: deque[Taken | Question] = field(default_factory=deque)  # not taken by the engine yet
    in_work: list[Taken | Question] = field(default_factory=list)
    is_suspect: bool = False  # it may be why the engine failed; so it is heard alone
    failure: BaseException | None = None

    def unanswered(self) -> list[Taken | Question]:
        """What is in work still."""
        return [one for one in self.in_work if not one.is_answered]

    def take(self, room: int) -> list[Taken | Question]:
        """What waits, up to so many."""
        taken = [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
        self.in_work = self.unanswered() + taken
        return taken

    def put_back(self) -> bool:
        """What was in work waits again; whether there was anything."""
        unanswered = self.unanswered()
        for one in unanswered:
            one.forget()
        self.waiting.extendleft(reversed(unanswered))
        self.in_work = []
        return bool(unanswered)


class SharedEngine:
    """A `pipeline.protocols.SpeechEngine` for any number of threads.

    `heed` is called while one waits, and may raise to make it stop. Where hearing fails, each
    thread's clips are heard again by themselves, so that one's failure is not the others'.
    """

    def __init__(self, ear: Ear, heed: Callable[[], None]) -> None:
        self._ear = ear
        self._heed = heed
        self._changed = Condition()
        self._streams: list[_Stream] = []  # in the order in which they came
        self._left: list[_Stream] = []  # their thread was stopped, and they are in work still
        self._is_hearing = False

    @property
    def description(self) -> EngineDescription:
        """What hears now."""
        return self._ear.description

    def detect_language(self, clips: Iterable[Clip]) -> LanguageGuess:
        """Mean probabilities over the clips (at least one)."""
        if known := self._ear.language:
            return known
        questions = [Question(clip) for clip in clips]
        with self._stream() as stream:
            self._ask(stream, questions)
            for question in questions:
                self._wait(stream, question)
        return likeliest([question.probabilities for question in questions])

    def transcribe(self, clips: Iterable[Clip]) -> Iterator[Heard]:
        """See SpeechEngine."""
        source = map(Taken, clips)
        opened: deque[Taken] = deque()
        with self._stream() as stream:
            clip = next(source, None)
            while clip or opened:
                while clip and len(opened) < self._ear.ahead:
                    opened.append(clip)
                    self._ask(stream, [clip])
                    clip = next(source, None)
                self._wait(stream, opened[0])
                yield opened.popleft().heard

    # ── threads that ask ─────────────────────────────────────────────────────────────────────

    @contextmanager
    def _stream(self) -> Iterator[_Stream]:
        stream = _Stream()
        with self._changed:
            self._streams.append(stream)
        try:
            yield stream
        finally:
            with self._changed:
                self._streams.remove(stream)
                if stream.unanswered():
                    self._left.append(stream)

    def _ask(self, stream: _Stream, asked: Sequence[Taken | Question]) -> None:
        with self._changed:
            stream.waiting.extend(asked)
            if not self._is_hearing:
                with told_as_out_of_memory("The thread that hears"):
                    Thread(target=self._hear, name=HEARING).start()
                self._is_hearing = True

    def _wait(self, stream: _Stream, asked: Taken | Question) -> None:
        with self._changed:
            while not asked.is_answered:
                if stream.failure:
                    raise stream.failure
                self._changed.wait(HEED_EVERY_S)
                self._heed()

    # ── the thread that hears ────────────────────────────────────────────────────────────────

    def _hear(self) -> None:
        while self._is_wanted():
            try:
                for _ in self._ear.hear(self._take):
                    self._tell()
            except BaseException as error:  # noqa: BLE001  - those who asked raise it
                self._fail(error)
            else:
                self._clear()
            self._tell()

    def _is_wanted(self) -> bool:
        """Whether anything waits; if not, the next one to ask starts another thread."""
        with self._changed:
            self._is_hearing = any(stream.waiting for stream in self._streams)
            return self._is_hearing

    def _take(self, room: int) -> list[Taken | Question]:
        with self._changed:
            self._changed.notify_all()  # a question may have been answered since the last time
            taken: list[Taken | Question] = []
            for stream in self._served():
                taken += stream.take(room - len(taken))
            return taken

    def _served(self) -> list[_Stream]:
        """All, or one of those that may be why the engine failed."""
        return [stream for stream in self._streams if stream.is_suspect][:1] or self._streams

    def _tell(self) -> None:
        with self._changed:
            self._left = [stream for stream in self._left if stream.unanswered()]
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        """Whoever was heard alone gets the error; if they were several, each is heard alone.

        Those that left meanwhile count too: the fault may be theirs.
        """
        with self._changed:
            guilty = [stream for stream in self._streams + self._left if stream.put_back()]
            # where nothing was taken, the fault is the engine's, and all that wait are told
            for stream in guilty or self._streams:
                stream.is_suspect = len(guilty) > 1
                if not stream.is_suspect:
                    stream.failure = error
                    stream.waiting.clear()

    def _clear(self) -> None:
        """What was heard to its end is suspect no more."""
        with self._changed:
            for stream in self._served():
                stream.is_suspect = False


class OneAtATime:
    """A `pipeline.protocols.SpeechEngine` that makes others wait while it is used.

    `heed` is called while one waits, and may raise to make it stop.
    """

    def __init__(self, engine: SpeechEngine, heed: Callable[[], None]) -> None:
        self._engine = engine
        self._heed = heed
        self._lock = Lock()

    @property
    def description(self) -> EngineDescription:
        """Of the engine."""
        return self._engine.description

    def detect_language(self, clips: Iterable[Clip]) -> LanguageGuess:
        """See SpeechEngine."""
        with self._turn():
            return self._engine.detect_language(clips)

    def transcribe(self, clips: Iterable[Clip]) -> Iterator[Heard]:
        """See SpeechEngine."""
        with self._turn():
            yield from self._engine.transcribe(clips)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        while not self._lock.acquire(timeout=HEED_EVERY_S):
            self._heed()
        try:
            yield
        finally:
            self._lock.release()
