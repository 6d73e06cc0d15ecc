"""Words, of scripts with spaces and without.

Goes in: text. Comes out: its words in one form. Does not know: which language it is.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

# Scripts without spaces between words: kana and Han, Thai, Lao, Burmese, Khmer. Hangul has spaces.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*")
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")


def tokens(text: str) -> list[str]:
    """Words in lower case, without punctuation; single characters where there are no spaces."""
    return _TOKEN.findall(_one_form(text))


def terms(text: str) -> list[str]:
    """What texts are compared by: words, and pairs of characters where there are no spaces.

    Pairs do for Chinese and Japanese as well as words that a dictionary tells (Nie, Gao et al.,
    "On the use of words and n-grams for Chinese information retrieval", 2000).
    """
    found: list[str] = []
    for run in _RUN.findall(_one_form(text)):
        if not _IS_UNSPACED.match(run) or len(run) == 1:
            found.append(run)
        else:
            found += ["".join(pair) for pair in pairwise(run)]
    return found


def is_unspaced(term: str) -> bool:
    """Whether a term is of a script that has no spaces between words."""
    return bool(_IS_UNSPACED.match(term))


def _one_form(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
