"""Subtitles laid out for reading: which words share a line, which lines a cue, and when it shows.

Goes in: segments with their times, the media's duration, the layout's limits, the language.
Comes out: cues that keep every word once and in order, never overlap and lie within the media.
Does not know: files, formats, how the words were heard.

The limits hold always: lines, columns (`pipeline.atoms` counts them), order. Within them, every way
to cut the text into cues and lines has a cost, and the cheapest of all is taken (dynamic
programming, as TeX breaks paragraphs: Knuth and Plass, 1981). Then `pipeline.timing` times them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from math import ceil, inf
from typing import TYPE_CHECKING

from pipeline.atoms import Atom, atoms_of
from pipeline.breaking import COSTS, GRAMMARS, NO_GRAMMAR, Grammar, break_cost, ends_sentence
from pipeline.timing import Draft, timed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.types import Cue, LayoutOptions, Segment

STRETCH = 1000  # atoms looked at together: a few minutes of speech


@dataclass(frozen=True, slots=True)
class Weights:
    """What a layout costs, on the scale of `pipeline.breaking.BreakCosts`."""

    cue: float = 2.0  # each cue: the eye has to start anew
    cue_break: float = 2.5  # times the break's cost: what is parted by time is harder to join
    shared: float = 3.0  # a cue with the end of one sentence and the beginning of another
    shared_segments: float = 2.0  # a cue over an end that the recogniser heard: often a phrase's
    segment_break: float = 0.6  # times a break's cost where the recogniser heard an end
    pause: float = 4.0  # a pause of PAUSE_S inside a cue; grows with the square
    short: float = 8.0  # no time to show it: less than twice the minimum; grows with the square
    hurried: float = 1.5  # for each second that lacks for the reading speed
    scrap: float = 3.0  # a cue of less than a line that is no whole sentence; grows with the square
    unbalanced: float = 6.0  # lines of one cue whose widths differ; grows with the square
    top_heavy: float = 0.2  # a longer upper line (Netflix: "prefer a bottom-heavy pyramid")
    orphan: float = 4.0  # a single short word alone on a line


WEIGHTS = Weights()
PAUSE_S = 0.8  # a pause that one hears as an end
ORPHAN = 0.25  # of a line's columns: a single word narrower than that looks lost
BREATH_S = 0.4  # a pause that halves the cost of a break

Lines = tuple[tuple[int, int], ...]  # a cue's lines: first atom, and the one after the last


def layout(
    segments: Iterable[Segment],
    duration_s: float,
    options: LayoutOptions,
    language: str,
    stretch: int = STRETCH,
) -> tuple[Cue, ...]:
    """Lay out what was said as cues, in order, on the media's clock to the millisecond.

    Only line breaks are added, and white space is normalised; a word is split only if it is wider
    than a line, or written in a script without spaces. Duration must have a millisecond for every
    cue. `language` is an ISO 639-1 code; one without a table is broken by punctuation and pauses.
    How many atoms a stretch has changes the memory that is needed, never the result.
    """
    atoms = atoms_of(segments, duration_s, options.max_line_chars)
    drafts = _cut(atoms, duration_s, options, GRAMMARS.get(language, NO_GRAMMAR), stretch)
    return timed(tuple(drafts), duration_s, options)


def _cut(
    atoms: Iterator[Atom],
    duration_s: float,
    options: LayoutOptions,
    grammar: Grammar,
    stretch: int,
) -> Iterator[Draft]:
    """Cut the text into the cheapest cues, holding no more of it than is still open."""
    before: Atom | None = None
    held: list[Atom] = []
    is_last = False
    while not is_last:
        coming = list(islice(atoms, stretch))
        is_last = len(coming) < stretch
        held += coming
        page = _measure(before, held, duration_s, grammar)
        choices = _choose(page, options)
        settled = len(held) if is_last else _settled(page, choices, options)
        for lines in _path(choices, settled):
            yield _draft(page, held, lines)
        if settled:
            before = held[settled - 1]
        held = held[settled:]


@dataclass(frozen=True, slots=True)
class _Page:
    """The atoms in numbers. Boundary k lies before atom k."""

    starts_s: list[float]  # one more than atoms: the media's end
    ends_s: list[float]
    spaces: list[int]  # columns before the atom, unless it begins a line
    columns: list[int]  # of all atoms before boundary k, with their spaces
    breaks: list[float]  # what it costs to break at a boundary
    held: list[float]  # what it costs to break at none of the boundaries 1 … k


def _measure(before: Atom | None, atoms: list[Atom], duration_s: float, grammar: Grammar) -> _Page:
    """The page of these atoms, which follow another one, or begin the text."""
    breaks = [_break_cost(before, atoms[0], grammar) if before and atoms else 0.0]
    held = [0.0]
    for left, right in pairwise(atoms):
        breaks.append(_break_cost(left, right, grammar))
        held.append(held[-1] + _shared_cost(left, right, grammar))
    spaces = [int(atom.spaced) for atom in atoms]
    return _Page(
        [*(atom.start_s for atom in atoms), duration_s],
        [atom.end_s for atom in atoms],
        spaces,
        list(accumulate((a.width + s for a, s in zip(atoms, spaces, strict=True)), initial=0)),
        [*breaks, 0.0],
        held,
    )


def _break_cost(left: Atom, right: Atom, grammar: Grammar) -> float:
    cost = break_cost(left.text, right.text, grammar) / (1 + _pause_s(left, right) / BREATH_S)
    return cost * (WEIGHTS.segment_break if right.opens_segment else 1.0)


def _shared_cost(left: Atom, right: Atom, grammar: Grammar) -> float:
    """What it costs that a cue holds both."""
    cost = WEIGHTS.pause * (_pause_s(left, right) / PAUSE_S) ** 2
    cost += WEIGHTS.shared if ends_sentence(left.text, right.text, grammar) else 0.0
    return cost + (WEIGHTS.shared_segments if right.opens_segment else 0.0)


def _pause_s(left: Atom, right: Atom) -> float:
    return max(0.0, right.start_s - left.end_s)


def _choose(page: _Page, options: LayoutOptions) -> list[Lines]:
    """For each boundary, the last cue of the cheapest layout of all before it."""
    count = len(page.ends_s)
    capacity = _capacity(options)
    costs = [0.0] + [inf] * count  # of the best layout of the atoms before boundary k
    choices: list[Lines] = [()] * (count + 1)  # its last cue
    for j in range(1, count + 1):
        columns, end_s = page.columns[j], page.ends_s[j - 1]
        cue_break = WEIGHTS.cue + WEIGHTS.cue_break * page.breaks[j]
        for i in range(j - 1, -1, -1):
            too_long = end_s - page.starts_s[i] > options.max_duration_s
            if i < j - 1 and (too_long or columns - page.columns[i] > capacity):
                break
            cost = costs[i] + cue_break + page.held[j - 1] - page.held[i]
            if cost >= costs[j]:
                continue  # what follows only adds to it
            cost += _time_cost(page, i, j, options) + _scrap_cost(page, i, j, options)
            if cost >= costs[j]:
                continue
            folded, lines = _fold(page, i, j, options)
            if cost + folded < costs[j]:
                costs[j], choices[j] = cost + folded, lines
    return choices


def _capacity(options: LayoutOptions) -> int:
    return options.max_lines * (options.max_line_chars + 1)


def _settled(page: _Page, choices: list[Lines], options: LayoutOptions) -> int:
    """The last boundary at which every layout has a cue's end, whatever text follows the page."""
    count = len(page.ends_s)
    fewest = page.columns[count] - _capacity(options)  # before a cue that holds what follows too
    reached = {k for k in range(count) if page.columns[k] >= fewest} | {count - 1}
    while len(reached) > 1:
        last = max(reached)
        reached = (reached - {last}) | {choices[last][0][0]}
    return reached.pop()


