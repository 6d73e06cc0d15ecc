"""From tokens to segments, and to what has to be heard again.

Goes in: the tokens of one window, as whisper decoded them. Comes out: segments in media time, and
the parts of the window whose speech they do not cover. Does not know: models, tensors, batches.

The rules are those of `whisper.transcribe`, with two differences. A text without a second timestamp
starts at its first one (there: at the window's start) and lasts to the window's end. And a window
is never given up before its last span of speech is covered, whatever the timestamps say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.types import Segment, Span, Window, Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whisper.decoding import DecodingResult

TICK_S = 0.02  # one step of whisper's timestamps, which are also the shortest segment
MISSED_S = 1.0  # speech after the last timestamp that is worth hearing again
MISSED_OPEN_S = 0.5  # the same, when the model itself says that something begins there
ADVANCE_S = 1.0  # what is heard again starts at least this much later
# Nobody says more: an auctioneer's 300 words a minute are 27. A text that is denser, without times,
# is the model's own, and hearing it again in halves would only bring forth more of it.
FASTEST_CHARACTERS_PER_S = 30.0
UNKNOWN_LOG_PROBABILITY = -100.0  # for one that is no number; JSON has none for it


@dataclass(frozen=True, slots=True)
class Piece:
    """Text tokens between two timestamps, in seconds from the start of the window."""

    start_s: float
    end_s: float
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """The tokens of a window, cut at their pairs of timestamps."""

    pieces: tuple[Piece, ...]
    unfinished: Piece | None  # begun, perhaps without any text yet, and not ended


def cut(
    tokens: Sequence[int],
    *,
    timestamp_begin: int,
    eot: int,
    duration_s: float,
    truncated: bool = False,
) -> Cut:
    """Cut where two timestamps meet; whatever lies beyond the window's sound is left out.

    The last part is unfinished if it has no closing timestamp, unless it is the only one;
    that one counts as the whole window's text, if decoding was not `truncated`.
    """
    if not tokens:
        return Cut((), None)
    stamped = [token >= timestamp_begin for token in tokens]
    meetings = [i for i in range(1, len(tokens)) if stamped[i - 1] and stamped[i]]
    pieces = []
    for start, end in pairwise([0, *meetings, len(tokens)]):
        part = tokens[start:end]
        stamps = [(token - timestamp_begin) * TICK_S for token in part if token >= timestamp_begin]
        start_s = stamps[0] if stamped[start] else 0.0
        end_s = stamps[-1] if len(part) > 1 and stamped[end - 1] else duration_s
        text = tuple(token for token in part if token < eot)
        pieces.append(Piece(start_s, min(end_s, duration_s), text))
    is_open = stamped[-2:] != [False, True] and (bool(meetings) or truncated)
    unfinished = pieces.pop() if is_open and pieces[-1].start_s < duration_s else None
    return Cut(tuple(piece for piece in pieces if piece.start_s < duration_s), unfinished)


def settle(
    window: Window, found: Cut, *, may_continue: bool, may_halve: bool = True
) -> tuple[tuple[Piece, ...], tuple[Window, ...]]:
    """The pieces to keep, and the parts of the window to hear again, in order.

    `may_halve`: also where nothing tells how far the text has come.
    """
    rest = _unheard(window, found, may_halve=may_halve) if may_continue else ()
    if found.unfinished is None or rest:
        return found.pieces, rest
    return (*found.pieces, found.unfinished), ()


def is_sayable(text: str, length_s: float) -> bool:
    """Whether somebody could have said so much in that time."""
    return len(text) <= FASTEST_CHARACTERS_PER_S * length_s


def _unheard(window: Window, found: Cut, *, may_halve: bool) -> tuple[Window, ...]:
    """What follows the last timestamp, where whisper's own seek would go on."""
    if not found.pieces:
        return _halves(window) if found.unfinished and may_halve else ()
    resume_s = window.start_s + max(found.pieces[-1].end_s, ADVANCE_S)
    rest = part_of(window, resume_s, window.end_s)
    return (rest,) if rest.speech_s >= (MISSED_OPEN_S if found.unfinished else MISSED_S) else ()


def _halves(window: Window) -> tuple[Window, ...]:
    """The window cut at its longest pause, for more text than fits into one decoding."""
    pauses = [(b.start_s - a.end_s, (a.end_s + b.start_s) / 2) for a, b in pairwise(window.spans)]
    middle_s = max(pauses)[1] if pauses else (window.start_s + window.end_s) / 2
    if min(middle_s - window.start_s, window.end_s - middle_s) < ADVANCE_S:
        return ()
    return (
        part_of(window, window.start_s, middle_s),
        part_of(window, middle_s, window.end_s),
    )


def part_of(window: Window, start_s: float, end_s: float) -> Window:
    """The window between two times, with the speech that is left in it, possibly none."""
    spans = (Span(max(s.start_s, start_s), min(s.end_s, end_s)) for s in window.spans)
    return Window(start_s, end_s, tuple(s for s in spans if s.end_s > s.start_s))


def build(
    window: Window,
    pieces: Sequence[Piece],
    texts: Sequence[str],
    words: Sequence[Sequence[Word]],
    result: DecodingResult,
) -> tuple[Segment, ...]:
    """Segments in media time: ordered, inside the window, not overlapping, never without text.

    A piece's words, timed from the window's start, give the segment its times where there are any.
    """
    segments: list[Segment] = []
    for piece, text, said in zip(pieces, texts, words, strict=True):
        floor_s = segments[-1].end_s if segments else window.start_s
        placed = _placed(window, floor_s, said)
        if placed and placed[0].start_s < placed[-1].end_s:
            start_s, end_s = placed[0].start_s, placed[-1].end_s
        else:
            placed = ()
            start_s = _clamped(window, floor_s, piece.start_s)
            end_s = _clamped(window, start_s + TICK_S, piece.end_s)
        if text.strip() and end_s > start_s:
            segments.append(_segment(start_s, end_s, text.strip(), placed, result))
    return tuple(segments)


def _placed(window: Window, floor_s: float, words: Sequence[Word]) -> tuple[Word, ...]:
    """The words in media time, none before the floor or the word before it."""
    placed = []
    for word in words:
        start_s = _clamped(window, floor_s, word.start_s)
        end_s = _clamped(window, start_s, word.end_s)
        probability = _finite(word.probability, 0.0)
        placed.append(replace(word, start_s=start_s, end_s=end_s, probability=probability))
        floor_s = end_s
    return tuple(placed)


def _clamped(window: Window, floor_s: float, offset_s: float) -> float:
    """Media time of an offset into the window, in whole ms where the window's bounds allow it."""
    return min(max(round(window.start_s + offset_s, 3), floor_s), window.end_s)


def _segment(
    start_s: float, end_s: float, text: str, words: tuple[Word, ...], result: DecodingResult
) -> Segment:
    return Segment(
        start_s=start_s,
        end_s=end_s,
        text=text,
        words=words,
        temperature=float(result.temperature),
        average_log_probability=_finite(result.avg_logprob, UNKNOWN_LOG_PROBABILITY),
        compression_ratio=_finite(result.compression_ratio, 0.0),
        no_speech_probability=_finite(result.no_speech_prob, 0.0),
    )


def _finite(value: float, otherwise: float) -> float:
    return float(value) if math.isfinite(value) else otherwise
