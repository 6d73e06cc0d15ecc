"""What Whisper should write for a window.

In: a ``Scene``, the vocabulary and a random generator. Out: a ``Script``: the decoder's input
tokens, the label of each, and the time at which each label is spoken. Does not know: spectrograms
or batches.

    [<|startofprev|> earlier text] <|startoftranscript|>
    <|0.40|> Text.<|2.10|><|2.60|> More text.<|4.00|> ... <|endoftext|>

A sentence that the window's end cuts off has only its start; silence gives <|nospeech|>.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from models.demo.training.mixing import Scene
from models.demo.training.pool import Utterance
from models.demo.training.vocabulary import LAST_STAMP, STAMPS_PER_S, UNKNOWN, Vocabulary

Span = tuple[float, float]

IGNORED = -100  # PyTorch's label for "no loss here"
LONGEST_PROMPT = 223  # Whisper's half of the text context
_FIRST_STAMP_LIMIT = STAMPS_PER_S  # Whisper lets the first timestamp be 1.00 s at most
_WRONG_WORDS = 0.08  # of half of the windows
_STAMP_SLIP = 8  # frames


@dataclass(frozen=True, slots=True)
class Script:
    """Tokens of one window; the three sequences are parallel."""

    tokens: list[int]
    labels: list[int]
    spans_s: list[Span | None]
    said: list[int]  # the text tokens alone


class Writer:
    """Writes scripts, with the slips that a decoder makes when it is on its own."""

    def __init__(self, vocabulary: Vocabulary, rng: random.Random) -> None:
        self._vocabulary, self._rng = vocabulary, rng

    def prompt(self, utterances: Sequence[Utterance]) -> list[int]:
        """Unrelated earlier sentences as Whisper passes them: with their timestamps, or without."""
        rng, vocab = self._rng, self._vocabulary
        size, stamped = rng.randint(4, LONGEST_PROMPT), rng.random() < 0.8
        frame, out = rng.randint(0, 200), list[int]()
        while len(out) < size:
            text = vocab.encode(rng.choice(utterances).text)
            if rng.random() < 0.05:
                text = [UNKNOWN if rng.random() < 0.5 else token for token in text]
            if stamped:
                end = frame + 18 * len(text)
                text = [vocab.stamp(frame), *text, vocab.stamp(end)]
                frame = (end + rng.randint(8, 60)) % LAST_STAMP
            out += text
        return [vocab.prev, *out[-size:]]

    def script(self, scene: Scene, prompt: list[int], offset: int, *, stamps: bool) -> Script:
        """The script of a scene whose first frame is ``offset`` of the encoder's positions."""
        vocab = self._vocabulary
        body, spans, said = self._body(scene, offset, stamps=stamps)
        tokens = [*prompt, vocab.sot, *body]
        first = len(prompt)  # where <|startoftranscript|> stands
        if scene.spoken:
            labels = [IGNORED] * first + tokens[first + 1 :] + [vocab.eot]
            if not stamps:
                labels[first] = IGNORED  # <|notimestamps|> is given, never predicted
        else:  # no speech; and, where the decoder is made to go on, nothing after the first token
            tokens.append(vocab.stamp(self._rng.randint(0, 50)) if stamps else vocab.no_stamps)
            spans.append(None)
            labels = [IGNORED] * first + [vocab.no_speech, vocab.eot]
        self._slip(tokens, first + 1)
        return Script(tokens, labels, [None] * first + spans + [None], said)

    def _body(
        self, scene: Scene, offset: int, *, stamps: bool
    ) -> tuple[list[int], list[Span | None], list[int]]:
        vocab = self._vocabulary
        tokens, spans, said = list[int](), list[Span | None](), list[int]()

        def add_stamp(time_s: float) -> None:
            tokens.append(vocab.stamp(offset + round(time_s * STAMPS_PER_S)))
            spans.append((time_s, time_s))

        if not stamps and scene.spoken:
            tokens.append(vocab.no_stamps)
            spans.append(None)
        for sentence in scene.spoken:
            if stamps:
                add_stamp(sentence.start_s)
            ids = vocab.encode(sentence.text)
            lengths = list(accumulate((vocab.letters(token) for token in ids), initial=0.0))
            duration_s = sentence.end_s - sentence.start_s
            edges = [sentence.start_s + duration_s * length / lengths[-1] for length in lengths]
            tokens += ids
            spans += pairwise(edges)
            said += ids
            if stamps:
                add_stamp(sentence.end_s)
        if scene.cut_s is not None:
            add_stamp(scene.cut_s)
        return tokens, spans, said

    def _slip(self, tokens: list[int], first: int) -> None:
        """Inexact stamps and wrong words in, exact ones out: the next one is heard, not guessed."""
        rng, vocab = self._rng, self._vocabulary
        lowest, highest = vocab.first_stamp, vocab.stamp(LAST_STAMP)
        for i in range(first, len(tokens)):
            if not vocab.is_stamp(tokens[i]):
                continue
            late = i == first and tokens[i] > lowest + _FIRST_STAMP_LIMIT
            if late and rng.random() < 0.6:
                tokens[i] = lowest + rng.randint(0, _FIRST_STAMP_LIMIT)
            elif rng.random() < 0.15:
                slipped = tokens[i] + rng.randint(-_STAMP_SLIP, _STAMP_SLIP)
                tokens[i] = min(highest, max(lowest, slipped))
        if rng.random() < 0.5:
            for i in range(first, len(tokens)):
                if vocab.is_text(tokens[i]) and rng.random() < _WRONG_WORDS:
                    tokens[i] = rng.randint(1, vocab.text_count)
