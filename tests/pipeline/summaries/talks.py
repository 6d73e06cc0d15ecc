"""Things that were said: made up, of any length, the same each time."""

from __future__ import annotations

import random

from pipeline.summaries.records import Line, Spoken

SUBJECTS = (
    "harbour ship crane cargo tide captain anchor container dock sailor",
    "bread flour oven yeast dough baker crust butter kneading recipe",
    "comet orbit telescope planet gravity dust nucleus spectrum probe launch",
    "violin concert rehearsal conductor melody string audience tempo score bow",
    "glacier valley moraine ice summit weather crevasse guide rope ridge",
)
COMMON = "and the then we said that it was very about what they had to do with this when one"


def sentence(chance, subject, words=12):
    chosen = [
        chance.choice(COMMON.split() if chance.random() < 0.55 else subject) for _ in range(words)
    ]
    return " ".join(chosen).capitalize() + "."


def talk(minutes, seed=7, subjects=SUBJECTS, line_s=4.8, language="en"):
    """Some 150 words a minute, in lines of a few seconds, about one subject after another."""
    chance = random.Random(seed)
    count = max(1, int(minutes * 60 / line_s))
    lines = []
    for number in range(count):
        subject = subjects[number * len(subjects) // count].split()
        start_s = round(3.2 + number * line_s, 2)
        lines.append(Line(start_s, round(start_s + line_s - 0.3, 2), sentence(chance, subject)))
    return spoken(lines, language)


def spoken(lines, language="en", duration_s=None):
    lines = tuple(lines)
    end_s = max((line.end_s for line in lines), default=0.0)
    return Spoken("talk.mp3", "talk.mp3", duration_s or end_s + 2.5, language, lines)


def of_texts(*texts, line_s=5.0):
    """One line each."""
    return spoken([Line(i * line_s, (i + 1) * line_s, text) for i, text in enumerate(texts)])
