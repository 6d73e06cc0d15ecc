"""Which Whisper for which machine: properties, and thirty machines that people have."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.choose import GIB, Wanted, choices, choose, ladder, step_down
from models.memory import Gpu, Machine
from models.needs import needed
from models.registry import WHISPERS, find
from pipeline.errors import BadOption, OutOfMemory


def machine(ram_gib, *gpus, cpu_int8=True):
    """Free RAM, and (free GiB, compute capability) of each GPU; "mps" is an Apple's."""
    found = tuple(
        Gpu(index, "a GPU", round(gib * GIB), round(gib * GIB), None, "mps")
        if capability == "mps"
        else Gpu(index, "a GPU", round(gib * GIB), round(gib * GIB), capability)
        for index, (gib, capability) in enumerate(gpus)
    )
    ram_bytes = round(ram_gib * GIB)
    return Machine(ram_bytes, ram_bytes, "MemAvailable of this machine", found, cpu_int8)


gib = st.floats(0.0, 160.0)
capabilities = st.sampled_from([(3, 5), (6, 1), (7, 0), (7, 5), (8, 6), (9, 0), "mps"])
machines = st.builds(
    lambda ram, gpus, cpu_int8: machine(ram, *gpus, cpu_int8=cpu_int8),
    st.one_of(gib, st.floats(0.0, 4.0)),
    st.lists(st.tuples(st.one_of(gib, st.floats(0.0, 12.0)), capabilities), max_size=3),
    st.booleans(),
)
wishes = st.sampled_from(["fast", "balanced", "best"])
wants = st.builds(
    Wanted,
    language=st.sampled_from([None, "en", "de", "zh", "yue"]),
    task=st.sampled_from(["transcribe", "translate"]),
    wish=wishes,
)


def free_bytes(machine, device):
    if device == "cpu":
        return machine.ram_free_bytes
    return max(gpu.free_bytes for gpu in machine.gpus if gpu.device == device)


def kind_of(machine, device):
    return next((gpu.kind for gpu in machine.gpus if gpu.device == device), "cpu")


def is_old(machine, device):
    found = [gpu for gpu in machine.gpus if gpu.device == device and gpu.kind == "cuda"]
    return bool(found) and found[0].capability < (7, 0)


@given(machines, wants)
def test_every_choice_fits_and_can_do_what_is_wanted(machine, wanted):
    for choice in choices(machine, wanted):
        need = needed(
            choice.spec.dimensions,
            choice.quantisation,
            kind_of(machine, choice.device),
            choice.batch_size,
            fast_float16=not is_old(machine, choice.device),
            int8_kernels=machine.cpu_int8,
        )
        assert choice.need_bytes == need.total_bytes
        assert choice.need_bytes <= choice.free_bytes == free_bytes(machine, choice.device)
        assert wanted.language is None or wanted.language in choice.spec.languages
        assert wanted.task == "transcribe" or choice.spec.can_translate
        assert choice.spec.name != "demo"


def is_last_resort(choice):
    return choice.device == "cpu" and choice.quantisation == "int4"


@given(machines, wants)
def test_on_a_cpu_four_bits_are_taken_only_where_nothing_else_fits(machine, wanted):
    found = choices(machine, replace(wanted, device="cpu", quantisation="auto"))
    tail = [is_last_resort(choice) for choice in found]
    assert tail == sorted(tail)


@given(machines, wants)
def test_no_smaller_model_is_taken_where_a_larger_one_fits(machine, wanted):
    found = choices(machine, wanted)
    if not found:
        return
    chosen = found[0]
    wanted_sizes = [spec.name for spec in ladder(wanted)]
    larger = wanted_sizes[: wanted_sizes.index(chosen.spec.name)]
    fitting = {
        choice.spec.name
        for choice in found
        if choice.device == chosen.device and not is_last_resort(choice)
    }
    assert not fitting & set(larger)


@pytest.mark.parametrize("name", [spec.name for spec in WHISPERS])
def test_every_size_runs_in_int8_on_a_cpu_that_has_kernels_for_it(name):
    wanted = Wanted(model=find(name))
    assert choose(machine(64), wanted).quantisation == "int8"
    assert choose(machine(64, cpu_int8=False), wanted).quantisation == "float32"


@given(machines, wants)
def test_of_several_gpus_only_the_freest_is_taken(machine, wanted):
    for choice in choices(machine, wanted):
        if choice.device != "cpu":
            assert choice.free_bytes == max(gpu.free_bytes for gpu in machine.gpus)


