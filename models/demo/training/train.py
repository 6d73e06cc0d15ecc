"""Trains the network on a pool, in two processes that average their gradients.

In: a ``Recipe``. Out: ``Progress`` now and then, and the compact checkpoint, rewritten every few
minutes. Does not know: how the pool was made, or how good the result is.

The schedule follows the clock, so a slower machine gives a worse model, not a later one, and no two
runs give the same file. One thread a process: small layers gain little from more.
"""

import copy
import math
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from whisper.model import Whisper

from models.demo.training import export
from models.demo.training.int8 import imitate_int8
from models.demo.training.losses import Losses, encoder_output, losses
from models.demo.training.network import START_GAINS, build, encode
from models.demo.training.shifts import hold_reserved, write_out
from models.demo.training.vocabulary import Vocabulary
from models.demo.training.windows import Batch, Stage, Windows

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

STAGES = (
    Stage(share=0.16, seconds=6, windows=6, prompted=0.10),
    Stage(share=0.20, seconds=10, windows=5, prompted=0.15),
    Stage(share=0.20, seconds=18, windows=3, prompted=0.20),
    Stage(share=0.44, seconds=30, windows=2, prompted=0.25),
)
# Shares of the training time.
GUIDED_UNTIL, SELDOM_GUIDED_UNTIL = 0.36, 0.90
STRONG_GUIDE_UNTIL, STRONG_FRAMES_UNTIL = 0.30, 0.40
INT8_FROM = 0.84
ATTENTION_FROM = 0.90
SELDOM = 4  # steps

