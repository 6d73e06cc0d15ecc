from __future__ import annotations

import struct

import gguf as reference
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.text import gguf
from pipeline.errors import BadCheckpoint, ModelUnavailable
from tests.models.text.tiny import CONTEXT, INNER, LAYERS, TOKENS, WIDTH, write_tiny


@pytest.fixture(scope="module")
def content(tiny):
    return tiny.read_bytes()


def read(path, content):
    path.write_bytes(content)
    return gguf.read(path)


def test_a_model_s_shape_is_read(tiny):
    found = gguf.read(tiny)
    assert (found.architecture, found.name, found.quantisation) == ("llama", "tiny", "f32")
    assert (found.layers, found.width, found.inner_width) == (LAYERS, WIDTH, INNER)
    assert (found.key_width, found.value_width) == (WIDTH, WIDTH)
    assert (found.context_tokens, found.vocabulary) == (CONTEXT, len(TOKENS))
    assert found.size_bytes == tiny.stat().st_size
    tensors = reference.GGUFReader(tiny).tensors
    assert found.tensor_bytes == sum(int(tensor.n_bytes) for tensor in tensors)


def test_the_table_of_tensor_types_is_that_of_the_reference():
    for kind, (block, block_bytes) in reference.GGML_QUANT_SIZES.items():
        assert gguf._BLOCKS.get(int(kind), (block, block_bytes)) == (block, block_bytes), kind
    missing = {int(kind) for kind in reference.GGML_QUANT_SIZES} - gguf._BLOCKS.keys()
    assert missing == set()


def test_the_names_of_mixtures_are_those_of_the_reference():
    for kind, name in gguf._FILE_TYPES.items():
        known = reference.LlamaFileType(kind).name.lower()
        assert known.removeprefix("mostly_").removeprefix("all_").removesuffix("_moe") == name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"template": None}, "no chat template"),
        ({"template": "  "}, "no chat template"),
        ({"split_count": 3}, "one of several parts"),
        ({"general_alignment": 7}, "alignment"),
    ],
)
def test_what_llama_cpp_could_not_use_is_refused(tmp_path, changes, words):
    with pytest.raises(BadCheckpoint, match=words):
        gguf.read(write_tiny(tmp_path / "odd.gguf", **changes))


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path, content):
    head = content.index(b"token_embd.weight")
    for end in [*range(0, head + 200, 211), len(content) - 1]:
        with pytest.raises(BadCheckpoint, match="ends too early|begin"):
            read(tmp_path / "cut.gguf", content[:end])


@pytest.mark.parametrize(
    ("place", "form", "value", "words"),
    [
        (0, "<4s", b"GGML", "does not begin"),
        (4, "<I", 1, "version 1"),
        (4, "<I", 3 << 24, "version"),  # big-endian
        (8, "<Q", 2**63, "more parts"),
        (8, "<Q", 0, "more parts"),
        (16, "<Q", 2**63, "more parts"),
        (24, "<Q", 2**62, "longer than any"),  # of the first key
    ],
)
def test_a_lying_head_is_refused_without_taking_memory(
    tmp_path, content, place, form, value, words
):
    lying = bytearray(content)
    struct.pack_into(form, lying, place, value)
    with pytest.raises(BadCheckpoint, match=words):
        read(tmp_path / "lying.gguf", lying)


@pytest.mark.parametrize(
    ("after", "skip", "form", "value", "words"),
    [
        (b"tokenizer.ggml.tokens", 0, "<I", 99, "unknown type 99"),
        (b"tokenizer.ggml.tokens", 4, "<I", 9, "list of the unknown type 9"),
        (b"tokenizer.ggml.tokens", 8, "<Q", 2**60, "list that is longer"),
        (b"llama.block_count", 4, "<I", 0, "block_count is not within"),
        (b"llama.context_length", 4, "<I", 2**31, "context_length is not within"),
        (b"llama.attention.head_count_kv", 4, "<I", 2**30, "head_count_kv is not within"),
        (b"token_embd.weight", 0, "<I", 9, "has 9 sizes"),
        (b"token_embd.weight", 4, "<Q", 2**61, "impossible sizes"),
        (b"token_embd.weight", 4, "<Q", 2**31, "ends too early"),
        (b"token_embd.weight", 20, "<I", 77, "unknown type 77"),
        (b"token_embd.weight", 24, "<Q", 2**62, "ends too early"),
        (b"token_embd.weight", 24, "<Q", 5, "not at its place"),
    ],
)
def test_a_lying_part_is_refused(tmp_path, content, after, skip, form, value, words):
    lying = bytearray(content)
    struct.pack_into(form, lying, content.index(after) + len(after) + skip, value)
    with pytest.raises(BadCheckpoint, match=words):
        read(tmp_path / "lying.gguf", lying)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_broken_head_is_read_or_refused_and_nothing_else(tmp_path, content, data):
    broken = bytearray(content)
    head = content.index(b"blk.1.ffn_norm.weight")
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, head))] = data.draw(st.integers(0, 255))
    words = ""
    try:
        assert read(tmp_path / "broken.gguf", broken).layers >= 1
    except BadCheckpoint as error:
        words = str(error)
    assert words.isprintable()


def test_a_name_that_could_not_be_shown_is_replaced(tmp_path, content):
    assert read(tmp_path / "mine.gguf", content.replace(b"tiny", b"\x1b[3m", 1)).name == "mine"


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        gguf.read(tmp_path)
