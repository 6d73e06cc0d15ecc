"""One question, asked until its answer can be used.

Goes in: an engine, a request, and who reads the answer. Comes out: what was read from it. Does not
know: what is asked. Whether a server is down is the engine's matter, who tries again by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pipeline.summaries.answers import UnusableAnswer
from pipeline.summaries.prompts import again

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.protocols import TextEngine
    from pipeline.types import TextRequest

T = TypeVar("T")

REPAIRS = 2


def ask(
    engine: TextEngine,
    request: TextRequest,
    read: Callable[[str], T],
    heed: Callable[[], None],
) -> T:
    """What `read` takes from the answer; it is asked at most twice to write it better.

    Raises UnusableAnswer when nothing helps, TextEngineFailed, OutOfMemory.
    """
    wording = request
    for repairs_left in range(REPAIRS, -1, -1):
        heed()
        answer = engine.answer(wording, heed)
        try:
            return read(answer.text)
        except UnusableAnswer as error:
            reason = "it was cut off, be brief" if answer.is_cut else error.reason
            if not repairs_left:
                raise UnusableAnswer(reason) from error
            wording = again(request, reason)
    raise AssertionError("the last answer was read or refused")