@given(machines, wants, st.floats(1.0, 10.0))
def test_more_memory_of_one_kind_never_gives_a_smaller_model(machine, wanted, factor):
    only_ram = replace(machine, gpus=())
    more = replace(only_ram, ram_free_bytes=round(machine.ram_free_bytes * factor))
    sizes = [spec.name for spec in ladder(wanted)]
    before, after = choices(only_ram, wanted), choices(more, wanted)
    if before:
        assert sizes.index(after[0].spec.name) <= sizes.index(before[0].spec.name)


@given(machines, wants)
def test_stepping_down_ends_and_each_step_needs_less_or_leaves_the_gpu(machine, wanted):
    found = choices(machine, wanted)
    if not found:
        return
    choice, steps = found[0], [found[0]]
    while (lower := step_down(machine, wanted, choice)) is not None:
        if lower.device == choice.device:
            assert lower.need_bytes < choice.need_bytes
        else:
            assert (choice.device, lower.device) != ("cpu", choice.device)
            assert lower.device == "cpu"
        assert "out of memory with" in lower.reason
        choice = lower
        steps.append(choice)
    assert len(
        {(one.spec.name, one.quantisation, one.device, one.batch_size) for one in steps}
    ) == len(steps)


def test_steps_save_in_the_batch_then_in_precision_then_in_size_then_leave_the_gpu():
    here = machine(64, (24, (8, 6)))
    wanted = Wanted("de")
    choice = choose(here, wanted)
    steps = [choice]
    while (choice := step_down(here, wanted, choice)) is not None:
        steps.append(choice)
    first = [one for one in steps if one.spec == steps[0].spec and one.quantisation == "float16"]
    assert steps[: len(first)] == first
    assert [one.batch_size for one in first] == sorted(
        (one.batch_size for one in first), reverse=True
    )
    devices = [one.device for one in steps]
    assert devices == sorted(devices, key=lambda device: device == "cpu")
    on_gpu = [one for one in steps if one.device != "cpu"]
    assert {one.quantisation for one in on_gpu if one.spec == on_gpu[0].spec} == {
        "float16",
        "int8",
        "int4",
    }
    assert len({one.spec.name for one in on_gpu}) > 1


def test_a_model_that_was_named_is_never_exchanged_for_another():
    here, wanted = machine(64, (24, (8, 6))), Wanted("de", model=find("medium"))
    assert {choice.spec.name for choice in choices(here, wanted)} == {"medium"}
    assert choose(here, wanted).reason.endswith("it was asked for by name")


def test_precision_batch_and_device_are_kept_when_they_are_settled():
    here = machine(64, (24, (8, 6)), (20, (8, 6)))
    wanted = Wanted("de", quantisation="float32", device="cuda:1", batch_size=3)
    for choice in choices(here, wanted):
        assert (choice.quantisation, choice.device, choice.batch_size) == ("float32", "cuda:1", 3)
    assert choose(here, replace(wanted, device="cuda")).device == "cuda:0"


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(BadOption, match="no device cuda:7 .* one of: cpu, cuda:0"):
        choose(machine(8, (4, (8, 6))), Wanted(device="cuda:7"))


@pytest.mark.parametrize("name", ["turbo", "small.en", "demo"])
def test_what_cannot_translate_is_refused_for_it(name):
    with pytest.raises(BadOption, match=f"{name} cannot translate"):
        choose(machine(64), Wanted(model=find(name), task="translate"))


def test_a_language_that_the_named_model_does_not_know_is_refused():
    with pytest.raises(BadOption, match="'yue', but only: en, zh"):
        choose(machine(64), Wanted("yue", model=find("large-v2")))


def test_only_models_with_cantonese_are_taken_for_it():
    assert [spec.name for spec in ladder(Wanted("yue"))] == ["large-v3", "large-v3-turbo"]


def test_where_nothing_fits_the_numbers_are_said():
    pattern = r"tiny does not fit: it needs \d\.\d GiB on the CPU, where 0\.1 GiB are free"
    with pytest.raises(OutOfMemory, match=pattern):
        choose(machine(0.1), Wanted("de"))
    with pytest.raises(OutOfMemory, match=r"on GPU 0, where 0\.2 GiB are free and .* on the CPU"):
        choose(machine(0.1, (0.2, (8, 6))), Wanted("de"))


def test_the_reason_names_what_was_passed_over():
    reason = choose(machine(32, (2.2, (8, 6))), Wanted("de")).reason
    pattern = (
        r"(.+), (\w+), batch (\d+) on GPU 0: needs (.+) of 2\.2 GiB free; (.+) would need (.+)"
    )
    found = re.fullmatch(pattern, reason)
    assert found
    assert float(found[4]) <= 2.2 < float(found[6])


