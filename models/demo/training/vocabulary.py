"""The tokens that the demo model knows, numbered without gaps.

In: the grammar and Whisper's English tokenizer. Out: ``Vocabulary``: compact ids for unknown, text,
special and timestamp tokens, in this order. Does not know: windows or networks.
"""

import random

from whisper.tokenizer import get_tokenizer

from models.demo.training import grammar
from models.demo.training.phrases import SLOTS, TEMPLATES

UNKNOWN = 0  # the compact id of every token that is never trained
STAMPS = 1501  # 0.00 s to 30.00 s
STAMPS_PER_S = 50
LAST_STAMP = STAMPS - 1


class Vocabulary:
    """Compact ids; ``tokens[id]`` is Whisper's own number of a token."""

    def __init__(self) -> None:
        self._tokenizer = get_tokenizer(multilingual=False)
        text = self._text_tokens()
        tok = self._tokenizer
        special = [tok.eot, tok.sot, tok.sot_prev, tok.no_speech, tok.no_timestamps]
        first = tok.timestamp_begin
        self.text_count = len(text)
        self.tokens: list[int] = [-1, *sorted(text), *special, *range(first, first + STAMPS)]
        self._ids = {token: i for i, token in enumerate(self.tokens)}
        self.first_stamp = self._ids[first]
        self.eot, self.sot, self.prev, self.no_speech, self.no_stamps = (
            self._ids[token] for token in special
        )

    def encode(self, sentence: str) -> list[int]:
        """The ids of a sentence that follows others."""
        return [self._ids[token] for token in self._tokenizer.encode(" " + sentence.strip())]

    def stamp(self, frame: int) -> int:
        """The id of a timestamp, in encoder frames of the window."""
        return self.first_stamp + min(LAST_STAMP, frame)

    def is_stamp(self, token: int) -> bool:
        """Whether an id is a timestamp."""
        return token >= self.first_stamp

    def is_text(self, token: int) -> bool:
        """Whether an id may be replaced by another text token."""
        return token <= self.text_count

    def letters(self, token: int) -> float:
        """How long a text token takes to say, in letters: of a number, those of its name."""
        piece = self._tokenizer.decode([self.tokens[token]])
        if piece.strip().isdigit():
            value = int(piece)
            if value < 20:
                return 5.0 if value < 13 else 8.0
            return 14.0 if value % 10 > 0 or value > 99 else 10.0
        return 0.5 if piece in ",.?!" else float(len(piece))

    def _text_tokens(self) -> set[int]:
        """Tokens of every filler in every slot; the other slots are filled at random."""
        rng = random.Random(0)
        found: set[int] = set()
        for template in TEMPLATES:
            slots = grammar.SLOT.findall(template)
            if not slots:
                found.update(self._tokenizer.encode(" " + template))
            for slot in slots:
                for word in SLOTS[slot]:
                    sentence = grammar.expand(template, rng, {slot: word})
                    found.update(self._tokenizer.encode(" " + sentence))
        return found
