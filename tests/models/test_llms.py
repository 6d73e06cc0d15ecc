from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.llms import LLMS, find_llm, needed_bytes
from pipeline.errors import BadOption

GB = 10**9
BILLION = 10**9
FILES = [(spec, file) for spec in LLMS for file in spec.gguf_files]
by_file = pytest.mark.parametrize(
    ("spec", "file"), FILES, ids=[file.file_name for _, file in FILES]
)


@pytest.mark.parametrize(
    ("billions", "bits", "gigabytes"), [(7, 4, 4.2), (7, 16, 16.8), (70, 8, 84), (70, 4, 42)]
)
def test_the_rule_of_thumb_gives_its_published_numbers(billions, bits, gigabytes):
    assert needed_bytes(billions * BILLION, bits) == round(gigabytes * GB)


@given(st.integers(1, 10**12), st.floats(0.5, 32))
def test_a_model_needs_more_than_its_weights_and_less_than_a_quarter_more(parameters, bits):
    weights = parameters * bits / 8
    assert weights - 1 <= needed_bytes(parameters, bits) <= 1.25 * weights + 1


def test_rows_are_sorted_by_size_from_half_a_billion_to_seventy():
    sizes = [spec.parameters for spec in LLMS]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.6 * BILLION
    assert sizes[-1] > 70 * BILLION
    assert len({spec.name for spec in LLMS}) == len(LLMS)


@pytest.mark.parametrize("spec", LLMS, ids=lambda spec: spec.name)
def test_a_name_says_the_size(spec):
    said = float(re.search(r"([0-9.]+)b$", spec.name)[1]) * BILLION
    assert abs(spec.parameters - said) < 0.1 * said


# Vocabulary, width, layers, heads, key heads, head size, inner width, tied embedding, biases on
# queries, keys and values, norms on queries and keys, norms in a layer; from each config.json.
SHAPES = {
    "qwen2.5-0.5b": (151936, 896, 24, 14, 2, 64, 4864, True, True, False, 2),
    "qwen2.5-1.5b": (151936, 1536, 28, 12, 2, 128, 8960, True, True, False, 2),
    "llama-3.2-3b": (128256, 3072, 28, 24, 8, 128, 8192, True, False, False, 2),
    "qwen3-4b": (151936, 2560, 36, 32, 8, 128, 9728, True, False, True, 2),
    "qwen2.5-7b": (152064, 3584, 28, 28, 4, 128, 18944, False, True, False, 2),
    "llama-3.1-8b": (128256, 4096, 32, 32, 8, 128, 14336, False, False, False, 2),
    "gemma-3-12b": (262144, 3840, 48, 16, 8, 256, 15360, True, False, True, 4),
    "mistral-small-3.2-24b": (131072, 5120, 40, 32, 8, 128, 32768, False, False, False, 2),
    "qwen2.5-32b": (152064, 5120, 64, 40, 8, 128, 27648, False, True, False, 2),
    "llama-3.3-70b": (128256, 8192, 80, 64, 8, 128, 28672, False, False, False, 2),
}


@pytest.mark.parametrize("spec", LLMS, ids=lambda spec: spec.name)
def test_parameters_are_those_of_the_published_dimensions(spec):
    vocabulary, d, layers, heads, keys, size, inner, tied, bias, head_norms, norms = SHAPES[
        spec.name
    ]
    queries_keys_values = (heads + 2 * keys) * size
    layer = (d + bias) * queries_keys_values + heads * size * d + 3 * d * inner + norms * d
    layer += 2 * size * head_norms
    assert spec.parameters == vocabulary * d * (1 if tied else 2) + layers * layer + d


@pytest.mark.parametrize("spec", LLMS, ids=lambda spec: spec.name)
def test_the_shape_is_the_published_one(spec):
    vocabulary, d, layers, _, keys, size, *_ = SHAPES[spec.name]
    shape = (spec.layers, spec.width, spec.key_width, spec.vocabulary)
    assert shape == (layers, d, keys * size, vocabulary)


@by_file
def test_bits_are_what_the_quantisation_says_and_a_little_more(spec, file):
    promised = {"q4_k_m": 4.5, "q8_0": 8.5}[file.quantisation]
    embedding_twice = spec.gguf_repo.startswith("Qwen/") and spec.parameters < 2 * BILLION
    assert promised <= file.bits < promised * (1.8 if embedding_twice else 1.15)
    assert abs(file.bits * spec.parameters / 8 - file.file_bytes) < 0.002 * file.file_bytes


@by_file
def test_a_file_names_its_quantisation_and_one_file_holds_all_of_it(spec, file):
    assert file.file_name.lower().endswith(f"-{file.quantisation}.gguf")
    assert "-of-" not in file.file_name
    assert spec.url(file) == (
        f"https://huggingface.co/{spec.gguf_repo}/resolve/main/{file.file_name}"
    )


@by_file
def test_hashes_are_sha256_where_they_are_known(spec, file):
    assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_no_hash_is_there_twice():
    hashes = [file.sha256 for _, file in FILES if file.sha256]
    assert len(hashes) == len(set(hashes))


@pytest.mark.parametrize("spec", LLMS, ids=lambda spec: spec.name)
def test_a_row_is_complete_and_its_files_are_sorted(spec):
    assert spec.licence in {"apache-2.0", "llama3.1", "llama3.2", "llama3.3", "gemma"}
    assert spec.context_tokens >= 32_768
    assert re.fullmatch(r"[\w-]+/[\w.-]+-GGUF", spec.gguf_repo)
    assert spec.languages
    sizes = [file.file_bytes for file in spec.gguf_files]
    assert sizes == sorted(sizes)
    assert spec.gguf_files[0].quantisation == "q4_k_m"


def test_a_name_is_found():
    assert find_llm("qwen2.5-7b").parameters == 7_615_616_512


def test_a_misspelt_name_is_answered_with_what_is_near():
    with pytest.raises(BadOption, match=r'no language model "Qwen2\.5-8B".*qwen2\.5-7b'):
        find_llm("Qwen2.5-8B")


def test_a_name_like_none_is_answered_with_all():
    with pytest.raises(BadOption, match=r"qwen2\.5-0\.5b or .* or llama-3\.3-70b"):
        find_llm("zzz")
