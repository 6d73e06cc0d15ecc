"""From sound to tokens: whisper's own decoding, many clips at once.

Goes in: clips and a Whisper model. Comes out: one `whisper.decoding.DecodingResult` for each clip.
Does not know: segments, words, or the clips that come before and after.
"""

from __future__ import annotations

import warnings
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch import Tensor
    from whisper.decoding import DecodingOptions, DecodingResult
    from whisper.model import Whisper

    from pipeline.types import Clip, SpeechOptions


def decode_batch(
    model: Whisper, features: Tensor, clips: Sequence[Clip]
) -> tuple[DecodingResult, ...]:
    """One result for each clip, at the first of its temperatures that satisfies.

    `features` is what `encode` gave for the clips. The rules are whisper's `decode_with_fallback`:
    if no temperature satisfies, the result of the last one stands.
    """
    results: dict[int, DecodingResult] = {}
    waiting = list(range(len(clips)))
    attempt = 0
    while waiting:
        for options, members in _alike(model, clips, waiting, attempt):
            task_results = _run(model, options, features[members], [clips[i] for i in members])
            results.update(zip(members, task_results, strict=True))
        attempt += 1
        waiting = [
            i
            for i in waiting
            if attempt < len(clips[i].options.temperatures)
            and is_failure(results[i], clips[i].options)
        ]
    return tuple(results[i] for i in range(len(clips)))


def _alike(
    model: Whisper, clips: Sequence[Clip], waiting: Sequence[int], attempt: int
) -> list[tuple[DecodingOptions, list[int]]]:
    """The waiting clips, grouped by what one DecodingTask can do at once."""
    groups: dict[DecodingOptions, list[int]] = {}
    for i in waiting:
        options = clips[i].options
        groups.setdefault(decoding_options(model, options, attempt), []).append(i)
    return list(groups.items())


def decoding_options(model: Whisper, options: SpeechOptions, attempt: int = 0) -> DecodingOptions:
    """What whisper is told for the given attempt; equal options can be decoded together."""
    import torch
    from whisper.decoding import DecodingOptions

    temperature = options.temperatures[attempt]
    prompt = options.initial_prompt
    return DecodingOptions(
        task=options.task,
        language=options.language if model.is_multilingual else "en",
        temperature=temperature,
        beam_size=options.beam_size if temperature == 0 and options.beam_size > 1 else None,
        best_of=options.best_of if temperature > 0 else None,
        # tiktoken refuses text that spells one of its special tokens
        prompt=prompt.replace("<|", "< |") if prompt else None,
        fp16=_dtype(model) == torch.float16,
    )


def _run(
    model: Whisper, options: DecodingOptions, features: Tensor, clips: Sequence[Clip]
) -> list[DecodingResult]:
    """Decode clips of equal options: together if greedy, else one by one.

    whisper decodes one window at a time when there are several candidates for it (its audio
    features are not repeated for them). The candidates fill the batch then, and a window that is
    sampled alone, from a seed of its own, does not depend on its neighbours.
    """
    from whisper.decoding import DecodingTask

    if options.temperature == 0 and options.beam_size is None:
        return list(DecodingTask(model, options).run(features))
    results = []
    for i, clip in enumerate(clips):
        with _seeded(clip, features):
            results += DecodingTask(model, options).run(features[i : i + 1])
    return results


@contextmanager
def _seeded(clip: Clip, features: Tensor) -> Iterator[None]:
    """Draw the same random numbers for the same sound; leave the process's generator alone."""
    import torch

    devices = [features.device] if features.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(zlib.crc32(clip.samples.tobytes()))
        yield


def is_failure(result: DecodingResult, options: SpeechOptions) -> bool:
    """Whether the text is too repetitive or too unsure, and the window not plainly silent."""
    too_unsure = _below(result.avg_logprob, options.log_probability_limit)
    silent = too_unsure and _above(result.no_speech_prob, options.no_speech_limit)
    return (is_repetitive(result, options) or too_unsure) and not silent


def is_repetitive(result: DecodingResult, options: SpeechOptions) -> bool:
    """Whether the text says the same over and over."""
    return _above(result.compression_ratio, options.compression_ratio_limit)


def is_silence(result: DecodingResult, options: SpeechOptions) -> bool:
    """Whether nothing was said, so that the text is to be thrown away."""
    sure = _above(result.avg_logprob, options.log_probability_limit)
    return _above(result.no_speech_prob, options.no_speech_limit) and not sure


def _above(value: float, limit: float | None) -> bool:
    return limit is not None and value > limit


def _below(value: float, limit: float | None) -> bool:
    return limit is not None and value < limit


def encode(model: Whisper, clips: Sequence[Clip]) -> Tensor:
    """The encoded sound, (len(clips), n_audio_ctx, n_audio_state), on the model's device.

    It serves every temperature and the word times, so the encoder runs once a clip.
    """
    import torch

    mels = torch.stack([log_mel(model, clip) for clip in clips])
    features: Tensor = model.encoder(mels.to(_dtype(model)))
    # whisper's decoding takes float32 and float16 only
    return features.float() if features.dtype == torch.bfloat16 else features


def log_mel(model: Whisper, clip: Clip) -> Tensor:
    """The log-mel spectrogram, (n_mels, 3000), of the clip padded with silence to 30 s."""
    import numpy as np
    import torch
    from whisper.audio import N_SAMPLES, log_mel_spectrogram

    padded = np.zeros(N_SAMPLES, dtype=np.float32)
    padded[: len(clip.samples)] = clip.samples
    mel: Tensor = log_mel_spectrogram(
        torch.from_numpy(padded), model.dims.n_mels, device=model.device
    )
    return mel


def _dtype(model: Whisper) -> torch.dtype:
    """What the model calculates in; other layers cast their weights to their input's type."""
    dtype: torch.dtype = model.encoder.conv1.weight.dtype
    return dtype


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings that only whisper's makers can act on.

    A vocabulary file left open, NumPy's new rules for tensors, a loop that could not be parallel.
    """
    from numba.core.errors import NumbaWarning

    with warnings.catch_warnings():
        for category in (ResourceWarning, DeprecationWarning, NumbaWarning):
            warnings.simplefilter("ignore", category)
        yield
