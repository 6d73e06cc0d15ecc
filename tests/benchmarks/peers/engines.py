"""The engines, each as its own users call it: sound in memory in, text out.

Goes in: a folder of models, threads. Comes out: a call that takes float32 samples at 16 kHz and
gives the text. Does not know: time, memory, the other engines.

All alike: greedy, temperature 0, English given, timestamps, no fall-back, no search for speech, no
word times (but in one row of ours), no window told what was said before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.types import SAMPLE_RATE_HZ, WINDOW_S, Clip, Span, SpeechOptions, Window
from tests.benchmarks.peers.conversion import CTRANSLATE2, OPENAI, OPENVINO, WHISPER_CPP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Transcribe = Callable[[np.ndarray], str]

WINDOW_SAMPLES = int(WINDOW_S * SAMPLE_RATE_HZ)
BATCH = 8
OFF = 1e9  # a limit that is never met, where an engine knows no other way to do without


@dataclass(frozen=True, slots=True)
class Engine:
    """One row of the table."""

    label: str
    load: Callable[[Path, int], Transcribe]
    modules: tuple[str, ...]  # imported before memory is counted
    packages: tuple[str, ...]  # whose versions the JSON tells


def ours(models: Path, threads: int, *, word_times: bool = False) -> Transcribe:
    from models.pool import Pool, PoolOptions

    pool = Pool(
        PoolOptions(weights_dir=models, device="cpu", threads=threads, batch_size=BATCH),
        note=lambda _: None,
    )
    options = SpeechOptions(
        model=str(models / OPENAI),
        language="en",
        quantisation="int8",
        word_times=word_times,
        temperatures=(0.0,),
        compression_ratio_limit=None,
        log_probability_limit=None,
        no_speech_limit=None,
    )

    def transcribe(samples: np.ndarray) -> str:
        with pool.speech(options) as engine:
            heard = engine.transcribe(clips(samples, options))
            return " ".join(segment.text for one in heard for segment in one.segments)

    return transcribe


def ours_with_words(models: Path, threads: int) -> Transcribe:
    return ours(models, threads, word_times=True)


def clips(samples: np.ndarray, options: SpeechOptions) -> Iterator[Clip]:
    """Windows of 30 s, with speech from end to end."""
    for start in range(0, len(samples), WINDOW_SAMPLES):
        cut = samples[start : start + WINDOW_SAMPLES]
        start_s, end_s = (at / SAMPLE_RATE_HZ for at in (start, start + len(cut)))
        yield Clip(Window(start_s, end_s, (Span(start_s, end_s),)), cut, options)


def openai_whisper(models: Path, threads: int) -> Transcribe:
    import torch
    import whisper

    torch.set_num_threads(threads)
    model = whisper.load_model(str(models / OPENAI), device="cpu")
    return lambda samples: model.transcribe(
        samples,
        language="en",
        temperature=0.0,
        compression_ratio_threshold=None,
        logprob_threshold=None,
        no_speech_threshold=None,
        condition_on_previous_text=False,
        fp16=False,
    )["text"]


def faster_whisper(models: Path, threads: int) -> Transcribe:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(models / CTRANSLATE2), "cpu", compute_type="int8", cpu_threads=threads)

    def transcribe(samples: np.ndarray) -> str:
        segments, _ = model.transcribe(samples, **FASTER, condition_on_previous_text=False)
        return " ".join(segment.text for segment in segments)

    return transcribe


def faster_whisper_batched(models: Path, threads: int) -> Transcribe:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(models / CTRANSLATE2), "cpu", compute_type="int8", cpu_threads=threads)
    pipeline = BatchedInferencePipeline(model)

    def transcribe(samples: np.ndarray) -> str:
        end_s = len(samples) / SAMPLE_RATE_HZ
        starts_s = np.arange(0, end_s, WINDOW_S).tolist()
        windows = [{"start": at, "end": min(at + WINDOW_S, end_s)} for at in starts_s]
        segments, _ = pipeline.transcribe(
            samples,
            **FASTER,
            batch_size=BATCH,
            vad_filter=False,
            clip_timestamps=windows,
            without_timestamps=False,  # to do without them is its default
        )
        return " ".join(segment.text for segment in segments)

    return transcribe


FASTER = {
    "language": "en",
    "beam_size": 1,
    "temperature": 0.0,
    "compression_ratio_threshold": None,
    "log_prob_threshold": None,
    "no_speech_threshold": None,
}


def whisper_cpp(models: Path, threads: int) -> Transcribe:
    from pywhispercpp.model import Model

    model = Model(
        str(models / WHISPER_CPP),
        redirect_whispercpp_logs_to=None,  # nowhere
        n_threads=threads,
        language="en",
        greedy={"best_of": 1},
        temperature=0.0,
        temperature_inc=0.0,
        entropy_thold=-OFF,
        logprob_thold=-OFF,
        no_speech_thold=OFF,
        n_max_text_ctx=0,  # else a window is told what the one before said
        suppress_nst=True,
        print_progress=False,
    )
    return lambda samples: " ".join(segment.text for segment in model.transcribe(samples))


def openvino(models: Path, threads: int) -> Transcribe:
    import openvino_genai

    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    pipeline = openvino_genai.WhisperPipeline(str(models / OPENVINO), "CPU", **hints)
    told = {"language": "<|en|>", "task": "transcribe", "return_timestamps": True}
    return lambda samples: pipeline.generate(samples, **told).texts[0]


OURS = "ours"
_OURS = (("torch", "whisper", "numba"), ("torch", "openai-whisper", "numba"))
_FASTER = (("faster_whisper",), ("faster-whisper", "ctranslate2"))
ENGINES = {
    OURS: Engine("ours, int8, batch 8", ours, *_OURS),
    "ours-words": Engine("ours, the same with word times", ours_with_words, *_OURS),
    "openai": Engine(
        "openai-whisper, float32", openai_whisper, ("whisper",), ("torch", "openai-whisper")
    ),
    "faster": Engine("faster-whisper, int8", faster_whisper, *_FASTER),
    "faster-batched": Engine("faster-whisper, int8, batch 8", faster_whisper_batched, *_FASTER),
    "cpp": Engine("whisper.cpp, q8_0", whisper_cpp, ("pywhispercpp.model",), ("pywhispercpp",)),
    "openvino": Engine(
        "OpenVINO GenAI, int8 weights",
        openvino,
        ("openvino_genai",),
        ("openvino", "openvino-genai", "nncf", "optimum-intel", "transformers"),
    ),
}