def test_among_models_at_hand_the_wished_one_is_taken_then_the_largest():
    here = machine(64)
    assert choose(here, Wanted("en", among=("tiny", "small"))).spec.name == "small"
    assert choose(here, Wanted("en", among=("tiny", "medium"))).spec.name == "medium"
    assert (
        choose(here, Wanted(among=("tiny", "medium", "large-v3-turbo.en"[:14]))).spec.name != "demo"
    )
    with pytest.raises(OutOfMemory, match=r"None of the models on this machine \(small\.en\)"):
        choose(here, Wanted("de", among=("small.en",)))


def test_every_published_model_can_be_named_on_a_large_machine():
    for spec in WHISPERS:
        assert choose(machine(139, (139, (9, 0))), Wanted(model=spec)).spec == spec


# Name, free GiB of RAM, of each GPU with its compute capability, int8 kernels on the CPU, what is
# wanted, what is taken.
MACHINES = [
    ("Raspberry Pi 3, 1 GB", 0.7, [], False, "en transcribe balanced", "nothing fits"),
    ("Raspberry Pi 4, 2 GB", 1.5, [], False, "en transcribe balanced", "small int8 cpu 1"),
    ("Raspberry Pi 4, 4 GB", 3.2, [], False, "de transcribe balanced", "large-v3-turbo int8 cpu 8"),
    ("Raspberry Pi 5, 8 GB", 7.0, [], False, "en transcribe balanced", "small float32 cpu 8"),
    ("virtual server, 2 GB", 1.6, [], True, "en transcribe balanced", "small int8 cpu 8"),
    ("virtual server, 4 GB", 3.4, [], True, "de transcribe balanced", "large-v3-turbo int8 cpu 8"),
    ("container limited to 3 GiB", 2.9, [], True, "en transcribe balanced", "small int8 cpu 8"),
    ("NAS, 8 GB", 6.0, [], False, "fr transcribe balanced", "large-v3 int8 cpu 2"),
    (
        "old laptop, 8 GB, browser open",
        3.0,
        [],
        False,
        "en transcribe balanced",
        "small float32 cpu 4",
    ),
    ("laptop, 16 GB", 11.0, [], True, "en transcribe balanced", "small int8 cpu 8"),
    ("laptop, 16 GB", 11.0, [], True, "de transcribe balanced", "large-v3 int8 cpu 8"),
    ("laptop, 16 GB, in a hurry", 11.0, [], True, "de transcribe fast", "small int8 cpu 8"),
    (
        "laptop, 16 GB, English at its best",
        11.0,
        [],
        True,
        "en transcribe best",
        "large-v3 int8 cpu 8",
    ),
    ("desktop, 32 GB", 27.0, [], True, "zh transcribe balanced", "large-v3 int8 cpu 8"),
    (
        "desktop, 32 GB, into English",
        27.0,
        [],
        True,
        "zh translate balanced",
        "large-v3 int8 cpu 8",
    ),
    ("server, 128 GB", 120.0, [], True, "? transcribe balanced", "small int8 cpu 8"),
    (
        "GTX 750 Ti, 2 GB",
        12.0,
        [(1.8, (5, 0))],
        False,
        "en transcribe balanced",
        "small int8 cuda:0 2",
    ),
    (
        "GTX 1060, 6 GB",
        12.0,
        [(5.5, (6, 1))],
        True,
        "en transcribe balanced",
        "small float32 cuda:0 16",
    ),
    (
        "GTX 1060, 6 GB",
        12.0,
        [(5.5, (6, 1))],
        True,
        "de transcribe balanced",
        "large-v3 int8 cuda:0 2",
    ),
    (
        "GTX 1650, 4 GB",
        12.0,
        [(3.6, (7, 5))],
        True,
        "de transcribe balanced",
        "large-v3 int8 cuda:0 1",
    ),
    (
        "MX450, 2 GB, desktop on it",
        12.0,
        [(1.2, (7, 5))],
        True,
        "en transcribe balanced",
        "small int4 cuda:0 1",
    ),
    (
        "RTX 3050 laptop, 4 GB",
        12.0,
        [(3.7, (8, 6))],
        True,
        "en transcribe balanced",
        "small float16 cuda:0 24",
    ),
    (
        "RTX 2060, 6 GB",
        12.0,
        [(5.6, (7, 5))],
        True,
        "ja transcribe balanced",
        "large-v3 int8 cuda:0 6",
    ),
    (
        "RTX 3060, 12 GB",
        27.0,
        [(11.5, (8, 6))],
        True,
        "ja transcribe balanced",
        "large-v3 float16 cuda:0 16",
    ),
    (
        "RTX 3060, 12 GB, a game running",
        27.0,
        [(4.0, (8, 6))],
        True,
        "ja translate balanced",
        "large-v3 int4 cuda:0 4",
    ),
    (
        "RTX 3060, 12 GB, an LLM in it",
        27.0,
        [(0.4, (8, 6))],
        True,
        "en transcribe balanced",
        "small int8 cpu 8",
    ),
    (
        "RTX 4070 and RTX 3060",
        54.0,
        [(3.0, (8, 9)), (11.4, (8, 6))],
        True,
        "de transcribe balanced",
        "large-v3 float16 cuda:1 16",
    ),
    (
        "RTX 4090, 24 GB",
        54.0,
        [(23.0, (8, 9))],
        True,
        "de transcribe best",
        "large-v3 float16 cuda:0 48",
    ),
    (
        "MacBook M1, 8 GB",
        3.5,
        [(3.0, "mps")],
        False,
        "en transcribe balanced",
        "small float16 mps 8",
    ),
    (
        "Mac Studio, 64 GB",
        50.0,
        [(44.0, "mps")],
        False,
        "de transcribe balanced",
        "large-v3 float16 mps 8",
    ),
    (
        "A100 cut by MIG, 10 GB",
        100.0,
        [(9.5, (8, 0))],
        True,
        "yue transcribe balanced",
        "large-v3 float16 cuda:0 12",
    ),
    (
        "A100, 80 GB, in a hurry",
        250.0,
        [(78.0, (8, 0))],
        True,
        "en transcribe fast",
        "base.en float16 cuda:0 128",
    ),
    (
        "H200, 139 GiB",
        1000.0,
        [(139.0, (9, 0))],
        True,
        "de transcribe balanced",
        "large-v3 float16 cuda:0 128",
    ),
]


