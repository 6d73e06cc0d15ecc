"""Loads models when they are first wanted, keeps the last one, and lends less when memory runs out.

Goes in: how the machine is to be used, then options of jobs. Comes out: engines on loan.
Does not know: jobs, files of media, how often an engine is used.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from models import cache, checkpoint, ggml, lent, memory
from models.choose import Wanted, choices, choose, refuse_impossible
from models.descent import Descent
from models.engines.cpp_context import library_for
from models.engines.loaded import made_ready
from models.fetch import FetchOptions
from models.inventory import QUANTISATIONS, is_here
from models.lent import Lent, LentSpeech, key_of
from models.loans import Loans, nothing
from models.needs import CANDIDATES
from models.registry import WHISPERS, find, of_own
from models.shortage import free_unused, is_shortage, told_as_out_of_memory
from models.text.lending import Lender
from models.weights import AUTO, Weights, is_path, is_whisper_cpp, locate, own_path
from pipeline.errors import BadOption, ModelUnavailable, OutOfMemory
from pipeline.types import EngineDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from models.choose import Choice
    from models.engines.loaded import Loaded
    from models.fetch import Progress
    from models.memory import Machine
    from pipeline.protocols import SpeechDetector, SpeechEngine, TextEngine
    from pipeline.types import SpeechOptions


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the machine is used; nothing here changes a word by itself."""

    weights_dir: Path
    device: str = "auto"  # "cpu", "cuda", "cuda:1", "mps"; auto: what fits
    batch_size: int | None = None  # windows that are decoded together; None: what fits
    threads: int | None = None  # None: torch's own choice
    fetch: FetchOptions = field(default_factory=FetchOptions)
    visible_gpus: str | None = None  # as CUDA_VISIBLE_DEVICES has it
    llm: str | None = None  # the language model for those who name none; None: what fits
    llm_key: str | None = field(default=None, repr=False)  # for a server that wants one
    llm_patience_s: float | None = None  # for one answer, all tries together; None: the usual


def silent(_done_bytes: int, _total_bytes: int | None) -> None:
    """Progress that nobody watches."""


