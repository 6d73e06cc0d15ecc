"""The log-mel spectrogram, Whisper's view of sound, in blocks that a processor's cache holds.

Goes in: at most 30 s of samples. Comes out: the spectrogram of these, followed by silence. Does not
know: models, clips, what is heard in it.

The arithmetic is `whisper.audio.log_mel_spectrogram`'s; done for all frames at once, as there, it
writes and reads 12 MB a window, and takes half as long again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

BLOCK_FRAMES = 300  # of 201 complex numbers, half a megabyte
_FLOOR = 1e-10  # what silence counts as
_RANGE = 8.0  # decades below the loudest that are kept


def log_mel(samples: np.ndarray, n_mels: int, device: torch.device) -> Tensor:
    """Float32 (n,) at 16 kHz, n <= 480 000, to float32 (n_mels, 3000) on the device."""
    import torch
    from whisper.audio import HOP_LENGTH, N_FFT, N_FRAMES, mel_filters

    sound = _padded(samples).to(device)
    window = torch.hann_window(N_FFT, device=device)
    filters = mel_filters(device, n_mels)
    frames = sound.as_strided((N_FRAMES, N_FFT), (HOP_LENGTH, 1))
    heard = min(N_FRAMES, -(-(len(samples) + N_FFT // 2) // HOP_LENGTH))  # the rest is silent
    block = BLOCK_FRAMES if device.type == "cpu" else N_FRAMES

    mel = torch.full((n_mels, N_FRAMES), _FLOOR, device=device)
    for first in range(0, heard, block):
        last = min(first + block, heard)
        spectrum = torch.fft.rfft(frames[first:last] * window)
        power = spectrum.real.square() + spectrum.imag.square()
        mel[:, first:last] = filters @ power.T
    mel.clamp_(min=_FLOOR).log10_()
    torch.maximum(mel, mel.max() - _RANGE, out=mel)
    return mel.add_(4.0).div_(4.0)


def _padded(samples: np.ndarray) -> Tensor:
    """30 s, mirrored for half a frame at both ends, so that a frame's middle is its time."""
    import numpy as np
    import torch
    from whisper.audio import N_FFT, N_SAMPLES

    half = N_FFT // 2
    sound = np.zeros(N_SAMPLES + N_FFT, np.float32)
    sound[half : half + len(samples)] = samples
    sound[:half] = sound[N_FFT:half:-1]
    sound[-half:] = sound[-half - 2 : -N_FFT - 2 : -1]
    return torch.from_numpy(sound)
