"""What one pass of a decoder is given, as one row of numbers.

Goes in: tokens, and where each row stands. Comes out: a shape, numbers, and on the device what the
attention needs of them. Does not know: models, weights, what a token means.

Passes of one shape differ in nothing but their numbers, so that one can be recorded and played back
for all. One transfer brings them to the device, and nothing here waits for it.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

_REACH = 64  # positions: what reaches less is read up to here all the same


class Shape(NamedTuple):
    """Of a pass: n tokens for each of s slots, which listen to w windows."""

    slot: int  # the first that is fed
    rows: int  # s
    tokens: int  # n
    reach: int  # positions that are read
    place: int  # the first that is read
    windows: int  # w, the places that are read
    most: int  # rows that listen to one window

    def roomy(self, slots: int, places: int, contexts: int) -> Shape:
        """One that many other steps fit into as well; places and slots are read from 0 on."""
        rows = _up(self.slot + self.rows, slots)
        return self._replace(
            slot=0,
            rows=rows,
            reach=min(-(-self.reach // _REACH) * _REACH, contexts),
            place=0,
            windows=_up(self.place + self.windows, places),
            most=_up(self.most, rows),
        )


def _up(number: int, limit: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, …, or the limit."""
    power: int = 1 << (number - 1).bit_length()
    three_quarters = power * 3 // 4
    return min(three_quarters if three_quarters >= number else power, limit)


def shape_of(
    tokens: Sequence[Sequence[int]], slot: int, starts: Sequence[int], places: Sequence[int]
) -> Shape:
    """Of (s, n) tokens for the slots from `slot` on, at positions from `starts` on."""
    n, first = len(tokens[0]), min(places)
    return Shape(
        slot=slot,
        rows=len(tokens),
        tokens=n,
        reach=max(starts) + n,
        place=first,
        windows=max(places) + 1 - first,
        most=max(places.count(place) for place in set(places)),
    )


def numbers_of(
    shape: Shape, tokens: Sequence[Sequence[int]], starts: Sequence[int], places: Sequence[int]
) -> list[int]:
    """All that a pass is given; where the shape has room for more rows, they are of no account."""
    members: list[list[int]] = [[] for _ in range(shape.windows)]
    ranks = []
    for row, place in enumerate(places):
        ranks.append(len(members[place - shape.place]))
        members[place - shape.place].append(row)
    nothing = [0] * (shape.rows - len(tokens))
    return [
        *chain.from_iterable(tokens),
        *nothing * shape.tokens,
        *(*starts, *nothing),
        *(*(place - shape.place for place in places), *nothing),
        *(*ranks, *nothing),
        *chain.from_iterable(rows + [0] * (shape.most - len(rows)) for rows in members),
    ]


class Feed(NamedTuple):
    """The same on the device."""

    tokens: Tensor  # (s, n)
    positions: Tensor  # (s, n)
    slots: Tensor  # (s, 1)
    written: tuple[slice, ...]  # the part of the slots' memory that is read
    seen: Tensor  # (s, 1, n, positions read): whether a token sees what is at a position
    heard: slice  # the places that are read
    members: Tensor  # (w, most): which rows listen to each; any row as padding
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


def unpacked(shape: Shape, numbers: Tensor) -> Feed:
    """What `numbers_of` packed."""
    import torch

    s, n, device = shape.rows, shape.tokens, numbers.device
    sizes = [s * n, s, s, s, shape.windows * shape.most]
    tokens, starts, places, ranks, members = torch.split_with_sizes(numbers, sizes)
    positions = starts[:, None] + torch.arange(n, device=device)
    slots = slice(shape.slot, shape.slot + s)
    return Feed(
        tokens=tokens.view(s, n),
        positions=positions,
        slots=torch.arange(slots.start, slots.stop, device=device)[:, None],
        written=(slots, slice(None), slice(shape.reach)),
        seen=torch.arange(shape.reach, device=device) <= positions[:, None, :, None],
        heard=slice(shape.place, shape.place + shape.windows),
        members=members.view(shape.windows, shape.most),
        places=places,
        ranks=ranks,
    )


def sent(numbers: Sequence[object], device: torch.device) -> Tensor:
    """Numbers, or rows of them, on the device. CUDA need not have come so far when this returns."""
    import torch

    here = torch.tensor(numbers)
    if device.type != "cuda":
        return here.to(device)
    if torch.cuda.is_available():  # only from pinned memory nothing waits
        here = here.pin_memory()
    return here.to(device, non_blocking=True)
