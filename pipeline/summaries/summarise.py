"""The story of one summary.

Goes in: what was said, an engine or none, options. Comes out: a summary that tells what it covers.
Does not know: which model answers, how it is reached, where files go.

    plan ─► ask for each part ─► ask again in halves ─► merge in steps ─► summary

Who only estimates tokens may find a part too long when it is asked: it is halved until it fits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import QuestionTooLong, TextEngineFailed
from pipeline.summaries.answers import UnusableAnswer, read_merge, read_part
from pipeline.summaries.asking import ask
from pipeline.summaries.cleaning import visible
from pipeline.summaries.coverage import coverage
from pipeline.summaries.extractive import extract, nothing_said
from pipeline.summaries.grounding import chapters, grounded
from pipeline.summaries.lengths import measure
from pipeline.summaries.merging import (
    DETAILS,
    chosen,
    distinct,
    groups,
    join,
    merges,
    show,
    spread,
)
from pipeline.summaries.parts import halves
from pipeline.summaries.planning import make_plan, question_tokens
from pipeline.summaries.prompts import clock, merge_request, part_request
from pipeline.summaries.records import PROGRAM, Notes, Summary, SummaryProvenance
from pipeline.summaries.work import Work, made_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.protocols import TextEngine
    from pipeline.summaries.lengths import Measure
    from pipeline.summaries.merging import Shown
    from pipeline.summaries.options import SummaryOptions
    from pipeline.summaries.parts import Part
    from pipeline.summaries.records import Spoken
    from pipeline.summaries.work import Once, SummaryListener
    from pipeline.types import TextRequest

MOST_HALVINGS = 4  # estimates are never below a tenth of a token a byte, and a token has a byte


def summarise(
    spoken: Spoken,
    engine: TextEngine | None,
    options: SummaryOptions,
    listener: SummaryListener,
    heed: Callable[[], None],
    once: Once = made_anew,
    now_s: Callable[[], float] = time.monotonic,
) -> Summary:
    """Make the summary of one recording; without an engine, of its own sentences.

    Answers are kept by `once`, so that a run after a crash asks only for the rest. A part without
    a usable answer is named in the coverage. Raises TextEngineFailed when no part has one or the
    engine is gone, OutOfMemory, BadOption, and whatever `heed` raises.
    """
    if not any(visible(line.text) for line in spoken.lines):
        return nothing_said(spoken)
    if engine is None:
        return extract(spoken)
    plan = make_plan(spoken, engine, options)
    work = Work(spoken, engine, plan, listener, heed, once, now_s)
    taken = _ask_again(work, _ask_all(work, plan.parts))
    answered = tuple(one for one in taken if isinstance(one.notes, Notes))
    if not answered:
        raise _why_nothing(engine, taken)
    notes = _merge_all(work, _notes_of(answered))
    return _summary(work, answered, notes)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A part, and the notes that were taken of it, or why there are none."""

    part: Part
    notes: Notes | TextEngineFailed


def _why_nothing(engine: TextEngine, taken: tuple[_Taken, ...]) -> TextEngineFailed:
    """What the engine itself said, if it failed; else it answered nonsense."""
    for one in taken:
        if isinstance(one.notes, TextEngineFailed) and not isinstance(one.notes, UnusableAnswer):
            return one.notes
    return TextEngineFailed(
        f"{engine.description.model}: none of its answers is usable: try another model."
    )


def _ask_all(work: Work, parts: tuple[Part, ...]) -> tuple[_Taken, ...]:
    work.total = work.plan.calls
    work.tell()
    return tuple(one for part in parts for one in _ask(work, part))


def _ask_again(work: Work, taken: tuple[_Taken, ...]) -> tuple[_Taken, ...]:
    """Parts that failed are asked for once more.

    Where the answer was unusable, in halves: the same question would have the same answer. What
    fails again is left out of the summary and named in it.
    """
    again = {one.part: _smaller(one) for one in taken if not isinstance(one.notes, Notes)}
    work.total += sum(map(len, again.values()))
    result: list[_Taken] = []
    for one in taken:
        parts = again.get(one.part)
        result += [each for part in parts for each in _ask(work, part)] if parts else [one]
    return tuple(result)


