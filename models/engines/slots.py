"""Many windows decoded together: whoever ends leaves, whoever waits comes in.

Goes in: encoded windows, of one file or of several, each with options of its own. Comes out: one of
whisper's results for each, in the order in which they end. Does not know: sound, segments, words,
the arithmetic.

    take ─► begin ─► step, step, … ─► over? ─► good enough? ─► result
              ▲                                     │
              └────────── the next temperature ─────┘

No row waits for another one, and no window's result depends on its neighbours.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import TYPE_CHECKING

from models.engines.choosing import next_tokens
from models.engines.decode import decoding_options, quiet
from models.engines.feed import sent
from models.engines.hearing import Hearing, Row, Task
from models.engines.languages import probabilities
from models.engines.rules import Rules, log_probabilities, rules_of
from models.engines.search import Beams, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor
    from whisper.decoding import DecodingOptions
    from whisper.model import Whisper

    from models.engines.decoder import Decoder
    from models.engines.hearing import Decoded, Request
    from pipeline.types import SpeechOptions

_BEGUN_TOKENS = 256  # in one pass, as many as the longest prompt has


class Slots:
    """The slots of one decoder, empty at first. Nobody else may use the decoder meanwhile."""

    def __init__(self, model: Whisper, decoder: Decoder) -> None:
        self._model = model
        self._decoder = decoder
        self._tasks: dict[DecodingOptions, Task] = {}
        self._free = list(range(decoder.places))
        self._rows: list[Row] = []  # the n-th is in slot n
        self._queue: deque[Hearing] = deque()  # those that wait for slots

    def decode(self, take: Callable[[int], Sequence[Request]]) -> Iterator[Decoded]:
        """Results as they come. `take(n)` gives up to n windows, none if none waits now."""
        import torch

        while True:
            with torch.inference_mode():
                over = self._admit(take)
                if not over and not self._rows:
                    return
                good = [one for one in over or self._step() if self._is_good(one)]
            for hearing in good:
                yield hearing.decoded()
                insort(self._free, hearing.place)

    def language_probabilities(self, features: Tensor) -> dict[str, float]:
        """Of each language for a window (T, d). Only while `take` is called, since it needs room.

        What `whisper.detect_language` gives; the model is multilingual.
        """
        return probabilities(self._model, self._decoder, self._free[0], len(self._rows), features)

    # ── coming in ────────────────────────────────────────────────────────────────────────────

    def _admit(self, take: Callable[[int], Sequence[Request]]) -> list[Hearing]:
        """Fill the free slots; returns what is over with its first token."""
        room = min(len(self._free), self._decoder.slots - len(self._rows))
        if room and not self._queue:
            self._queue += self._placed(take(room))
        over: list[Hearing] = []
        while together := self._next():
            over += self._begin(together)
        return over

    def _placed(self, requests: Sequence[Request]) -> list[Hearing]:
        places = [self._free.pop(0) for _ in requests]
        self._decoder.hear(places, [request.features for request in requests])
        return [
            Hearing(request, place, self._task(request.options, 0))
            for request, place in zip(requests, places, strict=True)
        ]

    def _next(self) -> list[Hearing]:
        """Who comes in next, if there is room: one, or several of one task and one row each."""
        left = self._decoder.slots - len(self._rows)
        if not self._queue or self._queue[0].task.whisper.n_group > left:
            return []
        together = [self._queue.popleft()]
        task = together[0].task
        length = len(task.whisper.initial_tokens)
        most = min(left, _BEGUN_TOKENS // length) if task.whisper.n_group == 1 else 1
        while len(together) < most and self._queue and self._queue[0].task is task:
            together.append(self._queue.popleft())
        return together

    def _task(self, options: SpeechOptions, attempt: int) -> Task:
        from whisper.decoding import DecodingTask

        key = decoding_options(self._model, options, attempt)
        if key not in self._tasks:
            with quiet():
                task = DecodingTask(self._model, key)
            assert task.n_group <= self._decoder.slots, "all texts of a window grow together"
            self._tasks[key] = Task(task, rules_of(task))
        return self._tasks[key]

    def _begin(self, together: list[Hearing]) -> list[Hearing]:
        """Start their rows in the first free slots; returns what is over with that."""
        task, first = together[0].task.whisper, len(self._rows)
        count, given = task.n_group, task.initial_tokens
        logits = self._decoder.begin(
            first,
            [hearing.place for hearing in together],
            [given] * len(together),
            (task.sot_index, len(given) - 1),
        )
        if task.tokenizer.no_speech is not None:
            silent = logits[:, 0].softmax(-1)[:, task.tokenizer.no_speech].tolist()
            for hearing, share in zip(together, silent, strict=True):
                hearing.no_speech_probability = share
        others = range(first + 1, first + count)
        self._decoder.copy([first] * len(others), others, len(given))
        for hearing in together:
            self._rows += [Row(hearing, number, len(given)) for number in range(count)]
            hearing.running = count
        return self._advance(first, logits[:, 1].repeat_interleave(count, 0))

    # ── going on ─────────────────────────────────────────────────────────────────────────────

    def _step(self) -> list[Hearing]:
        """One token more for every row; returns what is over with that."""
        tokens, lengths, places = zip(
            *((row.token, row.length, row.hearing.place) for row in self._rows), strict=True
        )
        logits = self._decoder.step(tokens, lengths, places)
        for row in self._rows:
            row.length += 1
        return self._advance(0, logits)

    def _advance(self, first: int, logits: Tensor) -> list[Hearing]:
        """Choose the next token of the rows from slot `first` on; returns what is over."""
        alike: dict[Rules, list[int]] = {}
        for slot, row in enumerate(self._rows[first:], first):
            if isinstance(row.hearing.search, Samples):
                alike.setdefault(row.hearing.task.rules, []).append(slot)
        for rules, slots in alike.items():
            together = len(slots) == len(logits)
            some = logits if together else _of(logits, slots, first)
            _sample([self._rows[slot] for slot in slots], some, rules)
        for search, slots in self._beams(first):
            self._grow(search, slots, _of(logits, slots, first))
        return self._leave()

    def _beams(self, first: int) -> list[tuple[Beams, list[int]]]:
        """The searches by beams from slot `first` on, with the slots of their beams in order."""
        groups: dict[int, tuple[Beams, list[int]]] = {}
        for slot in sorted(range(first, len(self._rows)), key=lambda s: self._rows[s].number):
            search = self._rows[slot].hearing.search
            if isinstance(search, Beams):
                groups.setdefault(id(search), (search, []))[1].append(slot)
        return list(groups.values())

    def _grow(self, search: Beams, slots: list[int], logits: Tensor) -> None:
        """Take one window's beams a token on; their slots take over what they continue."""
        rows = [self._rows[slot] for slot in slots]
        rules = rows[0].hearing.task.rules
        found = log_probabilities(logits, rules, [row.sampled for row in rows])
        sources = [slots[beam] for beam in search.add(found)]
        moves = [(a, b) for a, b in zip(sources, slots, strict=True) if a != b]
        self._decoder.copy([a for a, _ in moves], [b for _, b in moves], rows[0].length)
        for row in rows:
            row.token = row.sampled[-1]

    # ── going out ────────────────────────────────────────────────────────────────────────────

    def _is_good(self, hearing: Hearing) -> bool:
        """Whether it needs no other try; else it waits for one, at the next temperature."""
        if hearing.is_good():
            return True
        hearing.fall_back(self._task(hearing.request.options, hearing.attempt + 1))
        self._queue.append(hearing)
        return False

    def _leave(self) -> list[Hearing]:
        """Free the slots of rows that are over, moving others into the gaps."""
        over = []
        for row in self._rows:
            if row.is_over:
                row.hearing.running -= 1
                if not row.hearing.running:
                    over.append(row.hearing)
        stay = [slot for slot, row in enumerate(self._rows) if not row.is_over]
        gaps = [slot for slot in range(len(stay)) if self._rows[slot].is_over]
        movers = stay[len(stay) - len(gaps) :]
        length = max((self._rows[slot].length for slot in movers), default=0)
        self._decoder.copy(movers, gaps, length)
        for mover, gap in zip(movers, gaps, strict=True):
            self._rows[gap] = self._rows[mover]
        del self._rows[len(stay) :]
        return over


def _of(logits: Tensor, slots: Sequence[int], first: int) -> Tensor:
    """The logits of some slots; those of slot `first` are the first."""
    return logits[sent([slot - first for slot in slots], logits.device)]


def _sample(rows: Sequence[Row], logits: Tensor, rules: Rules) -> None:
    """Add a token to each of the texts, all of which are samples."""
    searches = [row.hearing.search for row in rows]
    samples = [search for search in searches if isinstance(search, Samples)]
    temperatures = [search.temperature for search in samples]
    chances = [search.chance(row.number) for search, row in zip(samples, rows, strict=True)]
    chosen = next_tokens(logits, rules, [row.sampled for row in rows], temperatures, chances)
    for row, search, token, value in zip(rows, samples, *chosen, strict=True):
        search.add(row.number, token, value)
        row.token = token
    for hearing in {row.hearing: None for row in rows}:
        hearing.weed()
