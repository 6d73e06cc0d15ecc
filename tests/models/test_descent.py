"""Stepping down, with a builder that has only so much memory."""

from __future__ import annotations

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from models.choose import GIB, Wanted, choose
from models.descent import Descent
from models.engines.loaded import made_ready, release
from models.memory import Gpu, Machine
from models.registry import find
from pipeline.errors import ModelUnavailable, OutOfMemory
from pipeline.types import EngineDescription

MACHINE = Machine(
    64 * GIB,
    64 * GIB,
    "MemAvailable of this machine",
    (Gpu(0, "a GPU", 24 * GIB, 24 * GIB, (8, 6)),),
    cpu_int8=True,
)


def tiny_whisper():
    return Whisper(ModelDimensions(80, 16, 64, 1, 1, 128, 16, 64, 1, 1))


class Builder:
    """Builds what fits into `memory_bytes`, whatever anybody promised to be free."""

    def __init__(self, memory_bytes, missing=()):
        self.memory_bytes = memory_bytes
        self.missing = missing
        self.tried = []
        self.notes = []

    def build(self, choice):
        self.tried.append(choice)
        if choice.spec.name in self.missing:
            raise ModelUnavailable(f"{choice.spec.name} is not here")
        if choice.need_bytes > self.memory_bytes:
            raise torch.OutOfMemoryError("CUDA out of memory")
        description = EngineDescription(
            choice.spec.name,
            choice.quantisation,
            choice.device,
            ("de",),
            can_translate=True,
            reason=choice.reason,
        )
        return made_ready(tiny_whisper(), description, choice.batch_size)

    def here(self):
        return tuple(name for name in ("tiny", "small") if name not in self.missing)

    def descent(self, wanted):
        choice = choose(MACHINE, wanted)
        return Descent(MACHINE, wanted, choice, self.build, self.here, self.notes.append)


def test_what_fits_is_loaded_as_chosen():
    builder = Builder(64 * GIB)
    loaded = builder.descent(Wanted("de")).load()
    assert [choice.spec.name for choice in builder.tried] == [loaded.description.model]
    assert builder.notes == []


def test_a_lack_of_memory_while_loading_leads_down_to_what_fits():
    builder = Builder(3 * GIB)
    loaded = builder.descent(Wanted("de")).load()
    assert builder.tried[-1].need_bytes <= 3 * GIB
    assert all(choice.need_bytes > 3 * GIB for choice in builder.tried[:-1])
    assert loaded.description.reason == builder.notes[-1]
    assert "out of memory with" in loaded.description.reason


def test_a_smaller_batch_keeps_the_model():
    descent = Builder(64 * GIB).descent(Wanted("de"))
    loaded = descent.load()
    before = loaded.batch_size
    relieved = descent.relieve(loaded)
    assert relieved.model is loaded.model
    assert relieved.batch_size < before
    assert relieved.description.reason.startswith("out of memory with")


def test_the_old_models_memory_is_back_before_another_is_loaded():
    builder = Builder(64 * GIB)
    descent = builder.descent(Wanted("de", batch_size=1))
    loaded = descent.load()
    sizes = []
    build, builder.build = builder.build, None
    descent._build = lambda choice: (
        sizes.append(loaded.model.encoder.conv1.weight.numel()),
        build(choice),
    )[1]
    relieved = descent.relieve(loaded)
    assert sizes == [0]
    assert relieved.model is not loaded.model


def test_going_down_ends_with_the_numbers():
    descent = Builder(64 * GIB).descent(Wanted("de"))
    seen = []

    def go_down():
        loaded = descent.load()
        while True:
            seen.append((loaded.description, loaded.batch_size))
            loaded = descent.relieve(loaded)

    with pytest.raises(OutOfMemory, match=r"is left than tiny, \w+, batch 1, .* \d\.\d GiB"):
        go_down()
    assert len(seen) == len(set(seen))
    assert seen[-1][0].device == "cpu"


def test_a_named_model_that_does_not_fit_at_all_says_so():
    with pytest.raises(OutOfMemory, match="nothing smaller is left than medium, int4, batch 1"):
        Builder(0).descent(Wanted("de", model=find("medium"))).load()


def test_a_smaller_model_that_cannot_be_fetched_is_passed_by_for_one_that_is_here():
    builder = Builder(1.5 * GIB, missing=("large-v3-turbo", "medium"))
    loaded = builder.descent(Wanted("de")).load()
    assert loaded.description.model in {"small", "tiny"}
    assert [note for note in builder.notes if "not here" in note] == ["large-v3-turbo is not here"]


def test_other_errors_pass_as_they_are():
    descent = Builder(64 * GIB).descent(Wanted("de"))

    def broken(_):
        raise RuntimeError("a bug")

    descent._build = broken
    with pytest.raises(RuntimeError, match="a bug"):
        descent.load()


def test_release_empties_a_model_that_somebody_still_holds():
    description = EngineDescription("any", "float32", "cpu", ("de",), can_translate=True, reason="")
    loaded = made_ready(tiny_whisper(), description, batch_size=2)
    model = loaded.model
    release(loaded)
    assert sum(parameter.numel() for parameter in model.parameters()) == 0
    release(loaded)  # there is nothing left to give back
