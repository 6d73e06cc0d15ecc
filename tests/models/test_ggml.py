"""Files of whisper.cpp's, whole and broken in every way that would end the process."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whisper.model import ModelDimensions, Whisper

from models.ggml import read
from models.registry import Dimensions, find
from pipeline.errors import BadCheckpoint, ModelUnavailable
from tests.models import ggml

SMALL = {
    "n_vocab": 51865,
    "n_audio_ctx": 1500,
    "n_audio_state": 64,
    "n_audio_head": 1,
    "n_audio_layer": 1,
    "n_text_ctx": 448,
    "n_text_state": 64,
    "n_text_head": 1,
    "n_text_layer": 1,
    "n_mels": 80,
}


def checkpoint(**dimensions):
    dims = {**SMALL, **dimensions}
    model = Whisper(ModelDimensions(**dims))
    # else it is whatever lay in the memory, such as the names of another file's tensors
    torch.nn.init.zeros_(model.decoder.positional_embedding)
    return {"dims": dims, "model_state_dict": model.state_dict()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return ggml.write(tmp_path_factory.mktemp("ggml") / "whole.bin", checkpoint())


@pytest.fixture(scope="module")
def content(whole):
    return whole.read_bytes()


@pytest.fixture
def broken(tmp_path):
    """A file with the given bytes; the sentence that it is refused with."""

    def refusal(data):
        path = tmp_path / "broken.bin"
        path.write_bytes(data)
        with pytest.raises(BadCheckpoint) as refused:
            read(path)
        assert str(refused.value).startswith(str(path))
        return str(refused.value)

    return refusal


def with_number(content, index, value):
    """The header with another number in one of its twelve places."""
    return content[: 4 * index] + struct.pack("<i", value) + content[4 * index + 4 :]


# ── whole ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ftype", "name", "nearest"),
    [("f16", "f16", "float16"), ("q8_0", "q8_0", "int8"), ("q5_1", "q5_1", "int4")],
)
def test_a_whole_file_is_described(tmp_path, ftype, name, nearest):
    path = ggml.write(tmp_path / "own.bin", checkpoint(n_text_layer=2), ftype)
    found = read(path)
    assert (found.path, found.size_bytes) == (path, path.stat().st_size)
    assert found.dimensions == Dimensions(**{**SMALL, "n_text_layer": 2})
    assert (found.format.name, found.format.nearest) == (name, nearest)


def test_the_largest_vocabulary_and_the_english_one_are_known(tmp_path):
    for n_vocab, n_mels in ((51866, 128), (51864, 80)):
        path = ggml.write(tmp_path / "own.bin", checkpoint(n_vocab=n_vocab, n_mels=n_mels))
        assert read(path).dimensions.n_vocab == n_vocab


@pytest.mark.parametrize(("ftype", "size_bytes"), [("f16", 77_691_713), ("q5_1", 32_152_673)])
def test_files_of_true_dimensions_have_the_size_of_the_published_ones(tmp_path, ftype, size_bytes):
    spec = find("tiny")
    dims = {name: getattr(spec.dimensions, name) for name in SMALL}
    path = ggml.write(tmp_path / "tiny.bin", checkpoint(**dims), ftype)
    assert read(path).size_bytes == size_bytes
    assert read(path).dimensions == spec.dimensions


# ── broken ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("data", [b"", b"lmgg", b"\0" * 100_000, b"<html>" * 100, b"PK\3\4" * 50])
def test_what_is_no_such_file_is_refused(broken, data):
    assert "not a Whisper model that whisper.cpp can run" in broken(data)


def test_a_torch_checkpoint_is_refused(broken, tmp_path):
    path = tmp_path / "own.pt"
    torch.save(checkpoint(), path)
    assert "does not begin" in broken(path.read_bytes())


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(tmp_path_factory, content, share):
    path = tmp_path_factory.mktemp("cut") / "cut.bin"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadCheckpoint, match="it ends too early"):
        read(path)


@pytest.mark.parametrize("missing", [1, 200, 300])  # of the last numbers, name, header
def test_the_last_tensor_must_be_whole(broken, content, missing):
    assert "it ends too early" in broken(content[:-missing])


def test_nothing_may_follow(broken, content):
    assert "does not end after its last tensor" in broken(content + b"\0")


@pytest.mark.parametrize("index", range(1, 12))
@pytest.mark.parametrize("value", [0, -1, 1_000_000, 2**31 - 1])
def test_absurd_numbers_in_the_header_are_refused(broken, content, index, value):
    broken(with_number(content, index, value))


@pytest.mark.parametrize("name", [name for name in SMALL if not name.endswith("head")])
def test_other_dimensions_than_the_tensors_have_are_refused(broken, content, name):
    index = 1 + list(SMALL).index(name)
    broken(with_number(content, index, SMALL[name] + 1))
    broken(with_number(content, index, SMALL[name] * 2))


def test_a_type_that_whisper_cpp_does_not_know_is_refused(broken, content):
    assert "unknown type 5" in broken(with_number(content, 11, 5))


def test_float32_is_refused_since_whisper_cpp_aborts_on_it(broken, tmp_path):
    path = ggml.write(tmp_path / "own.bin", checkpoint(), "f32")
    assert "convert it to f16" in broken(path.read_bytes())


def test_a_width_that_does_not_fill_blocks_is_refused(broken, content):
    data = with_number(with_number(content, 3, 72), 7, 72)
    assert "cannot be in q8_0" in broken(with_number(data, 11, ggml.FTYPES["q8_0"]))


@pytest.mark.parametrize("index", [12, 13, 14 + 80 * 201])  # filters, frequencies, tokens
@pytest.mark.parametrize("value", [-5, 0, 7, 10**9])
def test_filters_and_a_vocabulary_of_another_size_are_refused(broken, content, index, value):
    broken(with_number(content, index, value))


def test_another_vocabulary_is_refused(broken, content):
    assert "its vocabulary is not Whisper's" in broken(content.replace(b" there", b" thore", 1))


@pytest.mark.parametrize("length", [-1, 10**9, 0])
def test_a_token_of_absurd_length_is_refused(broken, content, length):
    broken(with_number(content, 15 + 80 * 201, length))


def test_a_tensor_of_another_name_is_refused(broken, content):
    assert "'decoder.ln.boas' is not Whisper's" in broken(
        content.replace(b"decoder.ln.bias", b"decoder.ln.boas")
    )


def test_a_tensor_that_is_there_twice_is_refused(broken, content):
    assert "there twice" in broken(
        content.replace(b"encoder.conv2.weight", b"encoder.conv1.weight")
    )


@pytest.mark.parametrize("place", range(6))  # number of sizes, length of the name, type, sizes
def test_a_tensor_with_another_header_is_refused(broken, content, place):
    name = content.index(b"decoder.blocks.0.mlp.0.weight")
    field = name - 8 - 12 + 4 * place
    for value in (-1, 2**31 - 1, 77):
        broken(content[:field] + struct.pack("<i", value) + content[field + 4 :])


def test_a_file_that_cannot_be_read_is_told_from_a_broken_one(tmp_path):
    with pytest.raises(ModelUnavailable, match="No such file"):
        read(tmp_path / "none.bin")
    with pytest.raises(ModelUnavailable, match="Is a directory"):
        read(Path(tmp_path))
