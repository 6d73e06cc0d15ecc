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

from models.engines.decoder import Aligned
from models.engines.decoder_packing import pack
from models.engines.panels import panels, start
from models.kernels.decoder_state import (
    FRAMES,
    PADDED,
    Rows,
    State,
    Thread,
    new_scratch,
    new_state,
    new_windows,
)
from models.kernels.decoder_steps import forward
from models.kernels.likelihood import likelihoods, parts, tally
from models.kernels.listening import LESS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from torch import Tensor
    from whisper.model import Whisper

    from models.kernels.arithmetic import Array

# Tokens in one pass: the weights are read once for so many. Logits of more would take megabytes.
_TOGETHER, _WITHOUT_LOGITS = 24, 84


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
        self._most, self._widest = max(slots, _TOGETHER), max(slots, _WITHOUT_LOGITS)
        self._windows = new_windows(self._dims, places)
        self._state = new_state(self._dims, slots, self._widest, self._most)
        self._scratch = [new_scratch(self._dims, self._widest) for _ in range(self._threads)]

    def resized(self, places: int, slots: int) -> KernelDecoder:
        """See Decoder."""
        other = copy(self)
        self.close()
        other.allocate(places, slots)
        return other

    def close(self) -> None:
        """See Decoder."""
        vars(self).clear()

    def hear(self, places: Sequence[int], windows: Sequence[Tensor]) -> None:
        """See Decoder."""
        for place, features in zip(places, windows, strict=True):
            self._hear(place, features)

    def _hear(self, place: int, features: Tensor) -> None:
        import torch

        windows = self._windows
        mean = features.mean(0)
        x = features - mean
        scale = x.abs().amax(0).div_(127).clamp_min_(1e-12)
        codes = x.div_(scale).round_().to(torch.int8)  # (T, d)
        keys = torch.nn.functional.pad(codes, (0, 0, 0, PADDED - FRAMES))
        windows.keys[place] = panels(keys)
        windows.key_start[place] = start(keys)
        windows.values[place] = panels(codes.T.contiguous())
        windows.value_start[place] = codes.sum(0, dtype=torch.int32).mul_(LESS).numpy()
        windows.scale[place], windows.mean[place] = scale.numpy(), mean.numpy()

    def begin(
        self,
        slot: int,
        places: Sequence[int],
        tokens: Sequence[Sequence[int]],
        wanted: Sequence[int],
    ) -> Tensor:
        """See Decoder."""
        import torch

        s, n = len(tokens), len(tokens[0])
        flat = [token for row in tokens for token in row]
        each = sorted(set(wanted))  # no more of them than tokens, so that there is room for all
        asked = [row * n + i for row in range(s) for i in each]
        found = []
        for first in range(0, s * n, self._most):
            some = range(first, min(first + self._most, s * n))
            here = [i - first for i in asked if i in some]
            rows = _rows(
                flat[first : some.stop],
                [slot + i // n for i in some],
                [i % n for i in some],
                [places[i // n] for i in some],
                here,
            )
            self._forward(rows, self._state)
            found.append(self._logits(len(here)).clone())
        return torch.cat(found).view(s, len(each), -1)[:, [each.index(i) for i in wanted]]

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

        n, heads = len(tokens), self._watched.max() + 1
        x, scores = torch.empty(n, self._dims.n_text_state), torch.empty(heads, n, FRAMES)
        watching = self._state._replace(watched=self._watched, scores=scores.numpy())
        for first in range(0, n, self._widest):
            some = range(first, min(first + self._widest, n))
            m = len(some)
            rows = _rows(tokens[first : some.stop], [slot] * m, some, [place] * m, ())
            self._forward(rows, watching)
            x[first : some.stop] = torch.from_numpy(self._state.x[:m])
        return Aligned(self._of_following(x, tokens[1:], below), scores)

    def _of_following(self, x: Tensor, following: Sequence[int], below: int) -> Tensor:
        """The probability of each following token; of those not below, without looking, none."""
        import torch

        asked = [i for i, token in enumerate(following) if token < below]
        rows, tokens = x[asked].numpy(), torch.tensor(following)[asked].numpy()
        found = torch.empty(self._threads, 3, len(asked))
        shares = [
            partial(tally, rows, self._model.norm, self._model.logits, tokens, *part, out)
            for part, out in zip(parts(below, self._threads), found.numpy(), strict=True)
        ]
        called = [self._pool.submit(share) for share in shares[1:]]
        shares[0]()
        for one in called:
            one.result()
        probabilities = torch.zeros(len(following))
        probabilities[asked] = torch.from_numpy(likelihoods(found.numpy()))
        return probabilities

    def _forward(self, rows: Rows, state: State) -> None:
        """One pass, by all threads: once in it, each waits for all others."""
        assert rows.tokens.size <= self._widest, "kernels look at no bounds"
        assert rows.wanted.size <= self._most, "kernels look at no bounds"
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
