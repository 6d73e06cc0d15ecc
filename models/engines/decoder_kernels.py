"""Whisper's decoder in int8, by kernels of our own.

Goes in: a Whisper with int8 layers; encoded windows, tokens. Comes out: logits. Does not know: how
a step is calculated (`decoder_steps` does), what a token means, when a row ends.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from copy import copy
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from models.engines.decoder import Aligned, of_following
from models.engines.decoder_packing import pack, panels
from models.kernels.decoder_state import (
    FRAMES,
    PADDED,
    Rows,
    State,
    Thread,
    new_scratch,
    new_state,
    new_windows,
    zeros,
)
from models.kernels.decoder_steps import forward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from torch import Tensor
    from whisper.model import Whisper

    from models.kernels.arithmetic import Array

_TOGETHER = 24  # tokens of a new row in one pass: the weights are read once for so many
_LN2 = 0.6931471805599453


class KernelDecoder:
    """A `models.engines.decoder.Decoder`; keeps nothing of the model."""

    is_packed = True

    def __init__(self, model: Whisper, places: int, slots: int, threads: int) -> None:
        """Raises whatever ails numba, and RuntimeError where a thread cannot start."""
        self._dims = model.dims
        self._model = pack(model)
        self._watched = _watched(model)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "decoder")
        self._calling = Lock()
        self.allocate(places, slots)
        self._forward(_rows([0], [0], [0], [0], []), self._state)  # compiles it, starts the threads

    def allocate(self, places: int, slots: int) -> None:
        """Make room, before the first use."""
        self.places, self.slots = places, slots
        self._most = max(slots, _TOGETHER)
        self._windows = new_windows(self._dims, places)
        self._state = new_state(self._dims, slots, self._most)
        self._scratch = [new_scratch(self._dims, self._most) for _ in range(self._threads)]

    def resized(self, places: int, slots: int) -> KernelDecoder:
        """See Decoder."""
        other = copy(self)
        self.close()
        other.allocate(places, slots)
        return other

    def close(self) -> None:
        """See Decoder."""
        vars(self).clear()

    def hear(self, place: int, features: Tensor) -> None:
        """See Decoder."""
        import torch

        windows = self._windows
        mean = features.mean(0)
        x = features - mean
        scale = x.abs().amax(0).div_(127).clamp_min_(1e-12)
        codes = x.div_(scale).round_().to(torch.int8)  # (T, d)
        keys = torch.nn.functional.pad(codes, (0, 0, 0, PADDED - FRAMES))
        windows.keys[place] = panels(keys)
        windows.start[place] = keys.sum(1, dtype=torch.int32).mul_(-128).numpy()
        windows.values[place] = panels(codes.T.contiguous())
        windows.scale[place], windows.mean[place] = scale.numpy(), mean.numpy()

    def begin(self, slot: int, place: int, tokens: Sequence[int], wanted: Sequence[int]) -> Tensor:
        """See Decoder."""
        import torch

        found = []
        for first in range(0, len(tokens), self._most):
            part = tokens[first : first + self._most]
            here = [i - first for i in wanted if first <= i < first + len(part)]
            self._feed(slot, place, part, first, here, self._state)
            found.append(self._logits(len(here)).clone())
        return torch.cat(found)

    def step(
        self, tokens: Sequence[int], positions: Sequence[int], places: Sequence[int]
    ) -> Tensor:
        """See Decoder."""
        s = range(len(tokens))
        self._forward(_rows(tokens, s, positions, places, s), self._state)
        return self._logits(len(s))

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """See Decoder."""
        for cache in (self._state.keys, self._state.values):
            cache[:, list(targets), :, :length] = cache[:, list(sources), :, :length]

    def align(self, slot: int, place: int, tokens: Sequence[int], below: int) -> Aligned:
        """See Decoder."""
        import torch

        heads = self._watched.max() + 1
        watching = self._state._replace(
            watched=self._watched, scores=zeros(heads, self._most, FRAMES)
        )
        scores, probabilities = torch.empty(heads, len(tokens), FRAMES), []
        for first in range(0, len(tokens), self._most):
            part = tokens[first : first + self._most]
            following = tokens[first + 1 : first + self._most + 1]
            self._feed(slot, place, part, first, range(len(following)), watching)
            found = torch.from_numpy(watching.scores[:, : len(part)])
            torch.mul(found, _LN2, out=scores[:, first : first + len(part)])
            probabilities.append(of_following(self._logits(len(following)), following, below))
        return Aligned(torch.cat(probabilities), scores)

    def _feed(
        self,
        slot: int,
        place: int,
        tokens: Sequence[int],
        first: int,
        wanted: Sequence[int],
        state: State,
    ) -> None:
        """Tokens of one row, the first of them at position `first`."""
        n = len(tokens)
        positions = range(first, first + n)
        self._forward(_rows(tokens, [slot] * n, positions, [place] * n, wanted), state)

    def _forward(self, rows: Rows, state: State) -> None:
        """One pass, by all threads: once in it, each waits for all others."""
        shares = [
            partial(forward, Thread(number, self._threads), self._model, self._windows, rows, state)
            for number in range(self._threads)
        ]
        first, *others = map(partial, shares, self._scratch)
        called: list[Future[None]] = []
        with self._calling:
            called += [self._pool.submit(self._walk, share, called) for share in others]
        first()
        wait(called)

    def _walk(self, share: Callable[[], None], called: Sequence[Future[None]]) -> None:
        """Another thread's part. It begins when all are called, or not at all."""
        with self._calling:
            are_all_called = bool(called)
        if are_all_called:
            share()

    def _logits(self, m: int) -> Tensor:
        import torch

        return torch.from_numpy(self._state.logits)[:m, : self._dims.n_vocab]


def _rows(
    tokens: Sequence[int],
    slots: Sequence[int],
    positions: Sequence[int],
    places: Sequence[int],
    wanted: Sequence[int],
) -> Rows:
    import numpy as np

    order = sorted(range(len(places)), key=places.__getitem__)
    edges = [i for i in range(len(order)) if i == 0 or places[order[i]] != places[order[i - 1]]]
    runs = list(zip(edges, [*edges[1:], len(order)], strict=True))
    columns = (tokens, slots, positions, places, order, runs, wanted)
    return Rows._make(np.array(column, np.int64) for column in columns)


def _watched(model: Whisper) -> Array:
    import numpy as np

    layers, heads = model.alignment_heads.indices().numpy()
    watched = np.full((model.dims.n_text_layer, model.dims.n_text_head), -1)
    watched[layers, heads] = range(len(heads))
    return watched
