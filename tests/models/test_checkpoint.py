from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from whisper.model import LayerNorm, ModelDimensions, Whisper

from models import checkpoint
from models.checkpoint import BOUNDS, DEMO_ALIGNMENT_HEADS, Checkpoint, build, read
from models.demo import load_checkpoint
from models.quantise import converted
from models.registry import WHISPERS, find
from models.weights import Weights
from pipeline.errors import BadCheckpoint, ModelUnavailable

MAPS = Path("/proc/self/maps")
DEMO = Weights("demo", None, find("demo"))
DIMS = ModelDimensions(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=64,
    n_audio_head=2,
    n_audio_layer=2,
    n_vocab=51864,
    n_text_ctx=448,
    n_text_state=64,
    n_text_head=2,
    n_text_layer=2,
)


def random_state(dims=DIMS, dtype=torch.float16, seed=0):
    torch.manual_seed(seed)
    shapes = checkpoint._skeleton(dims).state_dict()
    return {name: torch.randn(t.shape).mul_(0.05).to(dtype) for name, t in shapes.items()}


def content(dims=DIMS, **changes):
    return {"dims": {**asdict(dims), **changes}, "model_state_dict": random_state(dims)}


@pytest.fixture
def saved(tmp_path):
    """Save anything as a checkpoint of one's own."""

    def save(whatever, **options):
        path = tmp_path / "mine.pt"
        torch.save(whatever, path, **options)
        return Weights("mine.pt", path, None)

    return save


def oracle(state, dims=DIMS):
    """What openai-whisper's own load_model builds from the same tensors."""
    model = Whisper(dims)
    model.load_state_dict(state)
    return model.eval()


def hear(model, dtype=torch.float32):
    torch.manual_seed(1)
    mel = torch.randn(1, model.dims.n_mels, 3000).to(dtype)
    with torch.inference_mode():
        return model(mel, torch.tensor([[50257, 50362, 11]]))


# ── what is sound is read, in every form, and means the same ─────────────────────────────────


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "torch's older format"])
def test_a_checkpoint_is_read_as_whisper_reads_it(saved, zipped):
    whole = content()
    found = read(saved(whole, _use_new_zipfile_serialization=zipped))
    assert (found.name, found.spec, found.dims) == ("mine.pt", None, DIMS)
    assert found.state.keys() == whole["model_state_dict"].keys()
    model = build(found, "float32", "cpu")
    assert torch.equal(hear(model), hear(oracle(whole["model_state_dict"])))


def test_the_demo_is_read():
    found = read(DEMO)
    assert found.spec == find("demo")
    model = build(found, "float32", "cpu")
    expected = oracle(load_checkpoint()["model_state_dict"], found.dims)
    assert torch.equal(hear(model), hear(expected))


def test_a_model_is_ready_for_inference():
    model = build(read(DEMO), "float32", "cpu")
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(t.is_meta for t in [*model.parameters(), *model.buffers()])


@pytest.mark.parametrize(
    ("quantisation", "dtype", "tolerance"),
    [("float16", torch.float16, 0.02), ("bfloat16", torch.bfloat16, 0.1)],
)
def test_half_precision_keeps_layer_norms_in_float32(quantisation, dtype, tolerance):
    found = Checkpoint("mine.pt", None, DIMS, random_state())
    model = build(found, quantisation, "cpu")
    for module in model.modules():
        wanted = torch.float32 if isinstance(module, LayerNorm) else dtype
        assert all(p.dtype == wanted for p in module.parameters(recurse=False))
    exact = hear(oracle(found.state))
    assert (hear(model, dtype).float() - exact).norm() < tolerance * exact.norm()


def test_int8_leaves_nothing_else_in_the_blocks_but_layer_norms():
    model = build(Checkpoint("mine.pt", None, DIMS, random_state()), "int8", "cpu")
    for blocks in (model.encoder.blocks, model.decoder.blocks):
        owners = [m for m in blocks.modules() if list(m.parameters(recurse=False))]
        assert all(isinstance(module, LayerNorm) for module in owners)
        assert torch.int8 in {buffer.dtype for buffer in blocks.buffers()}


