"""What the training minimises.

In: a model, the encoder's own output layer and a ``Batch``. Out: ``Losses``. Does not know:
optimisers or schedules.

Besides the decoder's cross-entropy there are two losses on the encoder's states (which token is
spoken in each frame, and CTC) and one that draws some cross-attention heads to where a token is
spoken. They are needed early: without them the decoder learns the grammar and does not listen.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from whisper.model import Whisper

from models.demo.training.network import STATE, decode, embedding_table, encode
from models.demo.training.vocabulary import Vocabulary
from models.demo.training.windows import Batch

_SILENCE_WEIGHT = 0.2  # in the frame loss: most frames are silence
_BAND_FRAMES = 15  # a guided head may look this far beside its token
_FLOOR = 1e-4  # of a guided head's weight, so that its logarithm is bounded


@dataclass(frozen=True, slots=True)
class Losses:
    """The parts of the loss, and the share of text tokens that were right."""

    decoder: Tensor
    text: Tensor
    stamp: Tensor
    frame: Tensor
    ctc: Tensor
    guide: Tensor | None
    accuracy: Tensor


def encoder_output(vocabulary: Vocabulary) -> nn.Linear:
    """The layer that is trained on the encoder and thrown away: for CTC, and for frames.

    In both, class 0 is silence and the others are the text tokens.
    """
    return nn.Linear(STATE, 2 * (1 + vocabulary.text_count))


def losses(
    model: Whisper,
    output: nn.Linear,
    batch: Batch,
    vocabulary: Vocabulary,
    *,
    guided: bool,
    by_shifts: bool,
) -> Losses:
    """All losses of one batch; the guide only on demand."""
    table = embedding_table(model)
    with torch.autocast("cpu", torch.bfloat16):
        sound = encode(model, batch.mel, batch.offset, by_shifts=by_shifts).states
        decoded = decode(model, batch.tokens, sound, table, guided=guided)
        kept = batch.labels >= 0
        logits = functional.linear(decoded.states[kept], table)
        pairs = functional.avg_pool1d(sound.transpose(1, 2), 2).transpose(1, 2)
        emissions, frames = output(pairs).chunk(2, -1)
    labels = batch.labels[kept]
    each = functional.cross_entropy(logits.float(), labels, reduction="none")
    stamp = labels >= vocabulary.first_stamp
    return Losses(
        decoder=each.mean(),
        text=each[~stamp].mean(),
        stamp=each[stamp].mean() if stamp.any() else torch.zeros(()),
        frame=_frame_loss(frames.float(), batch),
        ctc=_ctc_loss(emissions.float(), batch),
        guide=_guide_loss(decoded.attention, batch) if guided else None,
        accuracy=(logits.argmax(-1) == labels)[~stamp].float().mean().detach(),
    )


def _frame_loss(frames: Tensor, batch: Batch) -> Tensor:
    weight = torch.ones(frames.shape[-1])
    weight[0] = _SILENCE_WEIGHT
    return functional.cross_entropy(
        frames.transpose(1, 2), _frame_targets(batch, frames.shape[1]), weight
    )


def _frame_targets(batch: Batch, count: int) -> Tensor:
    """The token spoken in each pair of frames (roughly), 0 for silence, -100 for unknown."""
    target = torch.zeros(len(batch.labels), count, dtype=torch.long)
    start, end = batch.spans.unbind(-1)
    text = (batch.labels >= 0) & (start >= 0) & (end > start)
    for i, j in text.nonzero().tolist():
        low, high = batch.spans[i, j].tolist()
        first = round(low / 2)
        target[i, first : max(first + 1, round(high / 2))] = batch.labels[i, j]
    for i, limit in enumerate(batch.limits.tolist()):
        target[i, limit:] = -100
    return target


def _ctc_loss(emissions: Tensor, batch: Batch) -> Tensor:
    each = functional.ctc_loss(
        emissions.log_softmax(-1).transpose(0, 1),
        batch.said,
        batch.limits,
        batch.said_lengths,
        reduction="none",
        zero_infinity=True,
    )
    return each.sum() / batch.said_lengths.sum().clamp(min=1)


def _guide_loss(attention: list[Tensor], batch: Batch) -> Tensor:
    rows = (batch.labels >= 0) & (batch.spans[..., 0] >= 0)
    low, high = batch.spans[rows].tensor_split(2, -1)
    frame = torch.arange(attention[0].shape[-1])
    band = ((frame >= low - _BAND_FRAMES) & (frame <= high + _BAND_FRAMES)).float()
    mass = [(heads.transpose(1, 2)[rows] * band[:, None]).sum(-1) for heads in attention]
    logs = torch.cat([(m + _FLOOR).log().flatten() for m in mass])
    return -logs.mean() if len(logs) else logs.sum()
