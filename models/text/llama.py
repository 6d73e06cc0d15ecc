"""The embedded home: llama.cpp in a process of ours, asked over a loopback port.

Goes in: what was chosen. Comes out: a `pipeline.protocols.TextEngine`, while it is borrowed.
Does not know: what fits, where files come from, what is asked.

A process of its own, since llama.cpp ends the process that it is in when a file is hostile or
memory runs out, holds memory back after a model is freed, and cannot be stopped while it loads:
here each of these costs one child, and killing it gives back all.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from secrets import token_hex
from threading import Lock
from typing import TYPE_CHECKING

from models.text.address import address_of
from models.text.chat import connect
from models.text.choose_llm import BATCH_TOKENS
from models.text.llama_process import Child, Order, not_installed
from models.text.wire import Patience
from pipeline.errors import BadCheckpoint, ModelUnavailable, OutOfMemory, TextEngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from models.text.chat import ChatEngine
    from models.text.choose_llm import LlmChoice
    from pipeline.types import TextAnswer, TextEngineDescription, TextRequest

HOME = "llama.cpp on this machine"
_MORE_BYTES = 2**30  # of address space: the stacks of a hundred threads


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How llama.cpp is run; nothing here changes a word."""

    threads: int | None = None  # None: llama.cpp's own choice
    load_s: float = 1800.0  # 40 GB from a slow disk
    patience: Patience = field(default_factory=lambda: Patience(pauses_s=()))  # nobody else asks it


def require_library() -> None:
    """Raise ModelUnavailable where the extra is not installed."""
    if find_spec("xllamacpp") is None:
        raise not_installed("xllamacpp is not installed")


def has_gpu(heed: Callable[[], None]) -> bool:
    """Whether this llama.cpp can use a GPU: the ready-made one of PyPI can on Apple only.

    Raises ModelUnavailable.
    """
    child = Child(None)
    try:
        return child.said(60.0, 1.0, heed).get("has_gpu") is True
    except TextEngineFailed:
        return False
    finally:
        child.end()


def load(
    choice: LlmChoice, path: Path, options: LlamaOptions, heed: Callable[[], None]
) -> LlamaEngine:
    """The model, loaded; `close` gives all its memory back.

    Raises ModelUnavailable, BadCheckpoint, OutOfMemory, TextEngineFailed.
    """
    engine = LlamaEngine(choice, path, options, heed)
    try:
        engine.start()
    except BaseException:
        engine.close()
        raise
    return engine


class LlamaEngine:
    """A model in a child process, asked by one thread at a time; others wait for their turn.

    A child that ended is started anew by the next question.
    """

    def __init__(
        self, choice: LlmChoice, path: Path, options: LlamaOptions, heed: Callable[[], None]
    ) -> None:
        self._choice = choice
        self._path = path
        self._options = options
        self._heed = heed
        self._child: Child | None = None
        self._chat: ChatEngine | None = None
        self._description: TextEngineDescription | None = None
        self._is_over = False
        self._hangs = False
        self._asking = Lock()

    @property
    def description(self) -> TextEngineDescription:
        """What was chosen; the context is what llama.cpp says."""
        assert self._description is not None, "it is not started"
        return self._description

    @property
    def is_well(self) -> bool:
        """Whether its child is there, and was not silent when it was asked last."""
        return not self._hangs and self._child is not None and self._child.is_running

    def count_tokens(self, request: TextRequest) -> int:
        """By the model's own tokenizer."""
        with self._asked(self._heed, hangs_after_s=0.0) as chat:  # nothing else makes it fail
            return chat.count_tokens(request)

    def answer(self, request: TextRequest, heed: Callable[[], None]) -> TextAnswer:
        """What the model writes."""
        with self._asked(heed, self._options.patience.silence_s) as chat:
            return chat.answer(request, heed)

    def start(self) -> ChatEngine:
        """Load the model."""
        assert not self._is_over, "the loan is over"
        self._end_child()  # of a start that was interrupted
        key, options = token_hex(16), self._options
        self._child = child = Child(_order(self._choice, self._path, key, options.threads))
        try:
            said = child.said(options.load_s, options.patience.beat_s, self._heed)
            if "address" not in said:
                raise _no_model(self._path, child)
            address = address_of(said["address"], key)
            self._chat = connect(address, patience=options.patience, heed=self._heed)
        except TextEngineFailed as error:
            if child.lingers():
                raise
            raise _no_model(self._path, child) from error
        self._description = _described(self._choice, self._chat.description)
        return self._chat

    def close(self) -> None:
        """Give everything back, for good."""
        self._is_over = True
        self._end_child()

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
        self._child = self._chat = None

    @contextmanager
    def _asked(self, heed: Callable[[], None], hangs_after_s: float) -> Iterator[ChatEngine]:
        """In turn; a failure after so long is taken for a child that hangs."""
        while not self._asking.acquire(timeout=self._options.patience.beat_s):
            heed()
        began_s = time.monotonic()
        try:
            with self._told_ends():
                yield self._chat or self.start()
            self._hangs = False
        except TextEngineFailed:
            self._hangs = time.monotonic() - began_s >= hangs_after_s
            raise
        finally:
            self._asking.release()

    @contextmanager
    def _told_ends(self) -> Iterator[None]:
        """Tell why the child ended, when it did, and name the file, not the port."""
        try:
            yield
        except (TextEngineFailed, OutOfMemory) as error:
            child, chat = self._child, self._chat
            if child is None or chat is None:
                raise
            if child.lingers():
                said = str(error).replace(f"at {chat.description.home}", self._path.name)
                raise type(error)(said) from error.__cause__
            words, is_shortage = child.last_words, child.ran_out_of_memory
            self._end_child()
            if is_shortage:
                raise _no_room(self._path, words) from error
            raise TextEngineFailed(
                f"llama.cpp ended while {self._path.name} was asked ({words}); try again, or take "
                "another model."
            ) from error


def _described(choice: LlmChoice, said: TextEngineDescription) -> TextEngineDescription:
    model = f"{choice.file.name}, {choice.file.quantisation}"
    return replace(said, model=model, home=HOME, reason=choice.reason)


def _order(choice: LlmChoice, path: Path, key: str, threads: int | None) -> Order:
    try:
        name = os.fspath(path.absolute()).encode().decode()
    except UnicodeEncodeError as error:
        raise ModelUnavailable(
            f"llama.cpp cannot take the name {str(path)!a}, which is not UTF-8: rename it."
        ) from error
    shape = (choice.context_tokens, BATCH_TOKENS, choice.gpu_layers, choice.gpu_index)
    most_bytes = 2 * choice.need_bytes + _MORE_BYTES if choice.device == "cpu" else None
    return Order(name, choice.file.name, key, *shape, threads, most_bytes)


def _no_model(path: Path, child: Child) -> ModelUnavailable | BadCheckpoint | OutOfMemory:
    """Why it could not be loaded."""
    words = child.last_words
    if child.ran_out_of_memory:
        return _no_room(path, words)
    return BadCheckpoint(
        f"{path} could not be loaded by llama.cpp ({words}): download or copy it again, or name a "
        "published model, such as --llm qwen3-4b."
    )


def _no_room(path: Path, words: str) -> OutOfMemory:
    return OutOfMemory(
        f"{path.name} does not fit into memory (llama.cpp: {words}); take a smaller model or "
        "context, or close other programs."
    )