@pytest.mark.parametrize(("quantisation", "tolerance"), [("int8", 0.01), ("int4", 0.01)])
def test_what_is_not_quantised_can_be_float16_as_on_a_gpu(quantisation, tolerance):
    hollow = checkpoint._hollow(DIMS, quantisation)
    kept = dict(converted(random_state(), hollow))
    model = checkpoint._filled(hollow, kept.items(), None, torch.float16, "cpu")
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    changed = {name for name, tensor in kept.items() if dtypes[name] != tensor.dtype}
    assert {dtypes[name] for name in changed} == {torch.float16}
    assert changed == {
        *(f"encoder.conv{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")),
        *(f"{half}.positional_embedding" for half in ("encoder", "decoder")),
    }
    float32 = build(Checkpoint("mine.pt", None, DIMS, random_state()), quantisation, "cpu")
    exact, found = hear(float32), hear(model, torch.float16)
    assert (found - exact).norm() < tolerance * exact.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_model_does_not_care_what_becomes_of_its_file(saved, dtype):
    weights = saved({"dims": asdict(DIMS), "model_state_dict": random_state(dtype=dtype)})
    model = build(read(weights), "float32", "cpu")
    before = hear(model)
    with weights.path.open("r+b") as file:
        file.write(b"\0" * weights.path.stat().st_size)
    assert torch.equal(hear(model), before)


# ── alignment heads ──────────────────────────────────────────────────────────────────────────


def heads(model):
    return model.alignment_heads.to_dense().nonzero().tolist()


def test_the_demo_has_alignment_heads_of_its_own():
    assert heads(build(read(DEMO), "float32", "cpu")) == [
        list(head) for head in DEMO_ALIGNMENT_HEADS
    ]


def test_a_file_of_published_dimensions_gets_the_published_heads(saved):
    tiny = ModelDimensions(**asdict(find("tiny").dimensions))
    state = {
        name: torch.zeros(1, dtype=torch.float16).expand(tensor.shape)
        for name, tensor in checkpoint._skeleton(tiny).state_dict().items()
    }
    found = read(saved({"dims": asdict(tiny), "model_state_dict": state}))
    assert (found.name, found.spec) == ("mine.pt", find("tiny"))
    # whisper's published set for tiny, in the words of transformers' generation_config.json
    expected = [[2, 2], [3, 0], [3, 2], [3, 3], [3, 4], [3, 5]]
    assert heads(build(found, "float32", "cpu")) == expected


def test_other_dimensions_keep_whispers_default_heads():
    model = build(Checkpoint("mine.pt", None, DIMS, random_state()), "float32", "cpu")
    assert heads(model) == heads(Whisper(DIMS)) == [[1, 0], [1, 1]]


# ── what is not sound is refused, before anything is built or run ────────────────────────────