def _path(choices: list[Lines], end: int) -> list[Lines]:
    """The cues of the cheapest layout of all before a boundary."""
    cues: list[Lines] = []
    while end:
        cues.append(choices[end])
        end = choices[end][0][0]
    return cues[::-1]


def _draft(page: _Page, atoms: list[Atom], lines: Lines) -> Draft:
    (i, _), (_, j) = lines[0], lines[-1]
    texts = tuple(_text(atoms[begin:end]) for begin, end in lines)
    return Draft(page.starts_s[i], max(page.ends_s[i:j]), page.columns[j] - page.columns[i], texts)


def _time_cost(page: _Page, i: int, j: int, options: LayoutOptions) -> float:
    """What it costs that a cue of atoms i … j-1 shows no longer than until the next begins."""
    shown_s = min(page.starts_s[j] - page.starts_s[i], options.max_duration_s)
    lacking_s = (page.columns[j] - page.columns[i]) / options.max_chars_per_s - shown_s
    lacking = max(0.0, 1 - shown_s / (2 * options.min_duration_s))
    return WEIGHTS.hurried * max(0.0, lacking_s) + WEIGHTS.short * lacking**2


def _scrap_cost(page: _Page, i: int, j: int, options: LayoutOptions) -> float:
    """What it costs that a cue is short in text and needs its neighbours to be understood."""
    empty = 1 - (page.columns[j] - page.columns[i]) / options.max_line_chars
    whole = max(page.breaks[i], page.breaks[j]) <= COSTS.sentence
    return 0.0 if whole or empty <= 0 else WEIGHTS.scrap * empty**2