LEARNING_RATE = 1e-3
ENCODER_FACTOR = 2.4  # the encoder learns from far weaker gradients than the decoder
LAST_LEARNING_RATE = 0.02  # of the first
WARM_UP_STEPS = 300
LONGEST_GRADIENT = 1.0
SEED = 1
CHECKPOINT_EVERY_S = 240
REPORT_EVERY = 50  # steps
_PROCESS_SEED, _STAGE_SEED = 7919, 100


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training run is told."""

    pool: Path
    out: Path
    minutes: float
    processes: int = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """Means over the last steps of the first process."""

    minutes: float
    step: int
    text: float
    stamp: float
    accuracy: float
    frame: float
    ctc: float


def train(recipe: Recipe) -> Iterator[Progress]:
    """Run the whole training; the checkpoint is complete when the iterator ends."""
    with tempfile.TemporaryDirectory() as folder:
        reports: SimpleQueue[Progress] = get_context("spawn").SimpleQueue()
        arguments = (recipe, f"{folder}/meeting", reports)
        processes = spawn(_work, arguments, recipe.processes, join=False)  # type: ignore[no-untyped-call]
        finished = False
        while not finished:
            finished = processes.join(timeout=1)
            while not reports.empty():
                yield reports.get()


def _work(rank: int, recipe: Recipe, meeting: str, reports: "SimpleQueue[Progress]") -> None:
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=recipe.processes)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    trainer = _Trainer(recipe, rank)
    recent: list[Progress] = []
    saved_at = time.monotonic()
    while trainer.share < 1:
        recent.append(trainer.step())
        if rank == 0 and len(recent) == REPORT_EVERY:
            reports.put(_mean(recent))
            recent.clear()
        if rank == 0 and time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
            trainer.save()
            saved_at = time.monotonic()
    if rank == 0:
        trainer.save()
    dist.destroy_process_group()


class _Trainer:
    """One process's copy of the network, and where it is in the schedule."""

    def __init__(self, recipe: Recipe, rank: int) -> None:
        self._recipe, self._rank = recipe, rank
        self._began = time.monotonic()
        self._vocabulary = Vocabulary()
        self._model = build(self._vocabulary)
        self._output = encoder_output(self._vocabulary)
        fast = [*self._model.encoder.parameters(), *self._output.parameters()]
        slow = list(self._model.decoder.parameters())
        self._parameters: list[Tensor] = [*fast, *slow]
        groups = [{"params": fast, "factor": ENCODER_FACTOR}, {"params": slow, "factor": 1.0}]
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
        self._gains = START_GAINS
        self._by_shifts, self._as_int8 = True, False
        self._steps = 0
        self._stage: Stage | None = None
        self._batches: Iterator[Batch] = iter(())
        self.share = 0.0  # of the schedule, the same in all processes

    def step(self) -> Progress:
        """Learn from one batch."""
        self._enter_stage()
        self._set_learning_rate()
        batch = next(self._batches)
        self._change_ways(batch)
        parts = losses(
            self._model,
            self._output,
            batch,
            self._vocabulary,
            guided=self._is_guided(),
            by_shifts=self._by_shifts,
        )
        self._optimizer.zero_grad()
        torch.autograd.backward(self._total(parts))
        self._agree()
        length = nn.utils.clip_grad_norm_(self._parameters, LONGEST_GRADIENT)
        if torch.isfinite(length):
            self._optimizer.step()
            hold_reserved(self._model, self._gains)
        self._steps += 1
        return self._progress(parts)

    def save(self) -> None:
        """Write the checkpoint of a model as trained up to now."""
        model = self._model
        if self._by_shifts:
            model = copy.deepcopy(model)
            batch = next(self._batches)
            _write_out(model, batch.mel, batch.offset)
        export.save(model, self._vocabulary, self._recipe.out)

    def _enter_stage(self) -> None:
        """Start the batches of the stage that the share is in."""
        edges = list(accumulate(stage.share for stage in STAGES))
        number = min(bisect_right(edges, self.share), len(STAGES) - 1)
        if STAGES[number] is not self._stage:
            self._stage = STAGES[number]
            seed = SEED + _STAGE_SEED * number + _PROCESS_SEED * self._rank
            part = self._recipe.pool / "train"
            self._batches = iter(Windows(part, self._stage, seed, self._vocabulary))

    def _set_learning_rate(self) -> None:
        warm = min(1.0, (self._steps + 1) / WARM_UP_STEPS)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, self.share)))
        rate = LEARNING_RATE * warm * (LAST_LEARNING_RATE + (1 - LAST_LEARNING_RATE) * fall)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["factor"]

    def _change_ways(self, batch: Batch) -> None:
        """Round as int8 would, and attend instead of shifting, when it is time."""
        if not self._as_int8 and self.share >= INT8_FROM:
            self._as_int8 = True
            imitate_int8(self._model)
        if self._by_shifts and self.share >= ATTENTION_FROM:
            self._by_shifts = False
            # All processes must write the same weights: from the first one's sound.
            mel, offset = batch.mel.clone(), batch.offset.clone()
            dist.broadcast(mel, 0)
            dist.broadcast(offset, 0)
            self._gains = _write_out(self._model, mel, offset)

    def _is_guided(self) -> bool:
        seldom = self.share < SELDOM_GUIDED_UNTIL and self._steps % SELDOM == 0
        return self.share < GUIDED_UNTIL or seldom

    def _total(self, parts: Losses) -> Tensor:
        frames = 1.0 if self.share < STRONG_FRAMES_UNTIL else 0.3
        total = parts.decoder + 0.15 * parts.ctc + frames * parts.frame
        if parts.guide is not None:
            total = total + (0.3 if self.share < STRONG_GUIDE_UNTIL else 0.2) * parts.guide
        return total

    def _agree(self) -> None:
        """Average the gradients, and the share of the schedule, over the processes."""
        share = (time.monotonic() - self._began) / 60 / self._recipe.minutes
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        flat = torch.cat([*(part.flatten() for part in parts), torch.tensor([share])])
        dist.all_reduce(flat)
        flat /= self._recipe.processes
        sizes = [p.numel() for p in self._parameters]
        for parameter, part in zip(
            self._parameters, flat[:-1].split_with_sizes(sizes), strict=True
        ):
            if parameter.grad is not None:
                parameter.grad.copy_(part.view_as(parameter))
        self.share = flat[-1].item()

    def _progress(self, parts: Losses) -> Progress:
        return Progress(
            minutes=(time.monotonic() - self._began) / 60,
            step=self._steps,
            text=parts.text.item(),
            stamp=parts.stamp.item(),
            accuracy=parts.accuracy.item(),
            frame=parts.frame.item(),
            ctc=parts.ctc.item(),
        )


def _write_out(model: Whisper, mel: Tensor, offset: Tensor) -> tuple[float, ...]:
    """Turn shifts into attention, by the spread of one batch's states; returns the new gains."""
    with torch.no_grad():
        inputs = encode(model, mel, offset, by_shifts=True).inputs
    return write_out(model, inputs)


def _mean(reports: list[Progress]) -> Progress:
    """The last report, with the means of all as its losses."""
    names = ("text", "stamp", "accuracy", "frame", "ctc")
    means = {n: sum(getattr(report, n) for report in reports) / len(reports) for n in names}
    return replace(reports[-1], **means)