class Bomb:
    """A pickle that makes a file when it is trusted."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(weights, problem=""):
    with pytest.raises(BadCheckpoint) as caught:
        read(weights)
    message = str(caught.value)
    assert message.startswith(f"{weights.path} is not an OpenAI Whisper checkpoint (")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "torch's older format"])
def test_a_hostile_pickle_is_not_executed(saved, tmp_path, zipped):
    bomb = Bomb(tmp_path / "boom")
    refused(saved({**content(), "extra": bomb}, _use_new_zipfile_serialization=zipped))
    assert not bomb.path.exists()
    torch.load(tmp_path / "mine.pt", weights_only=False)  # the bomb is live
    assert bomb.path.exists()


def test_a_plain_hostile_pickle_is_not_executed(tmp_path):
    path = tmp_path / "mine.pt"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    refused(Weights("mine.pt", path, None))
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 1000, b"no checkpoint at all\n" * 50, b"PK\x03\x04" + b"x" * 100, b"\x80\x02."],
    ids=["empty", "zeros", "text", "like a zip", "empty pickle"],
)
def test_other_files_are_refused(tmp_path, data):
    path = tmp_path / "mine.pt"
    path.write_bytes(data)
    refused(Weights("mine.pt", path, None))


def test_a_zip_of_something_else_is_refused(tmp_path):
    path = tmp_path / "mine.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mine/data.pkl", "nothing")
    refused(Weights("mine.pt", path, None))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "torch's older format"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_cut_file_is_refused(saved, zipped, share):
    weights = saved(content(), _use_new_zipfile_serialization=zipped)
    data = weights.path.read_bytes()
    weights.path.write_bytes(data[: int(len(data) * share)])
    refused(weights)


@pytest.mark.parametrize("whatever", [[1, 2], {"state_dict": {}}, {"dims": {}}, None])
def test_other_contents_are_refused(saved, whatever):
    refused(saved(whatever), "no dims and model_state_dict")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"n_audio_state": 10**12}, "n_audio_state is not within 64 to 1280"),
        ({"n_vocab": 10**500}, "n_vocab is not within"),
        ({"n_text_layer": -1}, "n_text_layer"),
        ({"n_text_layer": 2.0}, "n_text_layer"),
        ({"n_audio_layer": True}, "n_audio_layer"),
        ({"n_mels": "80"}, "n_mels"),
        ({"n_mels": 100}, "neither 80 nor 128"),
        ({"n_text_state": 128}, "differ in width"),
        ({"n_audio_head": 3}, "no multiple of its heads"),
        ({"n_text_head": 3}, "no multiple of its heads"),
        ({"n_extra": 1}, "not Whisper's ten"),
        ({"n_audio_layer": 3}, "tensors are not those"),
        ({"n_vocab": 51865}, "decoder.token_embedding.weight has another shape"),
    ],
)
def test_dims_that_are_not_whispers_are_refused(saved, changes, problem):
    refused(saved(content(**changes)), problem)


def test_dims_must_be_a_mapping(saved):
    refused(saved({**content(), "dims": [80] * 10}), "not Whisper's ten")


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (torch.zeros(63), "decoder.ln.bias has another shape"),
        ([0.0] * 64, "decoder.ln.bias has another shape"),
        (torch.zeros(64, dtype=torch.int64), "does not hold floating-point"),
        (torch.zeros(64).to_sparse(), "does not hold floating-point"),
        (torch.zeros(64, device="meta"), "does not hold floating-point"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_tensors_that_are_not_whispers_are_refused(saved, tensor, problem):
    whole = content()
    whole["model_state_dict"]["decoder.ln.bias"] = tensor
    refused(saved(whole), problem)


def test_a_published_name_must_have_its_published_dimensions(saved):
    weights = replace(saved(content()), name="small", spec=find("small"))
    refused(weights, "its dims are not those of small")


def test_the_bounds_hold_every_model_and_nothing_larger():
    for spec in WHISPERS:
        for name, value in asdict(spec.dimensions).items():
            assert BOUNDS[name][0] <= value <= BOUNDS[name][1]
    for name, (_, high) in BOUNDS.items():
        assert high == max(getattr(spec.dimensions, name) for spec in WHISPERS)


WITHOUT_MEMORY = """
import resource, sys, torch, whisper.model
from pathlib import Path
from models import checkpoint, shortage
from models.weights import Weights
used_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used_bytes + (16 << 20), resource.RLIM_INFINITY))
try:
    checkpoint.read(Weights("mine.pt", Path(sys.argv[1]), None))
except Exception as error:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sys.exit(not shortage.is_shortage(error))
sys.exit("it was read")
"""


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells how much is mapped")
def test_a_lack_of_memory_is_not_taken_for_damage(saved):
    wide = replace(DIMS, n_audio_state=512, n_text_state=512)  # an embedding of 53 MB
    weights = saved(content(wide), _use_new_zipfile_serialization=False)
    command = [sys.executable, "-c", WITHOUT_MEMORY, weights.path]
    subprocess.run(command, check=True)


def test_a_file_that_goes_away_is_told_as_such(tmp_path):
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read(Weights("mine.pt", tmp_path / "mine.pt", None))


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what is mapped")
def test_the_tensors_stay_in_the_file_until_the_model_is_built(saved):
    weights = saved(content())
    found = read(weights)
    assert str(weights.path) in MAPS.read_text()
    build(found, "float32", "cpu")
    del found
    gc.collect()
    assert str(weights.path) not in MAPS.read_text()
