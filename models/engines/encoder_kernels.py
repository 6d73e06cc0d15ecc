"""Whisper's encoder in int8, by kernels of our own.

Goes in: a Whisper with int8 layers, then log-mel spectrograms. Comes out: their features. Does not
know: how a step is calculated (`encoder_steps` does), sound, tokens.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from itertools import cycle, pairwise
from threading import Barrier
from typing import TYPE_CHECKING, NamedTuple

from models.engines.encoder_packing import pack
from models.kernels.encoder_steps import (
    FRAMES,
    QUERIES,
    TOKENS,
    Scratch,
    attend,
    convolve,
    embed,
    finish,
    mix,
    new_frames,
    new_heads,
    new_rows,
    new_scratch,
    project,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from torch import Tensor
    from whisper.model import Whisper

    from models.kernels.arithmetic import Array


class Share(NamedTuple):
    """The rows of a window that a thread answers for, and its memory."""

    first: int
    last: int
    scratch: Scratch


class KernelEncoder:
    """One window at a time, its rows shared among the threads. Not for two callers at once."""

    def __init__(self, model: Whisper, threads: int) -> None:
        """Keeps nothing of the model.

        Raises whatever ails numba, and RuntimeError where a thread cannot start.
        """
        self._pool = _started(threads)
        dims = model.dims
        width = dims.n_audio_state
        self._weights = pack(model)
        self._frames = new_frames(width)
        self._x, self._attended = new_rows(width), new_rows(width)
        # two, so that a thread may write those of the next layer while another still reads
        self._heads = new_heads(width), new_heads(width)
        groups = TOKENS // QUERIES
        bounds = [groups * i // threads * QUERIES for i in range(threads + 1)]
        self._shares = [
            Share(first, last, new_scratch(width, dims.n_mels)) for first, last in pairwise(bounds)
        ]
        self._compile(dims.n_mels)

    def __call__(self, mels: Tensor) -> Tensor:
        """Log-mel spectrograms (n, n_mels, 3000) to features float32 (n, 1500, d)."""
        import torch

        spectra = mels.detach().float().contiguous().numpy()
        features = torch.empty(len(mels), *self._x.shape)
        barrier = Barrier(len(self._shares))
        done: list[Future[None]] = []
        try:
            for share in self._shares:
                part = self._pool.submit(
                    self._encode, share, barrier.wait, spectra, features.numpy()
                )
                done.append(part)
            for future in done:
                future.result()
        finally:
            barrier.abort()  # where one thread was stopped, all stop
            wait(done)
        return features

    def _encode(
        self, share: Share, all_here: Callable[[], object], mels: Array, features: Array
    ) -> None:
        """A thread's part of every window."""
        (first, last, scratch), weights, x = share, self._weights, self._x
        for mel, out in zip(mels, features, strict=True):
            convolve(2 * first, 2 * last, mel, weights.conv1, self._frames, scratch)
            all_here()
            embed(first, last, self._frames, weights.conv2, weights.positions, x, scratch)
            for layer, heads in zip(weights.layers, cycle(self._heads), strict=False):
                project(first, last, x, layer, heads, scratch)
                all_here()
                attend(first, last, heads, self._attended, scratch)
                mix(first, last, x, self._attended, layer, scratch)
            finish(first, last, x, weights.norm, out)

    def _compile(self, n_mels: int) -> None:
        """Have every step compiled, or read from disk, by calling it for no rows at all."""
        import torch

        nothing = Share(0, 0, self._shares[0].scratch)
        mels, features = torch.zeros(1, n_mels, FRAMES), torch.zeros(1, *self._x.shape)
        self._encode(nothing, lambda: None, mels.numpy(), features.numpy())


def _started(threads: int) -> ThreadPoolExecutor:
    """A pool all of whose threads run: later, no part waits for one that cannot start.

    Raises RuntimeError if one cannot start; then none is left.
    """
    pool = ThreadPoolExecutor(threads, "encoder")
    all_here = Barrier(threads)
    try:
        wait([pool.submit(all_here.wait) for _ in range(threads)])
    except BaseException:
        all_here.abort()
        pool.shutdown()
        raise
    return pool
