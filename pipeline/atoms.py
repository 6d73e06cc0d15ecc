"""What a layout may not take apart: words, and single signs of scripts without spaces.

Goes in: segments as they were heard. Comes out: atoms in reading order, each with its times and its
width. Does not know: lines, cues, languages.

Widths are columns as a terminal counts them (Unicode annex 11): full-width and wide characters
(Chinese, Japanese, Korean, emoji) count 2, combining marks and invisible signs 0, all others 1.
So 42 columns, Netflix's limit for Latin scripts, hold 21 Chinese signs; there Netflix allows 16.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.types import Segment

# A word takes no longer than this, whatever its times say: recognisers let one linger for a minute
# over silence (SYSTRAN/faster-whisper#125). Slow speech has four characters a second or more.
LONGEST_WORD_S = 1.0
LONGEST_CHARACTER_S = 0.25

_Timed = tuple[str, float, float]  # text, start_s, end_s

_JOINER = "\u200d"  # zero width joiner: ties emoji and conjuncts into one sign
_INVISIBLE = frozenset({"Mn", "Me", "Cf"})
# Ideographs and kana: written without spaces, and a line may end after almost any of them. Thai,
# Lao, Khmer and Burmese need a dictionary for that; they break where they do have spaces.
_SPACELESS = r"\u3005-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_IS_SPACELESS = re.compile(f"[{_SPACELESS}]")
_PIECES = re.compile(rf"[{_SPACELESS}]|[^\s{_SPACELESS}]+")
_WORDS = re.compile(r"\S+")
# Kinsoku shori: closing, small and lengthening signs begin no line, opening ones end none.
_NO_START = frozenset({"Pe", "Pf", "Po", "Pd", "Lm", "Mn", "Mc", "Me", "Cf"})
_NO_START_KANA = frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ")
_NO_END = frozenset({"Ps", "Pi"})
_MARKS = frozenset("/-_.,?&=+–—")  # an address or a chain of words is best cut behind one of these


@dataclass(frozen=True, slots=True)
class Atom:
    """A piece of text that stays whole on one line."""

    text: str
    start_s: float
    end_s: float
    spaced: bool  # a space stands before it, unless it begins a line
    opens_segment: bool
    width: int


def atoms_of(segments: Iterable[Segment], duration_s: float, limit: int) -> Iterator[Atom]:
    """Atoms of at most `limit` columns (>= 2), in order; starts never run backwards.

    All times lie within 0 … duration_s. A word wider than the limit becomes several atoms.
    """
    floor_s = 0.0
    for segment in segments:
        parts, pattern = _parts(segment)
        pieces = _pieces(_plausible(parts, floor_s, duration_s), pattern)
        for atom in _cut(_glue(pieces), limit):
            floor_s = atom.start_s
            yield atom


def width(text: str) -> int:
    """Columns that a text takes."""
    if text.isascii():
        return len(text)
    columns = 0
    before = ""
    for character in text:
        if before != _JOINER and unicodedata.category(character) not in _INVISIBLE:
            columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        before = character
    return columns


def _parts(segment: Segment) -> tuple[tuple[_Timed, ...], re.Pattern[str]]:
    """What was timed, and how to cut it further: without word times also between signs."""
    if "".join(word.text for word in segment.words).split() == segment.text.split():
        return tuple((word.text, word.start_s, word.end_s) for word in segment.words), _WORDS
    return ((segment.text, segment.start_s, segment.end_s),), _PIECES


def _plausible(parts: tuple[_Timed, ...], floor_s: float, duration_s: float) -> Iterator[_Timed]:
    """Bring times into the media and into order, and cut what lingers.

    Silence goes where it lies in practice: before a word that begins a sentence, after any other.
    """
    opens = len(parts) > 1
    for text, claimed_start_s, claimed_end_s in parts:
        start_s = min(max(floor_s, claimed_start_s), duration_s)
        end_s = min(max(start_s, claimed_end_s), duration_s)
        longest_s = LONGEST_WORD_S + LONGEST_CHARACTER_S * width(text.strip())
        if opens:
            start_s = max(start_s, end_s - longest_s)
        yield text, start_s, min(end_s, start_s + longest_s)
        opens = text.rstrip().endswith((".", "?", "!", "。", "？", "！"))
        floor_s = start_s


def _pieces(parts: Iterator[_Timed], pattern: re.Pattern[str]) -> Iterator[Atom]:
    """Cut into the smallest pieces, noting where spaces stood; times run evenly over characters."""
    opens, spaced = True, True
    for part in parts:
        until = 0
        for match in pattern.finditer(part[0]):
            spaced = spaced or match.start() > until
            until = match.end()
            yield _slice(part, match.start(), until, spaced=spaced, opens_segment=opens)
            opens, spaced = False, False
        spaced = spaced or until < len(part[0])


def _slice(part: _Timed, begin: int, end: int, *, spaced: bool, opens_segment: bool) -> Atom:
    text, start_s, end_s = part
    silent = len(text) - len(text.lstrip())  # Whisper's words have their space in front
    step_s = (end_s - start_s) / len(text.strip())
    return Atom(
        text[begin:end],
        start_s + step_s * (begin - silent),
        start_s + step_s * (end - silent),
        spaced,
        opens_segment,
        width(text[begin:end]),
    )


def _glue(pieces: Iterator[Atom]) -> Iterator[Atom]:
    """Join neighbours between which no line may end."""
    held: list[Atom] = []
    for piece in pieces:
        if held and (piece.spaced or _may_part(held[-1].text[-1], piece.text[0])):
            yield _joined(held)
            held = []
        held.append(piece)
    if held:
        yield _joined(held)


def _joined(pieces: list[Atom]) -> Atom:
    first = pieces[0]
    if len(pieces) == 1:
        return first
    text = "".join(piece.text for piece in pieces)
    end_s = max(piece.end_s for piece in pieces)
    return Atom(text, first.start_s, end_s, first.spaced, first.opens_segment, width(text))


def _may_part(before: str, after: str) -> bool:
    """Whether a line may end between two characters that have no space between them."""
    if not (_IS_SPACELESS.match(before) or _IS_SPACELESS.match(after)) or before == _JOINER:
        return False
    if unicodedata.category(before) in _NO_END:
        return False
    return unicodedata.category(after) not in _NO_START and after not in _NO_START_KANA


def _cut(atoms: Iterator[Atom], limit: int) -> Iterator[Atom]:
    """Take apart what no line can hold, such as addresses; only there is a word split."""
    for atom in atoms:
        if atom.width <= limit:
            yield atom
            continue
        part = (atom.text, atom.start_s, atom.end_s)
        for begin, end in pairwise(_cut_points(atom.text, limit)):
            yield _slice(
                part,
                begin,
                end,
                spaced=atom.spaced and begin == 0,
                opens_segment=atom.opens_segment and begin == 0,
            )


def _cut_points(text: str, limit: int) -> list[int]:
    """Where to cut so that each part fits: behind a mark such as "/", else as late as possible."""
    bounds = [0]
    columns = 0  # since the last cut
    mark, since = 0, 0  # where one could cut better, and the columns since then; 0: nowhere
    for begin, end in _signs(text):
        added = width(text[begin:end])
        if columns + added > limit:
            at_mark = mark and since + added <= limit
            bounds.append(mark if at_mark else begin)
            columns = since if at_mark else 0
            mark = 0
        columns += added
        since += added
        if text[end - 1] in _MARKS and columns > limit // 2:
            mark, since = end, 0
    return [*bounds, len(text)]


def _signs(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each sign, with the marks that belong to it."""
    begin = 0
    for i in range(1, len(text)):
        if text[i - 1] != _JOINER and width(text[i]) > 0:
            yield begin, i
            begin = i
    yield begin, len(text)
