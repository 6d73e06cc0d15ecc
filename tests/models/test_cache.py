from __future__ import annotations

import errno
import json
import os
import re
import resource
import struct
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from whisper.model import ModelDimensions

from models import cache, checkpoint
from models.registry import Dimensions, find, of_own
from models.weights import Weights
from pipeline.errors import BadCheckpoint, ModelUnavailable, StorageFailed

BOTH = pytest.mark.parametrize("quantisation", ["int8", "int4"])
SPEC = replace(of_own("mine", Dimensions(80, 64, 2, 2, 51864, 64, 2, 2)), sha256="ab" * 32)
MAPS = Path("/proc/self/maps")


@pytest.fixture
def weights(tmp_path):
    """A published checkpoint, as far as anybody here can tell."""
    torch.manual_seed(0)
    shapes = checkpoint._skeleton(ModelDimensions(**asdict(SPEC.dimensions))).state_dict()
    state = {name: torch.randn(like.shape).mul_(0.05).half() for name, like in shapes.items()}
    path = tmp_path / "mine.pt"
    torch.save({"dims": asdict(SPEC.dimensions), "model_state_dict": state}, path)
    return Weights("mine", path, SPEC, SPEC.sha256)


@pytest.fixture
def notes():
    return []


@pytest.fixture
def load(weights, tmp_path, notes):
    def load(quantisation="int8"):
        return checkpoint.load(weights, quantisation, "cpu", tmp_path, notes.append)

    return load


def folder(tmp_path):
    return sorted(path.name for path in (tmp_path / "quantised").iterdir())


def path_of(tmp_path, quantisation="int8"):
    return cache.entry(SPEC, quantisation, tmp_path).path


def hear(model):
    torch.manual_seed(1)
    with torch.inference_mode():
        return model(torch.randn(1, 80, 3000), torch.tensor([[50257, 50362, 11]]))


def tensors_of(model):
    return [*model.parameters(), *(b for b in model.buffers() if not b.is_sparse)]


# ── made once, then mapped ───────────────────────────────────────────────────────────────────


@BOTH
def test_weights_are_quantised_once(load, weights, tmp_path, notes, quantisation):
    first = load(quantisation)
    assert folder(tmp_path) == [path_of(tmp_path, quantisation).name]
    weights.path.unlink()
    second = load(quantisation)
    assert notes == []
    assert torch.equal(hear(first), hear(second))


@BOTH
def test_what_is_kept_is_what_would_be_made_in_memory(load, weights, quantisation):
    in_memory = checkpoint.build(checkpoint.read(weights), quantisation, "cpu")
    kept = load(quantisation)
    assert torch.equal(hear(kept), hear(in_memory))
    state, expected = kept.state_dict(), in_memory.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what is mapped")
@BOTH
def test_every_tensor_lies_in_the_mapped_file(load, weights, tmp_path, quantisation):
    model = load(quantisation)
    ranges = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in MAPS.read_text().splitlines()
        if line.endswith(str(path_of(tmp_path, quantisation)))
    ]
    addresses = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    outside = [
        name
        for name, address in addresses.items()
        if not any(begin <= address < end for begin, end in ranges)
    ]
    assert outside == []
    assert str(weights.path) not in MAPS.read_text()


def test_a_loaded_model_does_not_care_if_its_file_is_removed(load, tmp_path):
    model = load()
    before = hear(model)
    assert cache.remove("mine", tmp_path) > 0
    assert torch.equal(hear(model), before)


def test_the_file_is_safetensors_own_format(load, tmp_path):
    model = load()
    state = {name: t for name, t in model.state_dict().items() if name != "decoder.mask"}
    found = load_file(path_of(tmp_path))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    with safe_open(path_of(tmp_path), "pt") as file:
        manifest = file.metadata()
    assert json.loads(manifest.pop("dims")) == asdict(SPEC.dimensions)
    assert manifest == {"model": "mine", "scheme": "int8-v1", "source_sha256": "ab" * 32}


