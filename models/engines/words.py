"""Word times by whisper's own alignment: cross-attention and dynamic time warping.

Goes in: a decoder that holds a window, and its pieces of text. Comes out: the words of each piece,
timed from the window's start. Does not know: media time, segments, batches.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.engines.alignment import add_word_timestamps
from pipeline.types import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whisper.tokenizer import Tokenizer

    from models.engines.decoder import Decoder
    from models.engines.segments import Piece

FRAMES_PER_S = 100  # of the log-mel spectrogram
LETTER_S = 0.06  # of ordinary speech, about 16 letters a second


def align(
    decoder: Decoder, place: int, tokenizer: Tokenizer, pieces: Sequence[Piece], duration_s: float
) -> tuple[tuple[Word, ...], ...]:
    """The words of each piece, with whisper's rules for punctuation and overlong words.

    The decoder holds the window in `place`; its last slot is overwritten. A piece whose words
    cannot be told has none: where a word was joined across two pieces, or whisper could not align
    the tokens.
    """
    segments: list[dict[str, Any]] = [
        {"seek": 0, "start": piece.start_s, "end": piece.end_s, "tokens": list(piece.tokens)}
        for piece in pieces
    ]
    try:
        add_word_timestamps(decoder, decoder.slots - 1, place)(
            segments=segments,
            model=None,
            tokenizer=_SplitByPiece(tokenizer, pieces),
            mel=None,
            num_frames=max(2, round(duration_s * FRAMES_PER_S)),
            last_speech_timestamp=0.0,
        )
    except (IndexError, ValueError):
        return tuple(() for _ in pieces)
    return tuple(
        _words(segment["words"], tokenizer.decode(list(piece.tokens)), piece)
        for segment, piece in zip(segments, pieces, strict=True)
    )


def _words(rows: Sequence[dict[str, Any]], text: str, piece: Piece) -> tuple[Word, ...]:
    """The rows of whisper as words, if they make up the text."""
    if not rows or "".join(row["word"] for row in rows).strip() != text.strip():
        return ()
    words = [
        Word(float(row["start"]), float(row["end"]), row["word"], float(row["probability"]))
        for row in rows
    ]
    for before, i in zip(words, range(1, len(words)), strict=False):
        words[i] = _with_time(words[i], before.end_s)
    words[0] = _begun(words[0], piece.start_s)
    words[-1] = _ended(words[-1], piece.end_s)
    return tuple(words)


def _begun(word: Word, start_s: float) -> Word:
    """The first word without the silence before it, which the alignment gives to it.

    Where the piece's own timestamp lies inside the word, it is the better start: cues that come too
    early are what users of other programs complain of (ggml-org/whisper.cpp#1657).
    """
    return replace(word, start_s=start_s) if word.start_s < start_s < word.end_s else word


def _ended(word: Word, end_s: float) -> Word:
    """The last word without the silence after it."""
    return replace(word, end_s=end_s) if word.start_s < end_s < word.end_s else word


def _with_time(word: Word, free_from_s: float) -> Word:
    """A word that got no time takes some of the pause before it.

    The alignment may give a comma the time of the word that follows, and whisper drops that.
    """
    wanted_s = LETTER_S * len(word.text.strip())
    if word.end_s - word.start_s >= wanted_s / 2:
        return word
    return replace(word, start_s=min(word.start_s, max(free_from_s, word.end_s - wanted_s)))


class _SplitByPiece:
    """Stands in for the tokenizer in `whisper.timing`: no word reaches into the next piece."""

    def __init__(self, tokenizer: Tokenizer, pieces: Sequence[Piece]) -> None:
        self._tokenizer = tokenizer
        self._pieces = pieces

    def split_to_word_tokens(self, _: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for tokens in (*(piece.tokens for piece in self._pieces), (self._tokenizer.eot,)):
            more_words, more_tokens = self._tokenizer.split_to_word_tokens(list(tokens))
            words += more_words
            word_tokens += more_tokens
        return words, word_tokens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)
