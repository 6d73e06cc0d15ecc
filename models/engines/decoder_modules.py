"""Whisper's decoder by whisper's own modules, with static caches, on any device.

Goes in: a loaded Whisper, float or quantised; encoded windows, tokens. Comes out: logits. Does not
know: what a token means, when a row ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from models.engines.decoder import Aligned, of_following

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from whisper.model import Whisper

ROWS_AT_ONCE = 24  # whose logits are wanted of one text


class ModuleDecoder:
    """A `models.engines.decoder.Decoder`."""

    is_packed = False

    def __init__(self, model: Whisper, places: int, slots: int) -> None:
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

    def hear(self, place: int, features: Tensor) -> None:
        """See Decoder."""
        import torch

        with torch.inference_mode():
            x = features[None].to(self._heard)
            for block, (keys, values) in zip(self._decoder.blocks, self._heard, strict=True):
                keys[place] = self._split(block.cross_attn.key(x))[0]
                values[place] = self._split(block.cross_attn.value(x))[0]

    def begin(self, slot: int, place: int, tokens: Sequence[int], wanted: Sequence[int]) -> Tensor:
        """See Decoder."""
        import torch

        with torch.inference_mode():
            x = self._forward(self._feed([tokens], slot, [0], [place]))
            return self._logits(x[0, list(wanted)])

    def step(
        self, tokens: Sequence[int], positions: Sequence[int], places: Sequence[int]
    ) -> Tensor:
        """See Decoder."""
        import torch

        with torch.inference_mode():
            x = self._forward(self._feed([[token] for token in tokens], 0, positions, places))
            return self._logits(x[:, 0])

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """See Decoder."""
        self._written[:, :, list(targets), :, :length] = self._written[
            :, :, list(sources), :, :length
        ]

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

    def _forward(self, feed: _Feed, queries: list[Tensor] | None = None) -> Tensor:
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
        first: int,
        starts: Sequence[int],
        places: Sequence[int],
    ) -> _Feed:
        """(s, n) tokens for the slots from `first` on, at positions from `starts` on."""
        import torch

        device = self._written.device
        given = torch.tensor(tokens, device=device)
        s, n = given.shape
        positions = torch.tensor(starts, device=device)[:, None] + torch.arange(n, device=device)
        slots = slice(first, first + s)
        reach = max(starts) + n
        heard = slice(min(places), max(places) + 1)
        rows_of: list[list[int]] = [[] for _ in range(heard.stop - heard.start)]
        for row, place in enumerate(places):
            rows_of[place - heard.start].append(row)
        ranks = [rows_of[place - heard.start].index(row) for row, place in enumerate(places)]
        most = max(map(len, rows_of))
        members = [rows + [0] * (most - len(rows)) for rows in rows_of]
        return _Feed(
            tokens=given,
            positions=positions,
            slots=torch.arange(first, first + s, device=device)[:, None],
            written=(slots, slice(None), slice(reach)),
            seen=torch.arange(reach, device=device) <= positions[:, None, :, None],
            heard=heard,
            members=torch.tensor(members, device=device),
            places=torch.tensor(places, device=device) - heard.start,
            ranks=torch.tensor(ranks, device=device),
        )

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


class _Feed(NamedTuple):
    """What a pass is given: n tokens for each of s slots, which listen to w windows."""

    tokens: Tensor  # (s, n)
    positions: Tensor  # (s, n)
    slots: Tensor  # (s, 1)
    written: tuple[slice, ...]  # the part of the slots' memory that is read
    seen: Tensor  # (s, 1, n, positions read): whether a token sees what is at a position
    heard: slice  # the places that are read
    members: Tensor  # (w, most rows of one window): which rows listen to each; any row as padding
    places: Tensor  # (s,): which of the windows each row listens to
    ranks: Tensor  # (s,): and where it stands among its members

    def attend_own(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries (s, h, n, 64) over keys and values (slots, h, positions, 64)."""
        from torch.nn.functional import scaled_dot_product_attention as attention

        return attention(q, keys[self.written], values[self.written], self.seen)

    def attend_windows(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries (s, h, n, 64) over keys and values (places, h, T, 64).

        Rows of one window read it together.
        """
        from torch.nn.functional import scaled_dot_product_attention as attention

        h, n, width = q.shape[1:]
        w, most = self.members.shape
        grouped = q[self.members].transpose(1, 2).reshape(w, h, most * n, width)
        y = attention(grouped, keys[self.heard], values[self.heard])
        return y.view(w, h, most, n, width)[self.places, :, self.ranks]


def _joined(x: Tensor) -> Tensor:
    """(s, h, n, 64) as (s, n, d)."""
    return x.transpose(1, 2).flatten(2)
