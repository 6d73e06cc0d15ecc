"""Whisper in whisper.cpp, one window after the other.

Goes in: a ggml file, then clips. Comes out: the segments of each clip, in order. Does not know:
how whisper.cpp is talked to, where the file came from, what the segments are for.

    clip ─► mel, encode, decode at one temperature: whisper.cpp ─► phrases ─► words ─► segments
                               ▲                                      │
                               └────── the next temperature ◄─────────┘ too unsure, too repetitive
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models import ggml
from models.engines.cpp_context import Context, library_for, open_context
from models.engines.decode import is_failure
from models.engines.phrases import Phrase, words_of
from models.engines.segments import Piece, build
from models.registry import languages_of, matching
from pipeline.types import EngineDescription, Heard, LanguageGuess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from models.ggml import GgmlFile
    from pipeline.types import Clip


def load(path: Path, device: str = "auto", threads: int | None = None) -> WhisperCpp:
    """The engine for a ggml file.

    `device` is "auto" (a GPU if whisper.cpp is built for one), "cpu", or a GPU as torch names it;
    threads None: as many as whisper.cpp takes by itself, four at most.
    Raises BadOption (no such device), ModelUnavailable, BadCheckpoint, OutOfMemory.
    """
    library = library_for(path)
    file = ggml.read(path)
    context = open_context(library, file, device, threads)
    return WhisperCpp(context, _describe(file, context.device, device))


def _describe(file: GgmlFile, device: str, wanted: str) -> EngineDescription:
    languages = languages_of(file.dimensions.n_vocab)
    spec = matching(file.dimensions)
    can_translate = len(languages) > 1 if spec is None else spec.can_translate
    why = "a GPU is there" if device != "cpu" else "no GPU that whisper.cpp can use"
    if wanted != "auto":
        why = f"{wanted} was asked for"
    reason = f"whisper.cpp, {file.format.name} on {device}: {why}, the file has such weights"
    return EngineDescription(
        file.path.name, file.format.nearest, device, languages, can_translate, reason
    )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """One decoding; the numbers are named as in `whisper.decoding.DecodingResult`."""

    phrases: tuple[Phrase, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float = 0.0  # whisper.cpp goes by it, but the binding does not tell it


class WhisperCpp:
    """A `pipeline.protocols.SpeechEngine`; `load` makes one."""

    def __init__(self, context: Context, description: EngineDescription) -> None:
        self.description = description
        self._context = context

    def detect_language(self, clips: Iterable[Clip]) -> LanguageGuess:
        """Mean probabilities over the clips (at least one); a model of English is not asked.

        Raises OutOfMemory.
        """
        languages = self.description.languages
        if len(languages) == 1:
            return LanguageGuess(languages[0], None)
        rows = [self._context.language_probabilities(clip.samples, languages) for clip in clips]
        means = {code: sum(row[code] for row in rows) / len(rows) for code in languages}
        language = max(means, key=lambda code: means[code])
        return LanguageGuess(language, means[language])

    def transcribe(self, clips: Iterable[Clip]) -> Iterator[Heard]:
        """Decode clip by clip, each without a word of the others. Raises BadOption, OutOfMemory."""
        return (self._hear(clip) for clip in clips)

    def _hear(self, clip: Clip) -> Heard:
        """The result at the first temperature that satisfies, else at the last one.

        whisper.cpp's own fall-back does not tell where it ended, and goes by the entropy of tokens
        instead of the compression ratio that the options speak of.
        """
        for temperature in clip.options.temperatures:
            decoded = self._decode(clip, temperature)
            if not is_failure(decoded, clip.options):
                break
        phrases = decoded.phrases
        pieces = [Piece(phrase.start_s, phrase.end_s, ()) for phrase in phrases]
        texts = [phrase.text for phrase in phrases]
        words = [words_of(phrase, clip) for phrase in phrases]
        return Heard(clip.window, build(clip.window, pieces, texts, words, decoded))

    def _decode(self, clip: Clip, temperature: float) -> _Decoded:
        from whisper.utils import compression_ratio

        phrases = self._context.decode(clip.samples, clip.options, temperature)
        logs = [token.log_probability for phrase in phrases for token in phrase.tokens]
        average = sum(logs) / len(logs) if logs else 0.0
        ratio = compression_ratio("".join(phrase.text for phrase in phrases).strip())
        return _Decoded(phrases, temperature, average, ratio)
