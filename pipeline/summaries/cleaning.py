"""Text that nobody vouches for, made harmless.

Goes in: any text. Comes out: one line of it that can be seen, without what steers models or
terminals. Does not know: prompts, formats.
"""

from __future__ import annotations

import re
import unicodedata
from types import MappingProxyType

# Control characters, halves of characters, private and unassigned ones; and Cf: zero-width and
# bidirectional controls, and the tag characters that hide ASCII (Unicode Technical Report 36).
_UNSEEN = frozenset({"Cc", "Cs", "Co", "Cn", "Cf"})
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}")  # in rows they carry bytes
_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are misspelt without them
_STRAY_JOINERS = re.compile(
    rf"[{_JOINERS}]{{2,}}|(?:^|(?<=[\x00-\x7f]))[{_JOINERS}]|[{_JOINERS}](?=[\x00-\x7f]|$)"
)

# Every control token of a chat template is made of these signs. Speech needs none of them, so all
# go, also in tokens that no one has invented yet.
_TWINS = str.maketrans(
    {
        "<": "‹",  # <|im_start|> ChatML, Qwen: github.com/openai/openai-python chatml.md
        ">": "›",  # <|eot_id|> Llama 3: llama.com/docs model-cards-and-prompt-formats
        "|": "¦",  # <|channel|> harmony, gpt-oss: github.com/openai/harmony docs/format.md
        "[": "(",  # [INST] Mistral: github.com/mistralai/mistral-common; [gMASK] GLM
        "]": ")",  # <start_of_turn> Gemma: ai.google.dev/gemma/docs/core/prompt-structure
        "｜": "¦",  # <｜User｜> DeepSeek: tokenizer_config.json of DeepSeek-V3
        "▁": "_",  # the space of SentencePiece, as in <｜begin▁of▁sentence｜>
        "＜": "‹",  # the rest would turn into the first when a server normalises its input (NFKC)
        "＞": "›",
        "﹤": "‹",
        "﹥": "›",
        "［": "(",
        "］": ")",
        "`": "'",  # a code fence
    }
)

ELLIPSIS = "…"
LIMITS = MappingProxyType({"title": 120, "abstract": 2000, "text": 400, "name": 80, "quote": 300})


def visible(text: str) -> str:
    """One line without what cannot be seen; joiners stay where scripts need them."""
    text = " ".join(text.split())
    if text.isascii() and text.isprintable():
        return text
    kept = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) not in _UNSEEN)
    kept = _SELECTORS.sub("", _STRAY_JOINERS.sub("", kept))
    return " ".join(unicodedata.normalize("NFC", kept).split())


def neutral(text: str) -> str:
    """The same without control tokens of chat templates, and without brackets of our own lines."""
    return visible(text).translate(_TWINS)


def short(text: str, kind: str) -> str:
    """Visible text, cut between words where it is longer than its kind may be."""
    limit = LIMITS[kind]
    text = visible(text[: 8 * limit])
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    at_word = cut.rpartition(" ")[0]
    return (at_word if len(at_word) > limit // 2 else cut).rstrip() + ELLIPSIS