def test_tensors_begin_with_cache_lines(load, tmp_path):
    load()
    data = path_of(tmp_path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    begins = [8 + length + row["data_offsets"][0] for row in header.values() if "dtype" in row]
    assert [begin % 64 for begin in begins] == [0] * len(begins)


@pytest.mark.parametrize("quantisation", ["float32", "float16", "bfloat16"])
def test_float_weights_are_not_kept(load, tmp_path, quantisation):
    load(quantisation)
    assert not (tmp_path / "quantised").exists()


def test_weights_that_nobody_published_are_not_kept(weights, tmp_path, notes):
    for own in (replace(weights, sha256=None), replace(weights, sha256=None, spec=None)):
        checkpoint.load(own, "int8", "cpu", tmp_path, notes.append)
    checkpoint.load(Weights("demo", None, find("demo")), "int8", "cpu", tmp_path, notes.append)
    assert not (tmp_path / "quantised").exists()


# ── never trusted, made again ────────────────────────────────────────────────────────────────


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def grow(path):
    with path.open("ab") as file:
        file.write(b"\0")


def empty(path):
    os.truncate(path, 0)


def garble(path):
    path.write_bytes(b"no weights at all" * 100)


def lie_about_its_header(path):
    with path.open("r+b") as file:
        file.write(struct.pack("<Q", 2**62))


def change(path, tensors=None, **manifest):
    """The same file, but for some of its tensors or of its manifest."""
    with safe_open(path, "pt") as file:
        metadata = {**file.metadata(), **manifest}
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}
    save_file({**state, **(tensors or {})}, path, metadata)


def make_older(path):
    change(path, scheme="int8-v0")


def take_from_another_source(path):
    change(path, source_sha256="cd" * 32)


def give_other_dims(path):
    change(path, dims=json.dumps({**asdict(SPEC.dimensions), "n_text_layer": 3}))


def take_the_manifest(path):
    save_file(load_file(path), path)


def reshape(path):
    change(path, {"decoder.ln.bias": torch.zeros(63)})


def retype(path):
    change(path, {"encoder.blocks.0.attn.key.weight": torch.zeros(64, 64)})


def add(path):
    change(path, {"decoder.more": torch.zeros(3)})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        *((one, "it is damaged") for one in (cut, grow, empty, garble, lie_about_its_header)),
        *(
            (one, "it is of another version, or of other weights")
            for one in (make_older, take_from_another_source, give_other_dims, take_the_manifest)
        ),
        *((one, "it holds other tensors") for one in (reshape, retype, add)),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_made_again(load, tmp_path, notes, spoil, reason):
    expected = hear(load())
    path = path_of(tmp_path)
    sound = path.read_bytes()
    spoil(path)
    assert path.read_bytes() != sound
    assert torch.equal(hear(load()), expected)
    assert path.read_bytes() == sound
    (note,) = notes
    assert note.startswith(f"{path} is made again: {reason}")


def test_another_scheme_has_another_file(tmp_path):
    paths = {path_of(tmp_path, one) for one in ("int8", "int4")}
    other = replace(SPEC, sha256="cd" * 32)
    assert len(paths | {cache.entry(other, "int8", tmp_path).path}) == 3
    assert path_of(tmp_path).name == "mine-int8-v1-abababababababab.safetensors"


def test_a_bad_checkpoint_leaves_nothing_behind(load, weights, tmp_path):
    weights.path.write_bytes(b"nothing")
    with pytest.raises(BadCheckpoint):
        load()
    weights.path.unlink()
    with pytest.raises(ModelUnavailable):
        load()
    assert not (tmp_path / "quantised").exists()


# ── where nothing can be kept ────────────────────────────────────────────────────────────────


def test_without_a_folder_the_work_goes_on(load, tmp_path, notes):
    (tmp_path / "quantised").write_text("a file in the folder's place")
    model = load()
    assert torch.equal(hear(model), hear(load()))
    assert notes[-1].startswith("The quantised weights of mine cannot be kept in ")
    assert "\n" not in "".join(notes)


def test_a_lack_of_space_is_noticed_before_the_work(tmp_path, notes):
    like = {"x": torch.empty(2**60, dtype=torch.int8, device="meta")}
    made = []

    def make():
        made.append(folder(tmp_path) if len(made) == 0 else None)
        yield "x", torch.zeros(3, dtype=torch.int8)

    entry = cache.entry(SPEC, "int8", tmp_path)
    found = cache.tensors(entry, like, make, notes.append)
    assert found["x"].tolist() == [0, 0, 0]
    assert made == [[]]  # once, when the part was gone
    assert os.strerror(errno.ENOSPC) in notes[0]


