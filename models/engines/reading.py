"""From what was decoded to segments with their words.

Goes in: a decoded clip, while the decoder still holds it. Comes out: its segments, and the windows
that are left to hear. Does not know: batches, other clips, how it was decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.engines.decode import is_failure, is_repetitive, is_silence
from models.engines.segments import build, cut, is_sayable, part_of, settle
from models.engines.words import align
from pipeline.types import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from whisper.decoding import DecodingResult
    from whisper.model import Whisper
    from whisper.tokenizer import Tokenizer

    from models.engines.decoder import Decoder
    from models.engines.segments import Piece
    from pipeline.types import Clip, Segment, Task, Window, Word


def read(
    model: Whisper,
    decoder: Decoder,
    place: int,
    clip: Clip,
    result: DecodingResult,
    *,
    is_whole: bool = True,
    may_continue: bool,
    is_early: bool,
) -> tuple[tuple[Segment, ...], tuple[Window, ...]]:
    """The segments of the clip in `place`, and the windows that are left to hear.

    `is_whole`: the result's text came to an end of its own. `is_early`: the clip is not a part of a
    part of a window. The decoder's last slot is overwritten.
    """
    options = clip.options
    is_bad = is_failure(result, options)
    if is_silence(result, options):
        return (), ()
    tokenizer = tokenizer_of(model, result.language, options.task)
    heard_s = len(clip.samples) / SAMPLE_RATE_HZ
    # decoding stops after half of the text context, a little earlier with a long prompt
    full = len(result.tokens) >= model.dims.n_text_ctx // 2 - 2
    found = cut(
        result.tokens,
        timestamp_begin=tokenizer.timestamp_begin,
        eot=tokenizer.eot,
        duration_s=heard_s,
        truncated=(full or not is_whole) and not is_repetitive(result, options),
    )
    # what all temperatures failed at is hardly speech: its halves would only take as long again
    may_halve = is_early and not is_bad and is_sayable(result.text, heard_s)
    is_hopeful = is_early and not is_repetitive(result, options)
    may_continue = may_continue and (is_whole or not is_bad or is_hopeful)
    pieces, rest = settle(clip.window, found, may_continue=may_continue, may_halve=may_halve)
    texts = [tokenizer.decode(list(piece.tokens)) for piece in pieces]
    words = _words(decoder, place, tokenizer, clip, pieces)
    heard = part_of(clip.window, clip.window.start_s, rest[0].start_s) if rest else clip.window
    return build(heard, pieces, texts, words, result), rest


def _words(
    decoder: Decoder, place: int, tokenizer: Tokenizer, clip: Clip, pieces: tuple[Piece, ...]
) -> tuple[tuple[Word, ...], ...]:
    """Of each piece, if they are wanted; a translation does not follow the sound."""
    if not clip.options.word_times or clip.options.task != "transcribe":
        return ((),) * len(pieces)
    return align(decoder, place, tokenizer, pieces, len(clip.samples) / SAMPLE_RATE_HZ)


def tokenizer_of(model: Whisper, language: str, task: Task) -> Tokenizer:
    """Whisper's, for the language and what is done with it."""
    from whisper.tokenizer import get_tokenizer

    return get_tokenizer(
        model.is_multilingual, num_languages=model.num_languages, language=language, task=task
    )
