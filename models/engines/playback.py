"""Passes that are recorded once for each shape and played back: one launch in place of hundreds.

Goes in: a function of a shape and numbers, and a device's way of recording. Comes out: what the
function would give. Does not know: models, tokens, what is calculated.

A step of Whisper's decoder is some 25 small operations a layer. A GPU is done with each sooner than
Python asks for the next one; a CUDA graph asks for all of them at once.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import Tensor

    from models.engines.feed import Shape

_WORTH_RECORDING = 8  # times that a shape has come; recording takes as long as some hundred steps
_MOST = 64  # recordings; each keeps some memory of the device
_TOLERANCE = 1e-2  # of the largest logit: the same operations, perhaps by other algorithms


class Recorder(Protocol):
    """A device's way of recording."""

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        """Run it, and return what runs it again on the same memory, whatever is in there then."""
        ...


@dataclass(frozen=True, slots=True)
class _Recording:
    numbers: Tensor  # which it reads
    play: Callable[[], None]


class Playback:
    """`run(shape, numbers)`, recorded where a shape comes again and again.

    Results are float32 (rows, width) in `output`, and hold until the next call.
    """

    def __init__(
        self, run: Callable[[Shape, Tensor], Tensor], record: Recorder, output: Tensor
    ) -> None:
        self.failure: str | None = None  # why nothing more is recorded
        self._run = run
        self._record = record
        self._output = output
        self._seen: Counter[Shape] = Counter()
        self._recordings: dict[Shape, _Recording] = {}

    def __call__(self, shape: Shape, numbers: Tensor) -> Tensor:
        """What `run` gives."""
        self._seen[shape] += 1
        recording = self._recordings.get(shape)
        if recording is None:
            wanted = self._seen[shape] >= _WORTH_RECORDING and self._make_room(shape)
            return self.proven(shape, numbers) if wanted else self._run(shape, numbers)
        recording.numbers.copy_(numbers)
        recording.play()
        return self._output[: shape.rows]

    def proven(self, shape: Shape, numbers: Tensor) -> Tensor:
        """Record it, and keep the recording if it gives what the function itself gives.

        It is made of other tokens than it is then played with. Rows that overflowed prove nothing,
        so that another step is waited for.
        """
        import torch

        truth = self._run(shape, numbers)
        if self.failure:
            return truth
        try:
            if not truth.isfinite().all():
                return truth
            recording = self._recorded(shape, numbers)
            recording.numbers.copy_(numbers)
            self._output.fill_(math.nan)  # which shows if nothing was recorded
            recording.play()
        except RuntimeError as error:  # of the driver, or for lack of memory
            self.failure = str(error).partition("\n")[0]
            return self._run(shape, numbers)  # again, since others may have been written
        found = self._output[: shape.rows]
        if torch.allclose(found, truth, rtol=0, atol=_TOLERANCE * float(truth.abs().max())):
            self._recordings[shape] = recording
            return truth
        self.failure = "a recorded step gave other numbers"
        return self._run(shape, numbers)

    def _recorded(self, shape: Shape, numbers: Tensor) -> _Recording:
        own = numbers.clone()
        own[: shape.rows * shape.tokens] = 0

        def run() -> None:
            self._output[: shape.rows].copy_(self._run(shape, own))

        return _Recording(own, self._record(run))

    def _make_room(self, shape: Shape) -> bool:
        """Whether there is room for one more; a shape that came less often makes room."""
        if len(self._recordings) < _MOST:
            return True
        rarest = min(self._recordings, key=self._seen.__getitem__)
        if self._seen[rarest] >= self._seen[shape]:
            return False
        del self._recordings[rarest]
        return True


def cuda_graphs(device: torch.device) -> Recorder:
    """Recorded as CUDA graphs, whose intermediate results share one memory."""
    import torch

    # a stream of this device: torch's own for recording belongs to the one that came first
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    pool = torch.cuda.graph_pool_handle()

    def record(function: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            before = torch.cuda.current_stream(device)
            try:
                stream.wait_stream(before)
                with torch.cuda.stream(stream):
                    function()  # whatever libraries set up at their first call
                before.wait_stream(stream)
                with torch.cuda.graph(
                    graph, pool=pool, stream=stream, capture_error_mode="thread_local"
                ):
                    function()
            finally:
                torch.cuda.set_stream(before)  # torch leaves its own where recording fails
        return graph.replay

    return record