@pytest.mark.parametrize(
    ("name", "ram", "gpus", "cpu_int8", "wish", "taken"),
    MACHINES,
    ids=[f"{m[0]}: {m[4]}" for m in MACHINES],
)
def test_each_machine_gets_its_model(name, ram, gpus, cpu_int8, wish, taken):
    language, task, wished = wish.split()
    wanted = Wanted(None if language == "?" else language, task, wished)
    try:
        choice = choose(machine(ram, *gpus, cpu_int8=cpu_int8), wanted)
    except OutOfMemory:
        assert taken == "nothing fits"
        return
    found = (choice.spec.name, choice.quantisation, choice.device, str(choice.batch_size))
    assert " ".join(found) == taken


# Free GiB of a GPU; what is taken on it of each model, for windows at once.
WINDOWS_AT_ONCE = [
    (1.8, "float16 48", "float16 4", "int4 4", None),
    (3.7, "float16 128", "float16 24", "float16 12", "int8 2"),
    (7.5, "float16 128", "float16 64", "float16 64", "float16 6"),
    (11.5, "float16 128", "float16 96", "float16 128", "float16 16"),
    (23.3, "float16 128", "float16 128", "float16 128", "float16 48"),
    (79.0, "float16 128", "float16 128", "float16 128", "float16 128"),
]


@pytest.mark.parametrize(("free_gib", "tiny", "small", "turbo", "large"), WINDOWS_AT_ONCE)
def test_a_gpu_hears_as_many_windows_at_once_as_it_has_room_for(
    free_gib, tiny, small, turbo, large
):
    taken = {"tiny": tiny, "small": small, "large-v3-turbo": turbo, "large-v3": large}
    for name, wish in taken.items():
        wanted = Wanted("de", model=find(name), device="cuda")
        fitting = choices(machine(64, (free_gib, (8, 6))), wanted)
        found = [f"{one.quantisation} {one.batch_size}" for one in fitting]
        assert (found or [None])[0] == wish


@given(gib, st.floats(1.0, 4.0), st.sampled_from(["tiny", "small", "large-v3-turbo", "large-v3"]))
def test_a_larger_gpu_never_hears_fewer_windows_at_once(free_gib, factor, name):
    wanted = Wanted("de", model=find(name), quantisation="float16", device="cuda")
    fewer, more = (
        [one.batch_size for one in choices(machine(64, (free, (8, 6))), wanted)]
        for free in (free_gib, free_gib * factor)
    )
    assert fewer == more[len(more) - len(fewer) :]
