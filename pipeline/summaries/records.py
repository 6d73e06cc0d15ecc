"""The nouns of summaries.

Goes in: nothing. Comes out: frozen values. Does not know: models, prompts, files.
Times are seconds on the media's own clock; all values survive JSON and back (`pipeline.codec`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

# cattrs reads the fields' types while the program runs
from pipeline.types import Span, TextEngineDescription  # noqa: TC001
from pipeline.version import __version__

if TYPE_CHECKING:
    from pipeline.types import Transcript

PROGRAM = f"transcribe {__version__}"

# ── what is summarised ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Line:
    """A segment or a cue: what was said, and when."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """All that was said in one recording, in order."""

    source: str  # the name of the file that it was read from
    media: str | None  # the name of the media file, for links; None when nobody knows it
    duration_s: float
    language: str | None  # ISO 639-1 code
    lines: tuple[Line, ...]


def spoken_of(transcript: Transcript) -> Spoken:
    """What a transcript of ours says."""
    return Spoken(
        source=transcript.source,
        media=transcript.source,
        duration_s=transcript.duration_s,
        language=transcript.language,
        lines=tuple(Line(one.start_s, one.end_s, one.text) for one in transcript.segments),
    )


# ── what is found in it ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class KeyPoint:
    """Something worth knowing, and the start of the line where it is said."""

    start_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something new begins: a chapter before its end is known."""

    start_s: float
    title: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch with a name. It starts with a line; chapters touch and cover all that was said."""

    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who speaks or is spoken of."""

    name: str
    note: str  # who that is; may be empty


@dataclass(frozen=True, slots=True)
class Term:
    """A word that needs to be known."""

    name: str
    note: str  # what it means; may be empty


@dataclass(frozen=True, slots=True)
class ActionItem:
    """Something that somebody is to do."""

    start_s: float | None  # None: it could not be found in the words
    text: str
    who: str  # may be empty
    due: str  # in the speaker's words; may be empty


@dataclass(frozen=True, slots=True)
class Notes:
    """What is known of a part, or of several parts that were merged."""

    title: str
    abstract: str
    points: tuple[KeyPoint, ...]
    chapters: tuple[Mark, ...]
    topics: tuple[str, ...] = ()
    people: tuple[Person, ...] = ()
    terms: tuple[Term, ...] = ()
    questions: tuple[str, ...] = ()
    actions: tuple[ActionItem, ...] = ()


# ── what comes out ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the speech was in a request that got an answer."""

    speech_s: float
    covered_s: float
    missing: tuple[Span, ...]  # what was not, in order
    requests: int  # that were answered; 0 without a language model


@dataclass(frozen=True, slots=True)
class SummaryProvenance:
    """How a summary came about."""

    program: str  # "transcribe 0.1.0"
    engine: TextEngineDescription | None  # None: extractive, no LLM
    style: str  # empty without a language model, like the next
    prompt_version: str  # a hash of the prompt's file
    language: str | None  # that it is written in; None: not known
    fallbacks: tuple[str, ...] = ()  # what did not go as planned, in words


@dataclass(frozen=True, slots=True)
class Summary:
    """What one recording says, in short."""

    source: str
    media: str | None
    duration_s: float
    title: str
    abstract: str
    points: tuple[KeyPoint, ...]
    chapters: tuple[Chapter, ...]
    topics: tuple[str, ...]
    people: tuple[Person, ...]
    terms: tuple[Term, ...]
    questions: tuple[str, ...]
    actions: tuple[ActionItem, ...]
    coverage: Coverage
    provenance: SummaryProvenance
