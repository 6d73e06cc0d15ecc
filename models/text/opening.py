"""Starts the language model that was asked for on this machine, or less where memory is short.

Goes in: its name or its file, and how the machine is used. Comes out: a text engine, loaded. Does
not know: what is asked, how a model is run, who else wants it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from models import memory
from models.fetch import FetchOptions
from models.llms import LLMS, find_llm
from models.text import files, gguf, llama
from models.text.chat import nothing
from models.text.choose_llm import (
    DEFAULT_TOKENS,
    LlmChoice,
    LlmFile,
    LlmWanted,
    choices,
    choose,
    of_own,
    of_spec,
    step_down,
)
from models.text.wire import Patience
from pipeline.errors import BadOption, ModelUnavailable, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.fetch import Note, Progress
    from models.memory import Machine
    from models.text.llama import LlamaEngine

NONE = "none"  # no language model
AUTO = "auto"  # whichever fits


@dataclass(frozen=True, slots=True)
class TextEngineOptions:
    """How the machine and the network are used; nothing here is told to a model."""

    weights_dir: Path
    context_tokens: int | None = None  # None: a server's own; 8192 here; 16 384 for Ollama
    key: str | None = field(default=None, repr=False)  # for a server that wants one
    device: str = "auto"  # "cpu", "cuda", "cuda:1", "mps"; of the embedded home
    threads: int | None = None  # of the embedded home; None: llama.cpp's own choice
    fetch: FetchOptions = field(default_factory=FetchOptions)
    visible_gpus: str | None = None  # as CUDA_VISIBLE_DEVICES has it
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        """Raises BadOption."""
        if self.context_tokens is not None and not 1024 <= self.context_tokens <= 2**20:  # noqa: PLR2004  - beside its message
            raise BadOption("The context of a language model is 1024 to 1048576 tokens.")


def silent(_done_bytes: int, _total_bytes: int | None) -> None:
    """Progress that nobody watches."""


def start_text_engine(
    where: str,
    options: TextEngineOptions,
    note: Note,
    progress: Progress = silent,
    look: Callable[[str | None], Machine] = memory.look,
    heed: Callable[[], None] = nothing,
) -> LlamaEngine:
    """The engine at `where`, loaded; `close` gives all its memory back.

    `where`: "auto", a name of the registry, or the path of a GGUF file. `heed` is called once a
    second while it is waited for, and may raise. Raises BadOption, ModelUnavailable, BadCheckpoint,
    StorageFailed, OutOfMemory, TextEngineFailed.
    """
    return _Home(where, options, note, progress, heed).start(look(options.visible_gpus))


class _Home:
    """A model that is run on this machine."""

    def __init__(
        self,
        where: str,
        options: TextEngineOptions,
        note: Note,
        progress: Progress,
        heed: Callable[[], None],
    ) -> None:
        llama.require_library()
        self._options = options
        self._note = note
        self._progress = progress
        self._heed = heed
        self._wanted = LlmWanted(
            _files(where, options.weights_dir),
            is_named=where != AUTO,
            context_tokens=options.context_tokens or DEFAULT_TOKENS,
            device=options.device,
        )

    def start(self, machine: Machine) -> LlamaEngine:
        """The first choice that memory allows."""
        fitting = self.choices(machine)
        while True:
            choice, path = self.bring(fitting)
            options = llama.LlamaOptions(
                self._options.threads, patience=replace(self._options.patience, pauses_s=())
            )
            self._note(choice.reason)
            try:
                return llama.load(choice, path, options, self._heed)
            except OutOfMemory as error:
                below = step_down(fitting, choice)
                if below is None:
                    raise
                self._note(f"{error} Trying less.")
                fitting = fitting[fitting.index(below) :]

    def choices(self, machine: Machine) -> tuple[LlmChoice, ...]:
        """All that fit, the best first. Raises BadOption, OutOfMemory."""
        if machine.gpus and self._options.device != "cpu" and not llama.has_gpu(self._heed):
            names = ", ".join(gpu.name for gpu in machine.gpus)
            self._note(
                f"This llama.cpp cannot use the GPU ({names}); its makers have builds that can: "
                "https://github.com/xorbitsai/xllamacpp."
            )
            machine = replace(machine, gpus=())
        return choices(machine, self._wanted) or (choose(machine, self._wanted),)

    def bring(self, fitting: tuple[LlmChoice, ...]) -> tuple[LlmChoice, Path]:
        """The first choice and its file; without a network, if any would do, one that is here."""
        try:
            return fitting[0], self._path(fitting[0].file)
        except ModelUnavailable as error:
            here = [choice for choice in fitting if choice.file.path is not None]
            if self._wanted.is_named or not here or here[0] is fitting[0]:
                raise
            self._note(f"{error} Until then, a model that is on this machine is taken.")
            return here[0], self._path(here[0].file)

    def _path(self, file: LlmFile) -> Path:
        if file.published is None:
            assert file.path is not None
            return file.path
        fetch, folder = self._options.fetch, self._options.weights_dir
        path = files.brought(*file.published, folder, fetch, self._note, self._progress)
        return gguf.read(path).path


def _files(where: str, folder: Path) -> tuple[LlmFile, ...]:
    """What could be run."""
    if files.is_path(where):
        return (of_own(gguf.read(files.own_path(where))),)
    specs = LLMS if where == AUTO else (find_llm(where),)
    return tuple(
        of_spec(spec, file, files.path_here(file, folder))
        for spec in specs
        for file in spec.gguf_files
    )
