"""How many questions a recording takes, known before the first is asked.

Goes in: what was said, an engine that counts tokens, options. Comes out: parts that fit and the
number of calls. Does not know: answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import BadOption, TextEngineFailed
from pipeline.summaries.lengths import measure
from pipeline.summaries.merging import fan_in, merges
from pipeline.summaries.parts import divide, pieces_of
from pipeline.summaries.prompts import MAX_NOTE_CHARS, Task, merge_request, part_request
from pipeline.summaries.styles import load_style

if TYPE_CHECKING:
    from pipeline.protocols import TextEngine
    from pipeline.summaries.options import SummaryOptions
    from pipeline.summaries.parts import Part
    from pipeline.summaries.records import Spoken

MAX_ANSWER_TOKENS = 3072
ANSWER_SHARE = 4  # a quarter of a small context is for the answer
# Models lose what stands in the middle of long contexts (Liu et al., "Lost in the middle", 2023),
# and a processor takes a minute to read so much: larger parts would be neither better nor faster.
MAX_PART_TOKENS = 24_000
MIN_ROOM_TOKENS = 128
_CODE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_UNKNOWN = "und"  # ISO 639-2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be asked."""

    task: Task
    parts: tuple[Part, ...]
    at_once: int  # parts' notes that are merged at once
    calls: int  # parts and merges; more only where an answer must be asked for again


def make_plan(spoken: Spoken, engine: TextEngine, options: SummaryOptions) -> Plan:
    """Split what was said so that each question and its answer fit the engine's context.

    Raises BadOption (style, language), TextEngineFailed (context too small, or no answer).
    """
    context_tokens = engine.description.context_tokens
    task = Task(
        style=load_style(options.style),
        language=_wanted_language(options, spoken),
        glossary=options.glossary,
        answer_tokens=min(MAX_ANSWER_TOKENS, context_tokens // ANSWER_SHARE),
    )
    base_tokens = engine.count_tokens(part_request(task, ()))
    room_tokens = question_tokens(task, context_tokens) - base_tokens
    if room_tokens < MIN_ROOM_TOKENS:
        raise TextEngineFailed(
            f"{engine.description.model}: a context of {context_tokens} tokens is too small, since "
            f"the question alone takes {base_tokens}: choose a larger context."
        )
    parts = divide(
        pieces_of(spoken.lines),
        min(room_tokens, MAX_PART_TOKENS),
        lambda pieces: engine.count_tokens(part_request(task, pieces)) - base_tokens,
    )
    if len(parts) == 1:
        return Plan(task, parts, at_once=2, calls=1)
    merge_tokens = engine.count_tokens(merge_request(task, "", measure(0)))
    at_once = fan_in(question_tokens(task, context_tokens) - merge_tokens)
    return Plan(task, parts, at_once, len(parts) + merges(len(parts), at_once))


def question_tokens(task: Task, context_tokens: int) -> int:
    """What a question may take, so that the answer fits too, and a word on why to answer again."""
    spare_tokens = MAX_NOTE_CHARS  # of ASCII: a token is at least one character
    return context_tokens - task.answer_tokens - spare_tokens


def _wanted_language(options: SummaryOptions, spoken: Spoken) -> str | None:
    if options.language is not None and not _CODE.fullmatch(options.language):
        raise BadOption(
            f"--summary-language {options.language}: give a language's code, such as en or pt-BR."
        )
    heard = spoken.language or ""
    return options.language or (heard if _CODE.fullmatch(heard) and heard != _UNKNOWN else None)
