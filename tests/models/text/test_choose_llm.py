from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.llms import LLMS, find_llm
from models.memory import Gpu, Machine
from models.text import gguf
from models.text.choose_llm import (
    GIB,
    LEAST_TOKENS,
    LlmWanted,
    choices,
    choose,
    memory_bytes,
    of_own,
    of_spec,
    step_down,
)
from pipeline.errors import BadOption, ModelUnavailable, OutOfMemory


def gpu(gib, index=0, kind="cuda"):
    return Gpu(index, "A GPU", int(gib * GIB), int(gib * GIB), (8, 0), kind)


def machine(ram_gib, *gpus):
    ram = int(ram_gib * GIB)
    return Machine(ram, ram, "MemAvailable of this machine", gpus, cpu_int8=True)


def files_of(*names, here=()):
    return tuple(
        of_spec(spec, file, here.get(file.file_name) if here else None)
        for spec in map(find_llm, names or [spec.name for spec in LLMS])
        for file in spec.gguf_files
    )


def named(name, tokens=8192, device="auto", here=()):
    return LlmWanted(files_of(name, here=here), is_named=True, context_tokens=tokens, device=device)


ANY = LlmWanted(files_of(), is_named=False)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (machine(64, gpu(80)), ("mistral-small-3.2-24b", "q4_k_m", "cuda:0")),
        (machine(64, gpu(24)), ("mistral-small-3.2-24b", "q4_k_m", "cuda:0")),
        (machine(64, gpu(12)), ("qwen2.5-7b", "q8_0", "cuda:0")),
        (machine(64, gpu(8)), ("qwen2.5-7b", "q4_k_m", "cuda:0")),
        (machine(64, gpu(5.5)), ("qwen3-4b", "q4_k_m", "cuda:0")),
        (machine(64), ("qwen3-4b", "q4_k_m", "cpu")),
        (machine(16), ("qwen3-4b", "q4_k_m", "cpu")),
        (machine(4), ("qwen2.5-1.5b", "q4_k_m", "cpu")),
        (machine(64, gpu(4), gpu(12, 1)), ("qwen2.5-7b", "q8_0", "cuda:1")),
        (machine(16, gpu(12, kind="mps")), ("qwen2.5-7b", "q8_0", "mps")),
    ],
)
def test_the_largest_free_model_that_answers_quickly_is_taken(where, expected):
    choice = choose(where, ANY)
    assert (choice.file.name, choice.file.quantisation, choice.device) == expected
    assert choice.context_tokens == 8192
    assert choice.reason.startswith(", ".join(expected[:2]) + f", on {expected[2]}: ")


@given(st.floats(0.5, 200), st.lists(st.floats(0.1, 100), max_size=2), st.integers(1024, 300_000))
def test_whatever_is_chosen_fits(ram, gpus, tokens):
    where = machine(ram, *(gpu(gib, index) for index, gib in enumerate(gpus)))
    wanted = replace(ANY, context_tokens=tokens)
    for wish in (wanted, named("qwen3-4b", tokens), named("llama-3.3-70b", tokens)):
        for choice in choices(where, wish):
            free = [each.free_bytes for each in where.gpus if each.device == choice.device]
            assert choice.need_bytes <= (free or [where.ram_free_bytes])[0]
            assert choice.context_tokens <= min(tokens, choice.file.trained_tokens)
            assert choice.context_tokens >= min(tokens, LEAST_TOKENS)
            assert (choice.gpu_layers > 0) == (choice.device != "cpu")
            if 0 < choice.gpu_layers <= choice.file.layers:
                rest = memory_bytes(choice.file, choice.context_tokens, choice.gpu_layers, "cpu")
                assert rest <= where.ram_free_bytes


def test_only_models_without_conditions_of_use_are_taken_unasked():
    licences = {choice.file.licence for choice in choices(machine(500, gpu(80)), ANY)}
    assert licences == {"apache-2.0"}


