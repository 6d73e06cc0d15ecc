"""Draws sentences, and says which of them are held out for testing.

In: the tables of ``phrases`` and a random generator. Out: sentences with Whisper-like capitals and
punctuation. Does not know: voices or sound.

Whether a sentence is for training or for testing follows from a hash of its text alone, so the two
parts are disjoint however many sentences are drawn.
"""

import hashlib
import random
import re
from typing import Literal

from models.demo.training.phrases import SLOTS, TEMPLATES

Part = Literal["train", "test"]

SLOT = re.compile(r"\{(\w+)\}")
HELD_OUT_ONE_IN = 12
_FIXED_WEIGHT = 0.35  # short fixed lines are drawn less often than rich templates
_ONE_SLOT_WEIGHT = 0.7
_WEIGHTS = tuple(
    _FIXED_WEIGHT if "{" not in line else _ONE_SLOT_WEIGHT if line.count("{") == 1 else 1.0
    for line in TEMPLATES
)


def expand(template: str, rng: random.Random, fixed: dict[str, str] | None = None) -> str:
    """Fill the slots of one template at random, except those given in ``fixed``."""
    given = fixed or {}
    used = set(given.values())

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        if slot in given:
            return given[slot]
        word = rng.choice([choice for choice in SLOTS[slot] if choice not in used])
        used.add(word)
        return word

    text = SLOT.sub(fill, template)
    text = re.sub(r"\b(a) ([aeiou])", r"an \2", text)
    return text[:1].upper() + text[1:]


def part_of(sentence: str) -> Part:
    """The part a sentence belongs to; one without any slot is always in 'train'."""
    if sentence in TEMPLATES:
        return "train"
    digest = hashlib.sha256(sentence.encode()).digest()
    return "test" if digest[0] % HELD_OUT_ONE_IN == 0 else "train"


def sample(rng: random.Random, part: Part) -> str:
    """Draw a sentence of one part."""
    while True:
        sentence = expand(rng.choices(TEMPLATES, _WEIGHTS)[0], rng)
        if part_of(sentence) == part:
            return sentence


def words() -> tuple[str, ...]:
    """All words that can be produced, in lower case, without punctuation."""
    fixed = SLOT.sub(" ", " ".join(TEMPLATES))
    fillers = " ".join(word for choices in SLOTS.values() for word in choices)
    found = {word.strip(".,?!").lower() for word in f"{fixed} {fillers} an".split()}
    return tuple(sorted(found - {""}))
