"""Whisper's decoder by whisper's own modules, with static caches, on any device.

Goes in: a loaded Whisper, float or quantised; encoded windows, tokens. Comes out: logits. Does not
know: what a token means, when a row ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.engines.decoder import Aligned, of_following
from models.engines.feed import numbers_of, sent, shape_of, unpacked
from models.engines.playback import Playback, cuda_graphs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from whisper.model import Whisper

    from models.engines.feed import Feed, Shape
    from models.engines.playback import Recorder

ROWS_AT_ONCE = 24  # whose logits are wanted of one text
WINDOWS_AT_ONCE = 8  # that are taken in together


class ModuleDecoder:
    """A `models.engines.decoder.Decoder`.

    On a GPU a step is rounded up to one of a few shapes, and recorded once for each.
    """

    is_packed = False

    def __init__(
        self, model: Whisper, places: int, slots: int, record: Recorder | None = None
    ) -> None:
        """`record`: the device's own way of recording unless given."""
        self._model = model
        dims = model.dims
        width = dims.n_text_state // dims.n_text_head
        like = model.encoder.conv1.weight
        layers, heads = dims.n_text_layer, dims.n_text_head
        self.places, self.slots = places, slots
        self._decoder = model.decoder
        self._heads = heads
        # keys and values
        self._written = like.new_zeros(layers, 2, slots, heads, dims.n_text_ctx, width)
        self._heard = like.new_zeros(layers, 2, places, heads, dims.n_audio_ctx, width)
        self._watched = model.alignment_heads.indices().T.tolist()
        if record is None and like.is_cuda:
            record = cuda_graphs(like.device)
        self._playback = self._recorded(record) if record else None

    def _recorded(self, record: Recorder) -> Playback:
        """One recording is made at once, so that it is known whether this device can."""
        import torch

        logits = self._written.new_empty(self.slots, self._model.dims.n_vocab, dtype=torch.float32)
        playback = Playback(self._step, record, logits)
        with torch.inference_mode():
            shape = shape_of([[0]], 0, [0], [0])
            numbers = sent(numbers_of(shape, [[0]], [0], [0]), self._written.device)
            playback.proven(shape, numbers)
        return playback

    @property
    def reason(self) -> str | None:
        """How steps are asked of a GPU, and why; None: this is none."""
        if self._playback is None:
            return None
        failure = self._playback.failure
        return f"steps not recorded, since {failure}" if failure else "steps recorded once"

    def hear(self, places: Sequence[int], windows: Sequence[Tensor]) -> None:
        """See Decoder."""
        import torch

        device = self._heard.device
        for first in range(0, len(places), WINDOWS_AT_ONCE):
            some = slice(first, first + WINDOWS_AT_ONCE)
            with torch.inference_mode():
                x = torch.stack(list(windows[some])).to(self._heard)
                targets = sent(places[some], device)
                for block, (keys, values) in zip(self._decoder.blocks, self._heard, strict=True):
                    keys[targets] = self._split(block.cross_attn.key(x))
                    values[targets] = self._split(block.cross_attn.value(x))

    def begin(
        self,
        slot: int,
        places: Sequence[int],
        tokens: Sequence[Sequence[int]],
        wanted: Sequence[int],
    ) -> Tensor:
        """See Decoder."""
        import torch

        with torch.inference_mode():
            x = self._forward(self._feed(tokens, slot, [0] * len(tokens), places))
            logits = self._logits(torch.stack([x[:, i] for i in wanted], 1).flatten(0, 1))
            return logits.view(len(tokens), len(wanted), -1)

    def step(
        self, tokens: Sequence[int], positions: Sequence[int], places: Sequence[int]
    ) -> Tensor:
        """See Decoder."""
        import torch

        given = [[token] for token in tokens]
        shape = shape_of(given, 0, positions, places)
        if self._playback:
            shape = shape.roomy(self.slots, self.places, self._model.dims.n_text_ctx)
        with torch.inference_mode():
            numbers = sent(numbers_of(shape, given, positions, places), self._written.device)
            return (self._playback or self._step)(shape, numbers)[: len(tokens)]

    def _step(self, shape: Shape, numbers: Tensor) -> Tensor:
        """What is recorded: no number but these comes from here, and none is asked for."""
        return self._logits(self._forward(unpacked(shape, numbers))[:, 0])

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """See Decoder."""
        if not sources:
            return
        ours, theirs = sent([targets, sources], self._written.device)
        for written in self._written:  # a layer at a time: all may be gigabytes
            written[:, ours, :, :length] = written[:, theirs, :, :length]

    def align(self, slot: int, place: int, tokens: Sequence[int], below: int) -> Aligned:
        """See Decoder."""
        import torch

        with torch.inference_mode():
            queries: list[Tensor] = []
            x = self._forward(self._feed([tokens], slot, [0], [place]), queries)
            scale = self._heard.shape[-1] ** -0.5  # at once: float16 ends at 65 504
            scores = [
                (queries[layer][0, head] * scale) @ self._heard[layer, 0, place, head].T
                for layer, head in self._watched
            ]
            probabilities = self._of_following(x[0, :-1], tokens[1:], below)
            return Aligned(probabilities, torch.stack(scores).float())

    def _of_following(self, x: Tensor, following: Sequence[int], below: int) -> Tensor:
        """Probabilities (m,) after states (m, d); all their logits would be as large as a model."""
        import torch

        found = []
        for first in range(0, len(x), ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            found.append(of_following(self._logits(x[some]), following[some], below))
        return torch.cat(found)

    def resized(self, places: int, slots: int) -> ModuleDecoder:
        """See Decoder."""
        model = self._model
        self.close()
        return ModuleDecoder(model, places, slots)

    def close(self) -> None:
        """See Decoder."""
        vars(self).clear()

    def _forward(self, feed: Feed, queries: list[Tensor] | None = None) -> Tensor:
        """What is fed, (s, n) tokens, to (s, n, d).

        The cross-attention's queries, (s, h, n, 64) of each layer, are added to `queries`. Nothing
        here waits for the device.
        """
        decoder, (s, n) = self._decoder, feed.tokens.shape
        positions = decoder.positional_embedding[feed.positions]
        x = (decoder.token_embedding(feed.tokens) + positions).to(self._written.dtype)
        for block, written, heard in zip(decoder.blocks, self._written, self._heard, strict=True):
            own, cross = block.attn, block.cross_attn
            y = block.attn_ln(x)
            for cache, layer in zip(written, (own.key, own.value), strict=True):
                new = layer(y).nan_to_num_()  # a mask of zeros would not keep a NaN from others
                cache[feed.slots, :, feed.positions] = new.view(s, n, self._heads, -1)
            x = x + own.out(_joined(feed.attend_own(self._split(own.query(y)), *written)))
            q = self._split(cross.query(block.cross_attn_ln(x)))
            if queries is not None:
                queries.append(q)
            x = x + cross.out(_joined(feed.attend_windows(q, *heard)))
            x = x + block.mlp(block.mlp_ln(x))
        hidden: Tensor = decoder.ln(x)
        return hidden

    def _feed(
        self,
        tokens: Sequence[Sequence[int]],
        slot: int,
        starts: Sequence[int],
        places: Sequence[int],
    ) -> Feed:
        """(s, n) tokens for the slots from `slot` on, at positions from `starts` on."""
        shape = shape_of(tokens, slot, starts, places)
        numbers = numbers_of(shape, tokens, starts, places)
        return unpacked(shape, sent(numbers, self._written.device))

    def _split(self, x: Tensor) -> Tensor:
        """(s, n, d) as (s, h, n, 64)."""
        return x.view(*x.shape[:-1], self._heads, -1).transpose(1, 2)

    def _logits(self, x: Tensor) -> Tensor:
        """(m, d) to (m, V)."""
        embedding = self._decoder.token_embedding
        if hasattr(embedding, "logits"):
            quantised: Tensor = embedding.logits(x)
            return quantised.float()
        logits: Tensor = (x @ embedding.weight.to(x.dtype).T).float()
        return logits


def _joined(x: Tensor) -> Tensor:
    """(s, h, n, 64) as (s, n, d)."""
    return x.transpose(1, 2).flatten(2)
