"""Which language model is lent where nobody insists on one.

Goes in: what was asked for, and how the machine is used. Comes out: a text engine on loan; none,
with a reason that is told, where nobody named one and none is to be had. Does not know: what is
asked.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from models.text.opening import AUTO, TextEngineOptions, open_text_engine
from pipeline.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.fetch import Note, Progress
    from models.memory import Machine
    from models.pool import PoolOptions
    from pipeline.protocols import TextEngine


@contextmanager
def lent(
    llm: str | None,
    options: PoolOptions,
    note: Note,
    progress: Progress,
    look: Callable[[str | None], Machine],
    heed: Callable[[], None],
) -> Iterator[TextEngine | None]:
    """The engine at `llm`, else the machine's own, else whichever fits, else none.

    Raises what `open_text_engine` does; where nobody named a model, nothing that a machine lacks.
    """
    texts = TextEngineOptions(
        weights_dir=options.weights_dir,
        key=options.llm_key,
        device=options.device,
        threads=options.threads,
        fetch=options.fetch,
        visible_gpus=options.visible_gpus,
    )

    def opened(where: str) -> TextEngine | None:
        return stack.enter_context(open_text_engine(where, texts, note, progress, look, heed))

    with ExitStack() as stack:
        yield opened(where) if (where := llm or options.llm) else _whichever(opened, note)


def _whichever(opened: Callable[[str], TextEngine | None], note: Note) -> TextEngine | None:
    try:
        return opened(AUTO)
    except MachineError as error:  # too little memory or disk, no library, no network
        note(f"extractive, no LLM: {error}")
        return None