class Pool:
    """A `pipeline.protocols.Engines` for any number of threads.

    One engine is loaded at a time: one that hears, or one that writes.

    `heed` is called now and then while a thread waits for what it asked, and may raise.
    """

    def __init__(
        self,
        options: PoolOptions,
        note: Callable[[str], None],
        progress: Progress = silent,
        look: Callable[[str | None], Machine] = memory.look,
        heed: Callable[[], None] = nothing,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._note = note
        self._progress = progress
        self._look = look
        self._heed = heed
        self._detectors: Loans[SpeechDetector] = Loans(heed)
        self._engines: Loans[Lent] = Loans(heed, lent.end)
        self._texts = Lender(options, self._engines, note, progress, look, heed, now_s)
        self._warned = ""
        self._threads = options.threads

    @contextmanager
    def detector(self) -> Iterator[SpeechDetector]:
        """silero-vad. Raises OutOfMemory."""
        loan = self._detectors.lend(lambda _: True, self._new_detector)
        with told_as_out_of_memory("The speech detector"), loan as detector:
            yield detector

    def _new_detector(self) -> SpeechDetector:
        from models.engines.silero import SileroDetector

        self._set_threads()
        return SileroDetector()

    def prepare(self, options: SpeechOptions) -> None:
        """Choose, and fetch the weights, before other work is put into a job.

        Raises BadOption, ModelUnavailable, StorageFailed, BadCheckpoint, OutOfMemory.
        """
        if is_whisper_cpp(options.model):
            self._refuse_whisper_cpp(options)
            return
        wanted, there = self._wanted(options), self._engines.thing
        if not (isinstance(there, LentSpeech) and there.serves(wanted)):
            self._choose(wanted)

    @contextmanager
    def speech(self, options: SpeechOptions) -> Iterator[SpeechEngine]:
        """Whisper as the options want it.

        Raises BadOption, ModelUnavailable, StorageFailed, BadCheckpoint, OutOfMemory.
        """
        with told_as_out_of_memory(f"The model {options.model}"), self._lend(options) as loan:
            assert isinstance(loan, LentSpeech)
            try:
                yield loan.engine
            except (MemoryError, RuntimeError, OutOfMemory) as error:
                if is_shortage(error):
                    self._engines.drop(loan)  # nothing smaller was left to go on with
                raise

    def text(self, llm: str | None) -> AbstractContextManager[TextEngine | None]:
        """The language model of that name; Whisper gives its memory back first."""
        return self._texts.lend(llm)

    def rest(self) -> None:
        """Give memory back that nobody uses now."""
        lent.rest(self._engines)

    def _lend(self, options: SpeechOptions) -> AbstractContextManager[Lent]:
        if is_whisper_cpp(options.model):
            self._refuse_whisper_cpp(options)
            key = (options.model,), "auto"
            return self._engines.lend(
                lambda there: isinstance(there, LentSpeech) and there.key == key,
                lambda: LentSpeech(self._whisper_cpp(options), key, 0),
            )
        wanted = self._wanted(options)
        return self._engines.lend(
            lambda there: isinstance(there, LentSpeech) and there.serves(wanted),
            lambda: LentSpeech(self._whisper_torch(wanted), key_of(wanted), wanted.candidates),
        )

    def _choose(self, wanted: Wanted) -> tuple[Machine, Choice]:
        """What fits; without a network, of what is on this machine."""
        machine = self._look(self._options.visible_gpus)
        choice = choose(machine, wanted)
        try:
            self._bring(choice)
        except ModelUnavailable as error:
            here = self._here()
            if wanted.model is not None or not here:
                raise
            if self._warned != str(error):  # once is enough
                self._warned = str(error)
                self._note(f"{error} Until then, a model that is on this machine is taken.")
            choice = self._choose_here(machine, replace(wanted, among=here))
        return machine, choice

    def _choose_here(self, machine: Machine, wanted: Wanted) -> Choice:
        """What fits, needs no download, and is not damaged."""
        for choice in choices(machine, wanted):
            if is_here(choice.spec, choice.quantisation, self._options.weights_dir):
                with suppress(ModelUnavailable):
                    self._bring(choice)
                    return choice
        return choose(machine, wanted)

    def _whisper_torch(self, wanted: Wanted) -> SpeechEngine:
        from models.engines.shared import SharedEngine
        from models.engines.whisper_torch import WhisperTorch

        free_unused()
        machine, choice = self._choose(wanted)
        self._note(choice.reason)
        build = partial(self._build, candidates=wanted.candidates)
        descent = Descent(machine, wanted, choice, build, self._here, self._note)
        return SharedEngine(WhisperTorch(descent.load(), descent.relieve), self._heed)

    def _build(self, choice: Choice, candidates: int) -> Loaded:
        weights, folder = self._bring(choice), self._options.weights_dir
        self._set_threads()
        model = checkpoint.load(weights, choice.quantisation, choice.device, folder, self._note)
        description = EngineDescription(
            weights.name,
            choice.quantisation,
            choice.device,
            choice.spec.languages,
            choice.spec.can_translate,
            choice.reason,
        )
        return made_ready(model, description, choice.batch_size, candidates)

    def _bring(self, choice: Choice) -> Weights:
        """The weights on this machine; what is quantised already needs no other file."""
        spec, folder = choice.spec, self._options.weights_dir
        if not is_path(spec.name) and cache.holds(spec, choice.quantisation, folder):
            return Weights(spec.name, folder / spec.file_name, spec, spec.sha256)
        return self._locate(spec.name)

    def _locate(self, model: str) -> Weights:
        options = self._options
        return locate(model, options.weights_dir, options.fetch, self._note, self._progress)

    def _here(self) -> tuple[str, ...]:
        """Published models that need no download, smallest first."""
        folder = self._options.weights_dir
        return tuple(
            spec.name
            for spec in WHISPERS
            if spec.sha256 and any(is_here(spec, one, folder) for one in QUANTISATIONS)
        )

    def _wanted(self, options: SpeechOptions) -> Wanted:
        model = None
        if is_path(options.model):
            dimensions = checkpoint.own_dimensions(own_path(options.model))
            model = of_own(options.model, dimensions)
        elif options.model != AUTO:
            model = find(options.model)
        return Wanted(
            options.language,
            options.task,
            options.wish,
            model,
            options.quantisation,
            self._options.device,
            self._options.batch_size,
            candidates=max(CANDIDATES, options.beam_size, options.best_of),
        )

    def _refuse_whisper_cpp(self, options: SpeechOptions) -> None:
        """Raise what can be raised without loading: BadOption, BadCheckpoint, ModelUnavailable."""
        file = ggml.read(own_path(options.model))
        library_for(file.path)
        refuse_impossible(of_own(options.model, file.dimensions), options.language, options.task)
        if options.quantisation not in ("auto", file.format.nearest):
            raise BadOption(
                f"{options.model} is quantised already ({file.format.name}): leave "
                f"--quantisation {options.quantisation} out."
            )

    def _whisper_cpp(self, options: SpeechOptions) -> SpeechEngine:
        from models.engines import whisper_cpp
        from models.engines.shared import OneAtATime

        path = own_path(options.model)
        engine = whisper_cpp.load(path, self._options.device, self._options.threads)
        self._note(engine.description.reason)
        return OneAtATime(engine, self._heed)

    def _set_threads(self) -> None:
        """Engines that have threads of their own leave torch with fewer."""
        import torch

        self._threads = self._threads or torch.get_num_threads()
        torch.set_num_threads(self._threads)
