"""What can be taken from an answer.

Goes in: the text of an answer, of any length and kind. Comes out: frozen values within limits, or
UnusableAnswer with the reason. Does not know: whether what it says is true.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.errors import TextEngineFailed
from pipeline.summaries.cleaning import short
from pipeline.summaries.records import Person, Term
from pipeline.summaries.schema import MAX_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

MAX_ANSWER_CHARS = 400_000  # thinking included; a real answer has some thousands
_MAX_NUMBER = 9_999_999  # a hundred days in seconds
_TRIES = 20  # braces at which an object may begin
_THOUGHT_ENDS = "</think>"  # Qwen 3, DeepSeek R1: what comes before is thinking
_CLOCK = re.compile(r"\[?(?:(\d{1,3}):)?(\d{1,4}):(\d{2})\]?")
_WHOLE = re.compile(r"\[?(\d{1,7})(?:\.\d{1,9})?\]?")


class UnusableAnswer(TextEngineFailed):
    """An answer from which nothing can be taken; `reason` says why, in plain ASCII words."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The language model's answer is not usable: {reason}: try another model.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Cited:
    """A statement, the second it is said to be from, and words that are said to be there."""

    second: int | None
    quote: str
    text: str


@dataclass(frozen=True, slots=True)
class CitedAction:
    """Something to do, as cited."""

    cited: Cited
    who: str
    due: str


@dataclass(frozen=True, slots=True)
class PartAnswer:
    """What a model notes of one part."""

    title: str
    abstract: str
    points: tuple[Cited, ...]
    chapters: tuple[Cited, ...]
    topics: tuple[str, ...]
    people: tuple[Person, ...]
    terms: tuple[Term, ...]
    questions: tuple[str, ...]
    actions: tuple[CitedAction, ...]


@dataclass(frozen=True, slots=True)
class ChosenChapter:
    """A chapter of those shown, by its number, and its title."""

    number: int
    title: str


@dataclass(frozen=True, slots=True)
class MergeAnswer:
    """What a model makes of several parts' notes: words, and choices by number."""

    title: str
    abstract: str
    points: tuple[int, ...]
    chapters: tuple[ChosenChapter, ...]


def read_part(text: str) -> PartAnswer:
    """A part's answer; items that are broken are left out. Raises UnusableAnswer."""
    found = _object_in(text)
    return PartAnswer(
        title=_needed(found, "title", "title"),
        abstract=_needed(found, "abstract", "abstract"),
        points=_items(found, "points", lambda item: _cited(item, "text", "text")),
        chapters=_items(found, "chapters", lambda item: _cited(item, "title", "title")),
        topics=_items(found, "topics", lambda item: _text(item, "name")),
        people=_items(found, "people", lambda item: Person(*_named(item))),
        terms=_items(found, "terms", lambda item: Term(*_named(item))),
        questions=_items(found, "questions", lambda item: _text(item, "text")),
        actions=_items(found, "actions", _action),
    )


def read_merge(text: str) -> MergeAnswer:
    """A merge's answer; items that are broken are left out. Raises UnusableAnswer."""
    found = _object_in(text)
    return MergeAnswer(
        title=_needed(found, "title", "title"),
        abstract=_needed(found, "abstract", "abstract"),
        points=_items(found, "points", _number, most=100),
        chapters=_items(found, "chapters", _chosen, most=100),
    )


def _object_in(text: str) -> dict[str, Any]:
    """The first JSON object that has what every answer has, whatever stands around it."""
    if len(text) > MAX_ANSWER_CHARS:
        raise UnusableAnswer("it is far too long")
    after_thinking = text.rpartition(_THOUGHT_ENDS)[2]
    for candidate in (after_thinking, text):  # a text in the answer may hold that mark too
        for found in _objects(candidate):
            if found.keys() >= {"title", "abstract"}:
                return found
    raise UnusableAnswer('it is no JSON object with "title" and "abstract"')


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """What can be read as an object from one of the first braces on."""
    start = -1
    for _ in range(_TRIES):
        start = text.find("{", start + 1)
        if start < 0:
            return
        try:
            found, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def _needed(found: dict[str, Any], key: str, kind: str) -> str:
    value = found.get(key)
    text = short(value, kind) if isinstance(value, str) else ""
    if not text:
        raise UnusableAnswer(f'"{key}" is missing')
    return text


def _items(
    found: dict[str, Any], key: str, read: Callable[[Any], T], most: int = MAX_ITEMS
) -> tuple[T, ...]:
    """The good ones of a list; a list of only bad ones is unusable, a missing one is empty."""
    value = found.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UnusableAnswer(f'"{key}" is no list')
    good: list[T] = []
    for item in value[:most]:
        try:
            good.append(read(item))
        except (TypeError, KeyError, ValueError):
            continue
    if value and not good:
        raise UnusableAnswer(f'"{key}" has items of a wrong form')
    return tuple(good)


def _text(value: Any, kind: str) -> str:
    if not isinstance(value, str):
        raise TypeError
    text = short(value, kind)
    if not text:
        raise ValueError
    return text


def _optional(item: Any, key: str, kind: str) -> str:
    value = item.get(key)
    return short(value, kind) if isinstance(value, str) else ""


def _cited(item: Any, key: str, kind: str) -> Cited:
    text = _text(item[key], kind)
    return Cited(_second(item.get("second")), _optional(item, "quote", "quote"), text)


def _action(item: Any) -> CitedAction:
    cited = _cited(item, "text", "text")
    return CitedAction(cited, _optional(item, "who", "name"), _optional(item, "due", "name"))


def _named(item: Any) -> tuple[str, str]:
    if isinstance(item, str):  # as models write it that no schema binds
        return _text(item, "name"), ""
    return _text(item["name"], "name"), _optional(item, "note", "text")


def _number(value: Any) -> int:
    number = _second(value)
    if number is None:
        raise ValueError
    return number


def _chosen(item: Any) -> ChosenChapter:
    return ChosenChapter(_number(item["number"]), _text(item["title"], "title"))


def _second(value: Any) -> int | None:
    """A whole number, also as models write it that no schema binds: "754", "[754]", "12:34"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if 0 <= value <= _MAX_NUMBER else None
    if not isinstance(value, str):
        return None
    if whole := _WHOLE.fullmatch(value.strip()):
        return int(whole[1])
    if clock := _CLOCK.fullmatch(value.strip()):
        hours, minutes, seconds = clock.groups(default="0")
        return int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return None