def _smaller(failed: _Taken) -> tuple[Part, ...]:
    if isinstance(failed.notes, QuestionTooLong):
        return ()  # it was halved already
    return halves(failed.part) if isinstance(failed.notes, UnusableAnswer) else (failed.part,)


def _notes_of(answered: tuple[_Taken, ...]) -> tuple[Notes, ...]:
    return tuple(one.notes for one in answered if isinstance(one.notes, Notes))


def _ask(work: Work, part: Part, halvings: int = MOST_HALVINGS) -> tuple[_Taken, ...]:
    """What is taken of a part; where it is too long for the engine, of its halves."""
    task = work.plan.task
    request = part_request(task, part)

    def make() -> Notes:
        answer = ask(work.engine, request, read_part, work.heed)
        return grounded(answer, part, task.style.lists)

    notes = work.notes(request, make)
    if not halvings or not isinstance(notes, QuestionTooLong):
        return (_Taken(part, notes),)
    smaller = halves(part)
    work.total += len(smaller)
    return tuple(one for half in smaller for one in _ask(work, half, halvings - 1))


def _merge_all(work: Work, level: tuple[Notes, ...]) -> Notes:
    """One of all, in steps of as many as fit."""
    work.total = work.done + merges(len(level), work.plan.at_once)  # more, where parts failed
    while len(level) > 1:
        share_s = _length_s(work.spoken) / len(level)
        level = tuple(
            _merge(work, group, share_s * len(group)) for group in groups(level, work.plan.at_once)
        )
    return level[0]


def _merge(work: Work, group: tuple[Notes, ...], length_s: float) -> Notes:
    """What a model makes of several notes; where it cannot, they are joined by code."""
    if len(group) == 1:
        return group[0]
    most = measure(length_s)
    joined = join(group, most)
    for tries, (request, shown) in enumerate(_fitting(work, group, most)):
        work.total += min(tries, 1)  # the first is in the plan

        def make(request: TextRequest = request, shown: Shown = shown) -> Notes:
            return chosen(ask(work.engine, request, read_merge, work.heed), shown, joined)

        notes = work.notes(request, make)
        if isinstance(notes, Notes):
            return notes
        if not isinstance(notes, QuestionTooLong):
            break
    work.fallbacks.append(f"the notes of {len(group)} parts were joined without the model")
    return joined


def _fitting(
    work: Work, group: tuple[Notes, ...], most: Measure
) -> Iterator[tuple[TextRequest, Shown]]:
    """The questions about these notes that fit the context, the most detailed first."""
    task = work.plan.task
    room_tokens = question_tokens(task, work.engine.description.context_tokens)
    before = None
    for detail in DETAILS:
        shown = show(group, detail)
        request = merge_request(task, shown.text, most)
        if request != before and work.engine.count_tokens(request) <= room_tokens:
            yield request, shown
        before = request


def _summary(work: Work, answered: tuple[_Taken, ...], notes: Notes) -> Summary:
    spoken, task = work.spoken, work.plan.task
    covered = coverage(spoken, (one.part for one in answered), work.answered)
    for gap in covered.missing:
        from_to = f"{clock(gap.start_s)} to {clock(gap.end_s)}"
        work.fallbacks.append(f"not summarised: {from_to}, since no answer was usable")
    if not notes.chapters:
        work.fallbacks.append("no chapter was found that is really in the transcript")
    if not notes.points:
        work.fallbacks.append("no key point was found that is really in the transcript")
    return Summary(
        source=spoken.source,
        media=spoken.media,
        duration_s=spoken.duration_s,
        title=notes.title,
        abstract=notes.abstract,
        points=spread(distinct(notes.points), measure(_length_s(spoken)).most_points),
        chapters=chapters(notes.chapters, spoken, opening=_notes_of(answered)[0].title),
        topics=notes.topics,
        people=notes.people,
        terms=notes.terms,
        questions=notes.questions,
        actions=notes.actions,
        coverage=covered,
        provenance=SummaryProvenance(
            program=PROGRAM,
            engine=work.engine.description,
            style=task.style.name,
            prompt_version=task.style.version,
            language=task.language,
            fallbacks=tuple(work.fallbacks),
        ),
    )


def _length_s(spoken: Spoken) -> float:
    return spoken.lines[-1].end_s - spoken.lines[0].start_s
