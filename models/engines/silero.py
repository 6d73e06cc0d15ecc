"""Speech detection with silero-vad.

Goes in: blocks of samples, 16 kHz mono. Comes out: one speech probability for each 512 samples.
Does not know: files, thresholds, spans.

silero-vad's own loop takes one Python step for each 32 ms. Only its recurrent cell needs the frames
one after the other; what comes before and after it does not. So here the same weights run over
512 frames at once, the cell as an LSTM over the sequence: the same probabilities, ten times faster.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import torch

_FRAME_SAMPLES = 512  # the model's frame at 16 kHz: 32 ms
_CONTEXT_SAMPLES = 64  # what the model hears of the frame before; silence at the start
_BATCH_SAMPLES = 512 * _FRAME_SAMPLES  # 16.4 s: larger batches are no faster


class SileroDetector:
    """A `pipeline.protocols.SpeechDetector`; keeps no state from one recording to the next.

    Loads in 0.1 s. One thread hears about 1000 times faster than real time, in about 40 MB.
    """

    frame_samples = _FRAME_SAMPLES

    def __init__(self) -> None:
        self._network = _load_network()
        self._lstm = _lstm_of(self._network.decoder.rnn)

    def probabilities(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """One block of probabilities for each 16.4 s, whatever the size of the blocks."""
        import numpy as np

        context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        state = None  # the LSTM takes None for zeros
        for batch in _recut(blocks, _BATCH_SAMPLES):
            padding = np.zeros(-len(batch) % _FRAME_SAMPLES, np.float32)
            samples = np.concatenate([context, batch, padding])
            context = samples[-_CONTEXT_SAMPLES:]
            probabilities, state = self._batch(samples, state)
            yield probabilities

    def _batch(
        self, samples: np.ndarray, state: tuple[torch.Tensor, torch.Tensor] | None
    ) -> tuple[np.ndarray, tuple[torch.Tensor, torch.Tensor]]:
        """Probabilities (m,) of m frames from (64 + 512 m,) samples, and the LSTM's new state."""
        import torch

        # The steps of silero-vad's VADRNNJIT.forward, with the frames as the batch.
        with _one_thread(), torch.inference_mode():
            frames = torch.from_numpy(samples).unfold(
                0, _CONTEXT_SAMPLES + _FRAME_SAMPLES, _FRAME_SAMPLES
            )
            features = self._network.encoder(self._network.run_extractors(frames))
            hidden, state = self._lstm(features.squeeze(-1), state)
            probabilities = self._network.decoder.decoder(hidden.unsqueeze(-1))
        return probabilities.flatten().numpy(), state


def _load_network() -> torch.jit.ScriptModule:
    """silero-vad's network for 16 kHz, without the wrapper that feeds it frame by frame."""
    import torch  # before _one_thread, so that it sees torch's own default

    # silero-vad sets torch to one thread for the whole process when it is imported, and finds and
    # loads its file by ways that Python (importlib.resources.path) and torch (jit.load) deprecate.
    with _one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from silero_vad import load_silero_vad

        network = load_silero_vad(onnx=False)._model  # noqa: SLF001  - batching is not offered
    assert isinstance(network, torch.jit.ScriptModule)
    return network


def _lstm_of(cell: torch.jit.ScriptModule) -> torch.nn.LSTM:
    """The LSTM that runs an LSTMCell's weights over a whole sequence in one call."""
    import torch

    gates, input_size = cell.weight_ih.shape
    with torch.device("meta"):  # no weights of its own, whose drawing would disturb torch's seed
        lstm = torch.nn.LSTM(input_size, gates // 4)
    weights = {f"{name}_l0": weight for name, weight in cell.state_dict().items()}
    lstm.load_state_dict(weights, assign=True)
    return lstm.eval()


def _recut(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in arrays of `size`, the last one shorter; each valid until the next."""
    import numpy as np

    buffer = np.empty(size, np.float32)
    filled = 0
    for block in blocks:
        rest = block
        while len(rest):
            taken = rest[: size - filled]
            buffer[filled : filled + len(taken)] = taken
            filled += len(taken)
            rest = rest[len(taken) :]
            if filled == size:
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: in layers this small, two wait for each other and are half as fast."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
