"""Which language is spoken, asked over the whole file and not only its first half minute.

Goes in: windows. Comes out: the few to ask about. Does not know: engines or sound.
A film that begins with a song, or an interview whose host greets in another language, is judged
by the windows in between too (ahmetoner/whisper-asr-webservice#304).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.types import Window

QUESTIONS = 5  # windows to ask about: each costs one pass of the encoder


def windows_to_ask(windows: tuple[Window, ...], count: int = QUESTIONS) -> tuple[Window, ...]:
    """At most `count` windows, one from each equal share of the file: that with most speech."""
    count = min(count, len(windows))
    edges = [len(windows) * i // count for i in range(count + 1)] if count else []
    shares = [windows[low:high] for low, high in pairwise(edges)]
    return tuple(max(share, key=lambda window: window.speech_s) for share in shares)
