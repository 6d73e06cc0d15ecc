"""Loads models when they are first wanted, and keeps the last one.

Goes in: how the machine is to be used, then options of jobs. Comes out: engines on loan.
Does not know: jobs, files of media, how often an engine is used.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models import checkpoint, quantise
from models.registry import WhisperSpec, find, languages_of
from models.weights import Weights, is_path, locate
from pipeline.errors import BadOption, OutOfMemory
from pipeline.types import EngineDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.protocols import SpeechDetector, SpeechEngine
    from pipeline.types import SpeechOptions


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the machine is used; nothing here changes a word."""

    weights_dir: Path
    device: str = "auto"  # "cpu", "cuda", "cuda:1"; auto: a GPU if there is one
    batch_size: int = 8  # windows that are decoded together
    threads: int | None = None  # None: torch's own choice


class Pool:
    """A `pipeline.protocols.Engines`: one detector, and one speech engine at a time."""

    def __init__(self, options: PoolOptions, note: Callable[[str], None]) -> None:
        self._options = options
        self._note = note
        self._detector: SpeechDetector | None = None
        self._speech: SpeechEngine | None = None
        self._weights: tuple[str, Weights] | None = None  # under the name that they were asked by
        self._loaded: tuple[str, str] | None = None  # model and quantisation, as they were asked

    @contextmanager
    def detector(self) -> Iterator[SpeechDetector]:
        """silero-vad. Raises OutOfMemory."""
        with _memory("The speech detector"):
            if self._detector is None:
                from models.engines.silero import SileroDetector

                self._set_threads()
                self._detector = SileroDetector()
            yield self._detector

    def prepare(self, options: SpeechOptions) -> Weights:
        """Fetch the weights that the options need, before other work is put into a job.

        Raises BadOption, ModelUnavailable, StorageFailed.
        """
        if self._options.device not in ("auto", "cpu"):
            choose_device(self._options.device)
        if not is_path(options.model):
            _refuse_impossible(options, find(options.model))  # before anything is downloaded
        if self._weights is None or self._weights[0] != options.model:
            weights = locate(options.model, self._options.weights_dir, self._note)
            self._weights = (options.model, weights)
        return self._weights[1]

    @contextmanager
    def speech(self, options: SpeechOptions) -> Iterator[SpeechEngine]:
        """Whisper as the options want it.

        Raises BadOption, ModelUnavailable, StorageFailed, BadCheckpoint, OutOfMemory.
        """
        weights = self.prepare(options)
        with _memory(f"The model {options.model}, {self._options.batch_size} windows at once,"):
            engine = self._speech_engine(options, weights)
            _refuse_impossible(options, engine.description)
            yield engine

    def _speech_engine(self, options: SpeechOptions, weights: Weights) -> SpeechEngine:
        wanted = (options.model, options.quantisation)
        if self._speech is None or self._loaded != wanted:
            self._speech = None  # make room first
            self._speech = self._load(options, weights)
            self._loaded = wanted
        return self._speech

    def _load(self, options: SpeechOptions, weights: Weights) -> SpeechEngine:
        from models.engines.whisper_torch import WhisperTorch

        self._set_threads()
        device, device_reason = choose_device(self._options.device)
        found = checkpoint.read(weights)
        name = found.name if found.spec is None else found.spec.name
        precision, precision_reason = quantise.resolve(options.quantisation, device, name)
        model = checkpoint.build(found, precision, device)
        reason = f"{precision} on {device}: {device_reason}, {precision_reason}"
        languages, can_translate = _abilities(found.spec, found.dims.n_vocab)
        self._note(f"{weights.name}: {reason}")
        description = EngineDescription(
            weights.name, precision, device, languages, can_translate, reason
        )
        return WhisperTorch(model, description, self._options.batch_size)

    def _set_threads(self) -> None:
        if self._options.threads is not None:
            import torch

            torch.set_num_threads(self._options.threads)


def choose_device(wanted: str) -> tuple[str, str]:
    """The device by torch's name, "cpu" or "cuda:0", and the reason. Raises BadOption."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = ("cpu", *(f"cuda:{index}" for index in range(count)))
    if wanted == "auto":
        return (devices[1], "a GPU is there") if count else ("cpu", "no GPU that torch can use")
    device = "cuda:0" if wanted == "cuda" else wanted
    if device not in devices:
        raise BadOption(
            f"There is no device {wanted} that torch can use here; give --device auto or one of: "
            f"{', '.join(devices)}."
        )
    return device, f"{wanted} was asked for"


def _abilities(spec: WhisperSpec | None, n_vocab: int) -> tuple[tuple[str, ...], bool]:
    """Languages and translation; what fits no row may translate if it is multilingual."""
    if spec is not None:
        return spec.languages, spec.can_translate
    languages = languages_of(n_vocab)
    return languages, len(languages) > 1


def _refuse_impossible(options: SpeechOptions, able: WhisperSpec | EngineDescription) -> None:
    if options.language is not None and options.language not in able.languages:
        raise BadOption(
            f"The model {options.model} does not know the language {options.language!r}, "
            f"but only: {', '.join(able.languages)}."
        )
    if options.task == "translate" and not able.can_translate:
        raise BadOption(
            f"The model {options.model} cannot translate; take one that can, such as --model small."
        )


@contextmanager
def _memory(what: str) -> Iterator[None]:
    """Tell a lack of memory, in whichever of torch's ways it shows, as OutOfMemory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        raise OutOfMemory(
            f"{what} does not fit into memory; take a smaller --batch-size or a smaller --model, "
            "or close other programs."
        ) from error


def _is_lack_of_memory(error: Exception) -> bool:
    import torch

    # The CPU's allocator raises a plain RuntimeError with these words (c10/core/CPUAllocator).
    words = "can't allocate memory"
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or words in str(error)
