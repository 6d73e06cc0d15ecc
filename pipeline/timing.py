"""When each cue shows, and for how long.

Goes in: the texts of cues in order, each with when it is spoken, and the media's duration.
Comes out: cues that never overlap and lie within the media.
Does not know: words, why the text was cut where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.types import Cue

if TYPE_CHECKING:
    from pipeline.types import LayoutOptions

# Netflix, timing guidelines: gaps of 3 to 11 frames flicker, so they are closed to the minimum.
CHAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Draft:
    """A cue that is not timed yet."""

    start_s: float
    spoken_s: float  # until when
    columns: int  # to be read
    lines: tuple[str, ...]


def timed(drafts: tuple[Draft, ...], duration_s: float, options: LayoutOptions) -> tuple[Cue, ...]:
    """Give each cue its first and last millisecond: rounded here, once, so that order survives."""
    media_end_ms = int(duration_s * 1000)
    media_end_ms = max(len(drafts), media_end_ms - (media_end_ms / 1000 > duration_s))
    starts_ms: list[int] = []
    for k, draft in enumerate(drafts):
        earliest_ms = starts_ms[-1] + 1 if starts_ms else 0
        latest_ms = media_end_ms - (len(drafts) - k)  # leaves a millisecond for each that follows
        starts_ms.append(min(max(round(draft.start_s * 1000), earliest_ms), latest_ms))
    followings_ms = [*starts_ms[1:], media_end_ms + round(options.min_gap_s * 1000)]
    cues = []
    for draft, start_ms, following_ms in zip(drafts, starts_ms, followings_ms, strict=False):
        end_ms = min(_end_ms(draft, start_ms, following_ms, options), media_end_ms)
        cues.append(Cue(start_ms / 1000, end_ms / 1000, draft.lines))
    return tuple(cues)


def _end_ms(draft: Draft, start_ms: int, following_ms: int, options: LayoutOptions) -> int:
    """When a cue goes: when it is said and can be read, if the next one leaves time for that."""
    shortest_ms = round(options.min_duration_s * 1000)
    reading_ms = round(draft.columns / options.max_chars_per_s * 1000)
    spoken_ms = round(draft.spoken_s * 1000)
    end_ms = max(spoken_ms, start_ms + shortest_ms, start_ms + reading_ms)
    last_ms = following_ms - round(options.min_gap_s * 1000)
    if last_ms - end_ms < CHAIN_S * 1000:
        end_ms = last_ms
    if end_ms - start_ms < shortest_ms:  # the gap gives way first
        end_ms = min(start_ms + shortest_ms, following_ms)
    end_ms = min(end_ms, start_ms + int(options.max_duration_s * 1000))
    return max(start_ms + 1, end_ms)
