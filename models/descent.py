"""Loads what was chosen, and less of it each time that memory runs out.

Goes in: a choice, and a function that builds it. Comes out: a loaded model.
Does not know: files, decoding, why memory is short.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from models.choose import GIB, step_down
from models.engines.loaded import release, with_batch_size
from models.shortage import free_unused, is_shortage
from pipeline.errors import ModelUnavailable, OutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.choose import Choice, Wanted
    from models.engines.loaded import Loaded
    from models.memory import Machine


class Descent:
    """From the best choice downwards: batch, precision, size, then from the GPU to the CPU.

    `build` loads a choice or raises for a lack of memory; `here` tells the models that need no
    download. Each step needs less than the one before, so there is an end.
    """

    def __init__(
        self,
        machine: Machine,
        wanted: Wanted,
        choice: Choice,
        build: Callable[[Choice], Loaded],
        here: Callable[[], tuple[str, ...]],
        note: Callable[[str], None],
    ) -> None:
        self._machine = machine
        self._wanted = wanted
        self._choice = choice
        self._build = build
        self._here = here
        self._note = note

    def load(self) -> Loaded:
        """The choice, or the first below it that memory allows. Raises OutOfMemory."""
        return self._build_within_memory() or self._go_down()

    def relieve(self, loaded: Loaded) -> Loaded:
        """What needs less than `loaded`, whose memory is taken back. Raises OutOfMemory."""
        before = self._choice
        self._step_down()
        smaller = self._smaller(loaded) if self._choice.is_same_model(before) else None
        if smaller is not None:
            return smaller
        release(loaded)
        free_unused()
        return self._build_below() or self._go_down()

    def _smaller(self, loaded: Loaded) -> Loaded | None:
        """The same model for fewer windows, if memory allows that."""
        description = replace(loaded.description, reason=self._choice.reason)
        try:
            smaller = with_batch_size(loaded, self._choice.batch_size)
        except (MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            return None
        return replace(smaller, description=description)

    def _go_down(self) -> Loaded:
        loaded = None
        while loaded is None:
            self._step_down()
            loaded = self._build_below()
        return loaded

    def _build_within_memory(self) -> Loaded | None:
        try:
            return self._build(self._choice)
        except (MemoryError, RuntimeError, OutOfMemory) as error:
            if not is_shortage(error):
                raise
        free_unused()  # only now is what the exception's frames held free
        return None

    def _build_below(self) -> Loaded | None:
        """As above; without the weights of a smaller model, only what is here is gone down to."""
        try:
            return self._build_within_memory()
        except ModelUnavailable as error:
            self._note(str(error))
            self._wanted = replace(self._wanted, among=self._here())
            return None

    def _step_down(self) -> None:
        lower = step_down(self._machine, self._wanted, self._choice)
        if lower is None:
            least = self._choice
            raise OutOfMemory(
                f"Memory ran out, and nothing smaller is left than {least.spec.name}, "
                f"{least.quantisation}, batch {least.batch_size}, which needs "
                f"{least.need_bytes / GIB:.1f} GiB: "
                "close other programs, or give the machine more memory."
            )
        self._choice = lower
        self._note(lower.reason)