def test_a_disk_that_fills_up_while_it_is_written_leaves_nothing_behind(load, tmp_path, notes):
    """A limit on the size of files stands in for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        model = load()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert folder(tmp_path) == []
    assert notes[0].endswith("(File too large), so they are made at every start.")
    assert torch.equal(hear(model), hear(load()))
    assert folder(tmp_path) == [path_of(tmp_path).name]


# ── several at once ──────────────────────────────────────────────────────────────────────────


def small(tmp_path):
    entry = cache.entry(SPEC, "int8", tmp_path)
    return entry, {"x": torch.empty(3, dtype=torch.int8, device="meta")}


def test_another_may_finish_while_it_is_written(tmp_path, notes):
    entry, like = small(tmp_path)

    def make(*inner):
        for one in inner:
            assert cache.tensors(entry, like, one, notes.append)["x"].tolist() == [1, 2, 3]
            assert len(folder(tmp_path)) == 2  # the other's file, and our part
        yield "x", torch.tensor([1, 2, 3], dtype=torch.int8)

    found = cache.tensors(entry, like, lambda: make(make), notes.append)
    assert found["x"].tolist() == [1, 2, 3]
    assert (folder(tmp_path), notes) == ([entry.path.name], [])


def test_many_at_once_all_get_the_weights(tmp_path, notes):
    entry, like = small(tmp_path)
    rounds, at_once, found = 40, 4, []
    start = Barrier(at_once, lambda: entry.path.unlink(missing_ok=True))

    def make():
        yield "x", torch.tensor([1, 2, 3], dtype=torch.int8)

    def work():
        for _ in range(rounds):
            start.wait()
            found.append(cache.tensors(entry, like, make, notes.append)["x"].tolist())

    threads = [Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[1, 2, 3]] * rounds * at_once
    assert (folder(tmp_path), notes) == ([entry.path.name], [])


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from dataclasses import replace
from models import cache
from models.registry import Dimensions, of_own
spec = replace(of_own("mine", Dimensions(80, 64, 2, 2, 51864, 64, 2, 2)), sha256="ab" * 32)
entry = cache.entry(spec, "int8", Path(sys.argv[1]))
def make():
    os.kill(os.getpid(), signal.SIGKILL)
    yield
cache.tensors(entry, {"x": torch.empty(3, dtype=torch.int8)}, make, print)
"""


def test_what_a_killed_process_left_is_swept(tmp_path, notes):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    (left,) = folder(tmp_path)
    assert re.fullmatch(r"\.mine-int8-v1-\w{16}\.safetensors\.\w{16}\.part", left)
    entry, like = small(tmp_path)

    def make():
        yield "x", torch.zeros(3, dtype=torch.int8)

    cache.tensors(entry, like, make, notes.append)
    assert (folder(tmp_path), notes) == ([entry.path.name], [])


def test_an_interruption_leaves_nothing_behind(tmp_path, notes):
    entry, like = small(tmp_path)

    def make():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        cache.tensors(entry, like, make, notes.append)
    assert folder(tmp_path) == []


# ── what is here ─────────────────────────────────────────────────────────────────────────────


def test_what_is_kept_is_known_without_loading_it(load, tmp_path):
    assert not cache.holds(SPEC, "int8", tmp_path)
    load()
    assert cache.holds(SPEC, "int8", tmp_path)
    assert not cache.holds(SPEC, "int4", tmp_path)
    assert not cache.holds(SPEC, "float32", tmp_path)
    assert not cache.holds(replace(SPEC, sha256="cd" * 32), "int8", tmp_path)
    assert not cache.holds(replace(SPEC, sha256=""), "int8", tmp_path)


@pytest.mark.parametrize("spoil", [cut, empty, garble, make_older, Path.unlink])
def test_what_would_not_be_trusted_is_not_held(load, tmp_path, spoil):
    load()
    spoil(path_of(tmp_path))
    assert not cache.holds(SPEC, "int8", tmp_path)


def test_looking_needs_no_heavy_library(tmp_path):
    code = (
        "import sys; from pathlib import Path; from models import cache, registry;"
        f"cache.holds(registry.find('small'), 'int8', Path({str(tmp_path)!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_all_that_is_kept_of_a_model_is_removed_and_nothing_else(tmp_path):
    kept = [cache.entry(find(name), "int8", tmp_path) for name in ("large-v3", "large-v3-turbo")]
    kept.append(cache.entry(find("large-v3"), "int4", tmp_path))
    kept[0].path.parent.mkdir()
    for one in kept:
        one.path.write_bytes(b"123")
    part = kept[0].path.with_name(f".{kept[0].path.name}.0123456789abcdef.part")
    part.write_bytes(b"12")
    older = kept[0].path.with_name("large-v3-int8-v0-e5b1a55b89c1367d.safetensors")
    older.write_bytes(b"1")
    assert cache.remove("large-v3", tmp_path) == 3 + 3 + 2 + 1
    assert folder(tmp_path) == [kept[1].path.name]
    assert cache.remove("large-v3", tmp_path) == 0


def test_nothing_is_removed_where_nothing_is(tmp_path):
    assert cache.remove("small", tmp_path / "nowhere") == 0


def test_what_cannot_be_removed_is_told(tmp_path):
    path_of(tmp_path).mkdir(parents=True)
    with pytest.raises(StorageFailed, match="What is kept of mine in .* cannot be removed"):
        cache.remove("mine", tmp_path)