def test_a_named_model_that_fits_a_gpu_in_part_uses_it_in_part():
    choice = choose(machine(64, gpu(8)), named("llama-3.1-8b", 32_768))
    assert 8 <= choice.gpu_layers < 32
    assert f"{choice.gpu_layers} of 32 layers" in choice.reason
    more = memory_bytes(choice.file, 32_768, choice.gpu_layers + 1, "gpu")
    assert choice.need_bytes < 8 * GIB * 0.92 < more


def test_a_cpu_is_taken_where_a_gpu_has_room_for_hardly_anything():
    assert choose(machine(64, gpu(1.5)), named("llama-3.1-8b")).device == "cpu"


def test_a_shorter_context_is_taken_before_a_model_does_not_fit():
    full = memory_bytes(named("qwen3-4b").files[0], 32_768, 0, "cpu") / GIB
    choice = choose(machine(full), named("qwen3-4b", 32_768))
    assert choice.context_tokens == 16_384


def test_a_file_that_is_here_is_taken_before_one_that_must_be_fetched(tmp_path):
    [small, _] = find_llm("qwen3-4b").gguf_files
    wanted = named("qwen3-4b", here={small.file_name: tmp_path})
    assert choose(machine(64, gpu(24)), wanted).file.quantisation == "q4_k_m"
    assert choose(machine(64, gpu(24)), named("qwen3-4b")).file.quantisation == "q8_0"


def test_a_model_of_ones_own_is_chosen_by_its_head(tiny):
    own = of_own(gguf.read(tiny))
    choice = choose(machine(1), LlmWanted((own,), is_named=True, context_tokens=9999))
    assert choice.file.name == "tiny.gguf"
    assert choice.context_tokens == 2048


def test_what_does_not_fit_is_told_with_what_would():
    busy = replace(machine(8), ram_total_bytes=64 * GIB)
    with pytest.raises(OutOfMemory, match=r"llama-3.3-70b does not fit.*4\d.\d GiB.*8.0 GiB are"):
        choose(busy, named("llama-3.3-70b"))
    with pytest.raises(OutOfMemory, match="--llm none"):
        choose(replace(machine(0.3), ram_total_bytes=64 * GIB), ANY)


def test_what_would_not_fit_if_all_memory_were_free_is_not_waited_for():
    with pytest.raises(ModelUnavailable, match=r"llama-3.3-70b does not fit.*4\d.\d GiB"):
        choose(machine(8), named("llama-3.3-70b"))


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(BadOption, match=f"no device {device} .*: there is no GPU"):
        choices(machine(64), named("qwen3-4b", device=device))


def test_a_device_that_is_named_is_kept():
    both = machine(64, gpu(24), gpu(24, 1))
    assert {each.device for each in choices(both, named("qwen3-4b", device="cuda:1"))} == {"cuda:1"}
    assert {each.device for each in choices(both, named("qwen3-4b", device="cpu"))} == {"cpu"}


@given(st.floats(0.5, 200), st.lists(st.floats(0.1, 100), max_size=2))
def test_each_step_down_needs_less_and_there_is_an_end(ram, gpus):
    where = machine(ram, *(gpu(gib, index) for index, gib in enumerate(gpus)))
    for wanted in (ANY, named("llama-3.1-8b", 32_768)):
        fitting = choices(where, wanted)
        choice = fitting[0] if fitting else None
        while choice is not None:
            below = step_down(fitting, choice)
            if below is not None and below.device == choice.device:
                assert below.need_bytes < choice.need_bytes
            assert below is None or below.device in (choice.device, "cpu")
            choice = below


@pytest.mark.parametrize("spec", LLMS, ids=lambda spec: spec.name)
def test_the_need_agrees_with_the_rule_of_thumb(spec):
    from models.llms import needed_bytes

    file = of_spec(spec, spec.gguf_files[0], None)
    rule = needed_bytes(spec.parameters, spec.gguf_files[0].bits)
    need = memory_bytes(file, LEAST_TOKENS, 0, "cpu")
    assert 0.8 * rule < need < 1.2 * rule + GIB
