"""What the pool keeps for the next who wants the same: one that hears, or one that writes.

Goes in: an engine, and what it was loaded for. Comes out: whether it serves another wish. Does not
know: how it is loaded, when it goes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.choose import Wanted, ladder

if TYPE_CHECKING:
    from models.loans import Loans
    from models.text.llama import LlamaEngine
    from pipeline.protocols import SpeechEngine

    Key = tuple[tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class LentSpeech:
    """An engine that hears, and what it was chosen for."""

    engine: SpeechEngine
    key: Key
    candidates: int  # beams or samples of one window that it has room for

    def serves(self, wanted: Wanted) -> bool:
        """Whether it does; any that tells languages apart may detect one."""
        has_room = wanted.candidates <= self.candidates
        return has_room and (self.key == key_of(wanted) or self._is_as_good(wanted))

    def _is_as_good(self, wanted: Wanted) -> bool:
        """Whether loading another would gain nothing: English by a model of many languages."""
        found = self.engine.description
        if wanted.model is not None or len(found.languages) == 1:
            return False
        return wanted.language is None or f"{found.model}.en" in key_of(wanted)[0]


def key_of(wanted: Wanted) -> Key:
    """Equal for all that the same model serves."""
    return tuple(spec.name for spec in ladder(wanted)), wanted.quantisation


@dataclass(frozen=True, slots=True)
class LentText:
    """A language model that runs on this machine, and as what it was asked for."""

    engine: LlamaEngine
    where: str

    def serves(self, where: str) -> bool:
        """Whether it does; one that ended or hangs is better loaded anew."""
        return self.where == where and self.engine.is_well


Lent = LentSpeech | LentText


def end(lent: Lent) -> None:
    """Give back what does not go with the last reference."""
    if isinstance(lent, LentText):
        lent.engine.close()


def rest(loans: Loans[Lent]) -> None:
    """Give memory back that nobody uses now."""
    if loans.thing is not None:
        loans.let_go()
        free_after_speech()


def free_after_speech() -> None:
    """Let the allocators give back what engines that heard have left."""
    if "torch" in sys.modules:  # else none did
        from models.shortage import free_unused

        free_unused()
