"""A summary without a language model: the sentences that are most typical of what was said.

Goes in: what was said. Comes out: a summary that says of itself that it is extractive. Does not
know: languages. Words that are everywhere weigh little, so no list of stop words is needed.

The choice is SumBasic's (Nenkova and Vanderwende, "The impact of frequency on summarization",
2005): the sentence whose words are most frequent on average; its words then count for less. One
sentence is taken from each share of the recording. All is linear in the number of words.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.summaries.cleaning import short, visible
from pipeline.summaries.cohesion import boundaries
from pipeline.summaries.coverage import whole
from pipeline.summaries.grounding import chapters
from pipeline.summaries.lengths import measure
from pipeline.summaries.parts import shares
from pipeline.summaries.records import PROGRAM, KeyPoint, Mark, Summary, SummaryProvenance
from pipeline.summaries.words import is_unspaced, terms

if TYPE_CHECKING:
    from pipeline.summaries.records import Chapter, Line, Spoken

EXTRACTIVE = "extractive, no LLM"
NO_SPEECH = "no speech was found"
_SENTENCE_END = (
    ".",
    "?",
    "!",
    "…",
    "。",
    "？",
    "！",
    "؟",
    "۔",
    "।",
    '."',
    ".”",
    "?”",
    "!”",
    "。」",
)
_MAX_SENTENCE_CHARS = 240  # Whisper may set no full stop for minutes
_PAUSE_S = 2.0  # longer: a new sentence
_BLOCK_TERMS = 100  # a minute of speech, about: how many of these have a word tells its weight
_SHORTEST_TERMS = 12  # shorter sentences are judged as if they had so many words
_ABSTRACT_SENTENCES = 3
_TITLE_TERMS = 3
_TOPICS = 8
_MIN_NAME_CHARS = 4  # shorter words are mostly of grammar
_USED = 0.1  # what is left of a word's weight when a sentence with it was taken


@dataclass(frozen=True, slots=True)
class Sentence:
    """Neighbouring lines up to a full stop; it starts with a line."""

    start_s: float
    text: str
    terms: tuple[str, ...]


def extract(spoken: Spoken) -> Summary:
    """Key sentences with their times, chapters by change of words."""
    sentences = _sentences(spoken.lines)
    weights = _weights(sentences)
    length_s = spoken.lines[-1].end_s - spoken.lines[0].start_s
    most = measure(length_s)
    best = _typical(sentences, weights, most.most_points)
    abstract = _typical(sentences, weights, _ABSTRACT_SENTENCES)
    marks, fallbacks = _marks(spoken, sentences, weights)
    return Summary(
        source=spoken.source,
        media=spoken.media,
        duration_s=spoken.duration_s,
        title=short(spoken.source, "title"),
        abstract=short(" ".join(sentence.text for sentence in abstract), "abstract"),
        points=tuple(KeyPoint(one.start_s, short(one.text, "text")) for one in best),
        chapters=_titled(chapters(marks, spoken, ""), sentences, weights),
        topics=_topics(sentences, weights),
        people=(),
        terms=(),
        questions=(),
        actions=(),
        coverage=whole(spoken),
        provenance=_provenance(spoken, (EXTRACTIVE, *fallbacks)),
    )


def nothing_said(spoken: Spoken) -> Summary:
    """The summary of silence."""
    return Summary(
        source=spoken.source,
        media=spoken.media,
        duration_s=spoken.duration_s,
        title=short(spoken.source, "title"),
        abstract="",
        points=(),
        chapters=(),
        topics=(),
        people=(),
        terms=(),
        questions=(),
        actions=(),
        coverage=whole(spoken),
        provenance=_provenance(spoken, (NO_SPEECH,)),
    )


def _provenance(spoken: Spoken, fallbacks: tuple[str, ...]) -> SummaryProvenance:
    return SummaryProvenance(PROGRAM, None, "", "", spoken.language, fallbacks)


def _sentences(lines: tuple[Line, ...]) -> tuple[Sentence, ...]:
    sentences: list[Sentence] = []
    open_lines: list[Line] = []

    def close() -> None:
        text = visible(" ".join(line.text for line in open_lines))
        if text:
            sentences.append(Sentence(open_lines[0].start_s, text, tuple(terms(text))))
        open_lines.clear()

    for line in lines:
        if open_lines and line.start_s - open_lines[-1].end_s > _PAUSE_S:
            close()
        open_lines.append(line)
        length = sum(len(one.text) for one in open_lines)
        if line.text.rstrip().endswith(_SENTENCE_END) or length > _MAX_SENTENCE_CHARS:
            close()
    if open_lines:
        close()
    return tuple(sentences)


def _weights(sentences: tuple[Sentence, ...]) -> dict[str, float]:
    """How frequent each word is, and how few stretches have it (tf · idf).

    The first is damped and the second squared, so that "that" weighs little after ten minutes too.
    """
    words = [word for sentence in sentences for word in sentence.terms]
    blocks = [words[at : at + _BLOCK_TERMS] for at in range(0, len(words), _BLOCK_TERMS)]
    frequency = Counter(words)
    spread = Counter(word for block in blocks for word in set(block))
    return {
        word: (1 + math.log(count))
        * math.log((len(blocks) + 1) / spread[word]) ** 2
        * (not word.isdigit())
        for word, count in frequency.items()
    }


def _typical(
    sentences: tuple[Sentence, ...], weights: dict[str, float], count: int
) -> tuple[Sentence, ...]:
    """The most typical sentence of each share, in order; none twice."""
    left = dict(weights)
    taken = []
    for share in shares(sentences, [len(one.terms) + 1 for one in sentences], count):
        best = max(share, key=lambda one: _score(one, left))
        taken.append(best)
        for word in set(best.terms):
            left[word] *= _USED
    return tuple(taken)


def _score(sentence: Sentence, weights: dict[str, float]) -> float:
    total = sum(weights[word] for word in set(sentence.terms))
    return total / max(len(sentence.terms), _SHORTEST_TERMS)


def _marks(
    spoken: Spoken, sentences: tuple[Sentence, ...], weights: dict[str, float]
) -> tuple[list[Mark], tuple[str, ...]]:
    """Where chapters begin, and what had to be done when the words do not tell."""
    most = measure(spoken.lines[-1].end_s - spoken.lines[0].start_s)
    marks: list[Mark] = []
    for one in boundaries([sentence.terms for sentence in sentences], weights):
        start_s = sentences[one.sentence].start_s
        if all(abs(start_s - mark.start_s) >= most.shortest_chapter_s for mark in marks):
            marks.append(Mark(start_s, ""))
    if marks:
        return marks[: most.most_chapters - 1], ()
    even = shares(
        sentences, [len(sentence.terms) + 1 for sentence in sentences], most.most_chapters
    )
    reason = "chapters are evenly spaced: the words do not tell where the subject changes"
    return [Mark(share[0].start_s, "") for share in even], (reason,)


def _titled(
    found: tuple[Chapter, ...], sentences: tuple[Sentence, ...], weights: dict[str, float]
) -> tuple[Chapter, ...]:
    """Chapters named by their typical words; by a sentence where words are not told apart."""
    titled = []
    for chapter in found:
        inside = [one for one in sentences if chapter.start_s <= one.start_s < chapter.end_s]
        titled.append(replace(chapter, title=_title(inside or list(sentences[:1]), weights)))
    return tuple(titled)


def _title(inside: list[Sentence], weights: dict[str, float]) -> str:
    names = _names(tuple(inside), weights, _TITLE_TERMS)
    if len(names) == _TITLE_TERMS:
        return short(", ".join(names), "title")
    return short(max(inside, key=lambda one: _score(one, weights)).text, "name")


def _topics(sentences: tuple[Sentence, ...], weights: dict[str, float]) -> tuple[str, ...]:
    return _names(sentences, weights, _TOPICS)


def _names(
    sentences: tuple[Sentence, ...], weights: dict[str, float], count: int
) -> tuple[str, ...]:
    """The weightiest words that were said more than once; none of scripts without spaces."""
    said = Counter(word for sentence in sentences for word in sentence.terms)
    worthy = [
        word
        for word, times in said.items()
        if times > 1 and len(word) >= _MIN_NAME_CHARS and not is_unspaced(word)
    ]
    worthy.sort(key=lambda word: -weights[word] * said[word])
    return tuple(short(word, "name") for word in worthy[:count])
