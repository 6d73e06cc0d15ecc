"""The log-mel spectrogram, Whisper's view of sound.

Goes in: sounds of at most 30 s. Comes out: the spectrogram of each, followed by silence. Does not
know: models, clips, what is heard in it.

The arithmetic is `whisper.audio.log_mel_spectrogram`'s. Done for all frames at once, as there, it
writes and reads 12 MB a window, and on a CPU takes half as long again as in blocks that a
processor's cache holds. A GPU does all frames of all sounds at once, and nobody waits for it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from torch import Tensor

BLOCK_FRAMES = 300  # of 201 complex numbers, half a megabyte
_FLOOR = 1e-10  # what silence counts as
_RANGE = 8.0  # decades below the loudest that are kept


def log_mels(sounds: Sequence[np.ndarray], n_mels: int, device: torch.device) -> Tensor:
    """Float32 (n,) at 16 kHz, n <= 480 000, each, to float32 (sounds, n_mels, 3000) on the device.

    A GPU makes them together, and for a moment each takes 14 MB.
    """
    import torch

    if device.type == "cpu":
        return torch.stack([log_mel(samples, n_mels, device) for samples in sounds])
    return together(_on_device(sounds, device), n_mels)


def log_mel(samples: np.ndarray, n_mels: int, device: torch.device) -> Tensor:
    """Float32 (n,) at 16 kHz, n <= 480 000, to float32 (n_mels, 3000) on the device."""
    import numpy as np
    import torch
    from whisper.audio import HOP_LENGTH, N_FFT, N_FRAMES, mel_filters

    if device.type != "cpu":
        return log_mels([samples], n_mels, device)[0]
    sound = np.zeros(_padded_samples(), np.float32)
    _pad(samples, sound)
    filters = mel_filters(device, n_mels)
    frames = torch.from_numpy(sound).as_strided((N_FRAMES, N_FFT), (HOP_LENGTH, 1))
    heard = min(N_FRAMES, -(-(len(samples) + N_FFT // 2) // HOP_LENGTH))  # the rest is silent

    mel = torch.full((n_mels, N_FRAMES), _FLOOR)
    for first in range(0, heard, BLOCK_FRAMES):
        last = min(first + BLOCK_FRAMES, heard)
        mel[:, first:last] = filters @ _power(frames[first:last]).T
    return _scaled(mel)


def together(sounds: Tensor, n_mels: int) -> Tensor:
    """Padded sounds (n, 480 400) to (n, n_mels, 3000), on their device."""
    from whisper.audio import HOP_LENGTH, N_FFT, N_FRAMES, mel_filters

    frames = sounds.unfold(-1, N_FFT, HOP_LENGTH)[:, :N_FRAMES]
    filters = mel_filters(sounds.device, n_mels)
    return _scaled(_power(frames) @ filters.T).mT


def _power(frames: Tensor) -> Tensor:
    """Of each frequency: (…, 400) to (…, 201)."""
    import torch

    spectrum: Tensor = torch.fft.rfft(frames * _window(frames.device))
    return spectrum.real.square() + spectrum.imag.square()


@cache
def _window(device: torch.device) -> Tensor:
    import torch
    from whisper.audio import N_FFT

    return torch.hann_window(N_FFT, device=device)


def _scaled(mel: Tensor) -> Tensor:
    """In place: the mel power of sounds (…, a, b), as logarithms below the loudest of each."""
    import torch

    mel.clamp_(min=_FLOOR).log10_()
    torch.maximum(mel, mel.amax((-2, -1), keepdim=True) - _RANGE, out=mel)
    return mel.add_(4.0).div_(4.0)


def _on_device(sounds: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Padded, (sounds, 480 400). CUDA copies while the program goes on, from pinned memory only."""
    import torch

    is_cuda = device.type == "cuda"
    padded = torch.zeros(len(sounds), _padded_samples(), pin_memory=is_cuda)
    for samples, row in zip(sounds, padded.numpy(), strict=True):
        _pad(samples, row)
    return padded.to(device, non_blocking=is_cuda)


def _padded_samples() -> int:
    from whisper.audio import N_FFT, N_SAMPLES

    return int(N_SAMPLES + N_FFT)


def _pad(samples: np.ndarray, sound: np.ndarray) -> None:
    """Into silence, mirrored for half a frame at both ends: the middle of a frame is its time."""
    from whisper.audio import N_FFT

    half = N_FFT // 2
    sound[half : half + len(samples)] = samples
    sound[:half] = sound[N_FFT:half:-1]
    sound[-half:] = sound[-half - 2 : -N_FFT - 2 : -1]
