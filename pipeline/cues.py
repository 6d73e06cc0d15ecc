"""Subtitles laid out for reading: which words share a line, which lines a cue, and when it shows.

Goes in: segments with their times, the media's duration, the layout's limits, the language.
Comes out: cues that keep every word once and in order, never overlap and lie within the media.
Does not know: files, formats, how the words were heard.

The limits hold always: lines, columns (`pipeline.atoms` counts them), order. Within them, every way
to cut the text into cues and lines has a cost, and the cheapest of all is taken (dynamic
programming, as TeX breaks paragraphs: Knuth and Plass, 1981). Then each cue is timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil, inf
from typing import TYPE_CHECKING

from pipeline.atoms import Atom, atoms_of
from pipeline.breaking import COSTS, GRAMMARS, NO_GRAMMAR, Grammar, break_cost, ends_sentence
from pipeline.types import Cue

if TYPE_CHECKING:
    from pipeline.types import LayoutOptions, Segment

# Netflix, timing guidelines: gaps of 3 to 11 frames flicker, so they are closed to the minimum.
CHAIN_S = 0.5


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
    segments: tuple[Segment, ...], duration_s: float, options: LayoutOptions, language: str
) -> tuple[Cue, ...]:
    """Lay out what was said as cues, in order, on the media's clock to the millisecond.

    Only line breaks are added, and white space is normalised; a word is split only if it is wider
    than a line, or written in a script without spaces. Duration must have a millisecond for every
    cue. `language` is an ISO 639-1 code; one without a table is broken by punctuation and pauses.
    """
    atoms = atoms_of(segments, duration_s, options.max_line_chars)
    if not atoms:
        return ()
    page = _measure(atoms, duration_s, GRAMMARS.get(language, NO_GRAMMAR))
    cues = _choose(page, options)
    times = _times(page, cues, duration_s, options)
    return tuple(
        Cue(start_ms / 1000, end_ms / 1000, tuple(_text(atoms[i:j]) for i, j in lines))
        for (start_ms, end_ms), lines in zip(times, cues, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Page:
    """The atoms in numbers. Boundary k lies before atom k."""

    starts_s: list[float]  # one more than atoms: the media's end
    ends_s: list[float]
    spaces: list[int]  # columns before the atom, unless it begins a line
    columns: list[int]  # of all atoms before boundary k, with their spaces
    breaks: list[float]  # what it costs to break at a boundary
    held: list[float]  # what it costs to break at none of the boundaries 1 … k


def _measure(atoms: list[Atom], duration_s: float, grammar: Grammar) -> _Page:
    breaks, held = [0.0], [0.0]
    for before, after in pairwise(atoms):
        pause_s = max(0.0, after.start_s - before.end_s)
        cost = break_cost(before.text, after.text, grammar) / (1 + pause_s / BREATH_S)
        breaks.append(cost * (WEIGHTS.segment_break if after.opens_segment else 1.0))
        shared = WEIGHTS.pause * (pause_s / PAUSE_S) ** 2
        if ends_sentence(before.text, after.text, grammar):
            shared += WEIGHTS.shared
        shared += WEIGHTS.shared_segments if after.opens_segment else 0.0
        held.append(held[-1] + shared)
    spaces = [int(atom.spaced) for atom in atoms]
    return _Page(
        [*(atom.start_s for atom in atoms), duration_s],
        [atom.end_s for atom in atoms],
        spaces,
        list(accumulate((a.width + s for a, s in zip(atoms, spaces, strict=True)), initial=0)),
        [*breaks, 0.0],
        held,
    )


def _choose(page: _Page, options: LayoutOptions) -> list[Lines]:
    """The cheapest way to cut the page into cues and lines."""
    count = len(page.ends_s)
    capacity = options.max_lines * (options.max_line_chars + 1)
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
    cues: list[Lines] = []
    while count:
        cues.append(choices[count])
        count = choices[count][0][0]
    return cues[::-1]


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


def _times(
    page: _Page, cues: list[Lines], duration_s: float, options: LayoutOptions
) -> list[tuple[int, int]]:
    """First and last millisecond of each cue: rounded here, once, so that order survives."""
    media_end_ms = int(duration_s * 1000)
    media_end_ms = max(len(cues), media_end_ms - (media_end_ms / 1000 > duration_s))
    starts_ms: list[int] = []
    for k, lines in enumerate(cues):
        earliest_ms = starts_ms[-1] + 1 if starts_ms else 0
        latest_ms = media_end_ms - (len(cues) - k)  # leaves a millisecond for each that follows
        start_ms = round(page.starts_s[lines[0][0]] * 1000)
        starts_ms.append(min(max(start_ms, earliest_ms), latest_ms))
    gap_ms = round(options.min_gap_s * 1000)
    times = []
    for start_ms, following_ms, lines in zip(
        starts_ms, [*starts_ms[1:], media_end_ms + gap_ms], cues, strict=True
    ):
        (i, _), (_, j) = lines[0], lines[-1]
        spoken_ms = round(max(page.ends_s[i:j]) * 1000)
        columns = page.columns[j] - page.columns[i]
        end_ms = _end(start_ms, spoken_ms, columns, following_ms, options)
        times.append((start_ms, min(end_ms, media_end_ms)))
    return times


def _end(
    start_ms: int, spoken_ms: int, columns: int, following_ms: int, options: LayoutOptions
) -> int:
    """When a cue goes: when it is said and can be read, if the next one leaves time for that."""
    shortest_ms = round(options.min_duration_s * 1000)
    reading_ms = round(columns / options.max_chars_per_s * 1000)
    end_ms = max(spoken_ms, start_ms + shortest_ms, start_ms + reading_ms)
    last_ms = following_ms - round(options.min_gap_s * 1000)
    if last_ms - end_ms < CHAIN_S * 1000:
        end_ms = last_ms
    if end_ms - start_ms < shortest_ms:  # the gap gives way first
        end_ms = min(start_ms + shortest_ms, following_ms)
    end_ms = min(end_ms, start_ms + int(options.max_duration_s * 1000))
    return max(start_ms + 1, end_ms)