def _fold(page: _Page, i: int, j: int, options: LayoutOptions) -> tuple[float, Lines]:
    """The best lines for atoms i … j-1, as few as hold them; infinite cost if none do."""
    fewest = ceil((page.columns[j] - page.columns[i]) / (options.max_line_chars + 1))
    for count in range(max(1, fewest), options.max_lines + 1):
        cost, lines = _stack(page, i, j, count, 0, options.max_line_chars)
        if lines:
            return cost, lines
    return inf, ()


def _stack(page: _Page, i: int, j: int, count: int, below: int, limit: int) -> tuple[float, Lines]:
    """Atoms i … j-1 on exactly `count` lines, over a line of `below` columns (0: over none)."""
    if count == 1:
        columns = page.columns[j] - page.columns[i] - page.spaces[i]
        if columns > limit:
            return inf, ()
        return _line_cost(columns, j - i, below, limit) if below else 0.0, ((i, j),)
    best: tuple[float, Lines] = (inf, ())
    for k in range(j - 1, i, -1):
        columns = page.columns[j] - page.columns[k] - page.spaces[k]
        if columns > limit:
            break
        if page.columns[k] - page.columns[i] > (count - 1) * (limit + 1):
            continue  # the lines above cannot hold the rest
        cost = page.breaks[k] + _line_cost(columns, j - k, below, limit)
        if cost >= best[0]:
            continue
        above, lines = _stack(page, i, k, count - 1, columns, limit)
        if cost + above < best[0]:
            best = cost + above, (*lines, (k, j))
    return best


def _line_cost(columns: int, words: int, below: int, limit: int) -> float:
    """What a line of a taller cue costs, seen with the line under it."""
    cost = WEIGHTS.orphan if words == 1 and columns < ORPHAN * limit else 0.0
    if below:
        cost += WEIGHTS.unbalanced * ((columns - below) / (columns + below)) ** 2
        cost += WEIGHTS.top_heavy if columns > below else 0.0
    return cost


def _text(atoms: list[Atom]) -> str:
    spaced = (" " + atom.text if atom.spaced else atom.text for atom in atoms)
    return "".join(spaced).removeprefix(" ")
