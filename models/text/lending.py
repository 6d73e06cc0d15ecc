"""Which language model is lent where nobody insists on one, and for how long it is kept.

Goes in: what was asked for, and how the machine is used. Comes out: a text engine on loan; none,
with a reason that is told, where nobody named one and none is to be had. Does not know: what is
asked.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from models.lent import Lent, LentText, free_after_speech, rest
from models.text.address import address_of, is_address
from models.text.chat import connect
from models.text.line import WireFailed
from models.text.opening import AUTO, NONE, TextEngineOptions, start_text_engine
from models.text.wire import within
from pipeline.errors import MachineError, OutOfMemory, TextEngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.fetch import Note, Progress
    from models.loans import Loans
    from models.memory import Machine
    from models.pool import PoolOptions
    from models.text.chat import ChatEngine
    from pipeline.protocols import TextEngine
    from pipeline.types import TextEngineDescription

LACK_S = 600.0  # for so long what was not to be had is not tried again
AWAY_S = 25.0  # nor a server that was away; the queue's next attempt comes later, and asks again


@dataclass(frozen=True, slots=True)
class _Away:
    """Why a server did not answer the last file, and until when it is not asked again."""

    reason: str
    until_s: float


@dataclass(frozen=True, slots=True)
class _Known:
    """A server's engine, and what the server said of itself."""

    engine: ChatEngine
    said: TextEngineDescription


class Lender:
    """Lends language models to any number of threads.

    One that runs on this machine stays among the loans, where a speech engine takes its place and
    it takes theirs: the two are never loaded at once. A server's engine keeps what it measured, as
    long as the server is the same.
    """

    def __init__(
        self,
        options: PoolOptions,
        loans: Loans[Lent],
        note: Note,
        progress: Progress,
        look: Callable[[str | None], Machine],
        heed: Callable[[], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = options.llm
        self._options = _text_options(options)
        self._loans = loans
        self._note = note
        self._progress = progress
        self._look = look
        self._heed = heed
        self._now_s = now_s
        self._lack: type[MachineError] | None = None  # why there was none
        self._lack_until_s = now_s()
        self._servers: dict[str, _Known] = {}
        self._away: dict[str, _Away] = {}
        self._telling = Lock()

    @contextmanager
    def lend(self, llm: str | None) -> Iterator[TextEngine | None]:
        """The engine at `llm`, else the machine's own, else whichever fits, else none.

        Raises BadOption, ModelUnavailable, BadCheckpoint, StorageFailed, OutOfMemory,
        TextEngineFailed; where nobody named a model, nothing that a machine lacks.
        """
        where = llm or self._own
        with ExitStack() as stack:
            if where is None:
                yield self._whichever(stack)
            elif where == NONE:
                yield None
            elif is_address(where):
                yield stack.enter_context(self._there(where))
            else:
                yield stack.enter_context(self._here(where))

    def _whichever(self, stack: ExitStack) -> TextEngine | None:
        """Of a thousand files only the first waits for a network that is away, and tells of it."""
        is_recent = self._now_s() < self._lack_until_s
        if is_recent and self._lack is not OutOfMemory:  # a look at memory is quick
            return None
        try:
            return stack.enter_context(self._here(AUTO))
        except MachineError as error:  # too little memory or disk, no library, no network
            if not is_recent or self._lack is not type(error):
                self._note(f"extractive, no LLM: {error}")
                self._lack, self._lack_until_s = type(error), self._now_s() + LACK_S
            return None

    @contextmanager
    def _there(self, where: str) -> Iterator[TextEngine]:
        """Of a thousand files only one now and then waits for a server that is away.

        It is when it does not say who it is, or is silent to two files in a row: one may be too
        much for it.
        """
        away = self._away.pop(where, None)
        is_sure = True
        if away and self._now_s() < away.until_s:
            self._away[where] = away
            raise TextEngineFailed(away.reason)
        try:
            engine = self._server(where)
            is_sure = away is not None
            yield engine
        except OutOfMemory as error:  # of its machine: nothing that is given back here helps
            raise TextEngineFailed(str(error)) from error
        except TextEngineFailed as error:
            if isinstance(error.__cause__, WireFailed) and error.__cause__.is_away:
                until_s = self._now_s() + (AWAY_S if is_sure else 0.0)
                self._away[where] = _Away(str(error), until_s)
            raise

    def _server(self, where: str) -> TextEngine:
        """Asked anew who it is: since the last file another model may have taken its place."""
        rest(self._loans)  # it may be a program of this very machine
        options = self._options
        address = address_of(where, options.key)
        engine = connect(address, options.context_tokens, options.patience, self._heed)
        said = engine.description
        with self._telling:
            known = self._servers.get(where)
            if known is None or known.said != said:
                self._note(said.reason)
                known = self._servers[where] = _Known(engine, said)
            return known.engine

    @contextmanager
    def _here(self, where: str) -> Iterator[TextEngine]:
        def load() -> LentText:
            free_after_speech()
            arguments = (self._options, self._note, self._progress, self._look, self._heed)
            return LentText(start_text_engine(where, *arguments), where)

        def serves(lent: Lent) -> bool:
            return isinstance(lent, LentText) and lent.serves(where)

        with self._loans.lend(serves, load) as lent:
            assert isinstance(lent, LentText)
            try:
                yield lent.engine
            except OutOfMemory:
                self._loans.drop(lent)  # others may need what it has
                raise


def _text_options(options: PoolOptions) -> TextEngineOptions:
    return TextEngineOptions(
        weights_dir=options.weights_dir,
        key=options.llm_key,
        device=options.device,
        threads=options.threads,
        fetch=options.fetch,
        visible_gpus=options.visible_gpus,
        patience=within(options.llm_patience_s),
    )
