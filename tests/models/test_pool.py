from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from whisper.model import ModelDimensions

from models import checkpoint, demo
from models.choose import GIB
from models.demo.compact import load
from models.digest import remember
from models.engines.silero import SileroDetector
from models.fetch import FetchOptions
from models.memory import Machine
from models.pool import Pool, PoolOptions
from models.registry import find
from pipeline.errors import BadCheckpoint, BadOption, ModelUnavailable, OutOfMemory
from pipeline.types import SAMPLE_RATE_HZ, Clip, Span, SpeechOptions, Window
from tests.models import ggml

DEMO = SpeechOptions(model="demo", language="en")


ROOMY = Machine(64 * GIB, 32 * GIB, "MemAvailable of this machine", (), cpu_int8=True)
OFFLINE = FetchOptions(offline=True)


@pytest.fixture
def pool(tmp_path):
    return Pool(PoolOptions(tmp_path, fetch=OFFLINE), lambda _: None, look=lambda _: ROOMY)


@pytest.fixture
def demo_file(tmp_path):
    """The demo model as a file of one's own."""
    path = tmp_path / "mine.pt"
    torch.save(load(demo.CHECKPOINT), path)
    return path


def test_the_demo_is_lent_with_a_description(pool):
    with pool.speech(DEMO) as engine:
        found = engine.description
    assert (found.model, found.quantisation, found.device) == ("demo", "int8", "cpu")
    assert (found.languages, found.can_translate) == (("en",), False)
    assert found.reason.startswith("demo, int8, batch 8 on the CPU: needs ")
    assert " of 32.0 GiB free; it was asked for by name" in found.reason


def test_an_engine_is_kept_until_another_is_wanted(pool):
    with pool.speech(DEMO) as first, pool.speech(replace(DEMO, beam_size=5)) as second:
        assert second is first
    with pool.speech(replace(DEMO, quantisation="float32")) as third:
        assert third is not first
        assert third.description.quantisation == "float32"


def test_a_file_of_ones_own_is_lent_under_its_name(pool, demo_file):
    with pool.speech(SpeechOptions(model=str(demo_file))) as engine:
        assert engine.description.model == "mine.pt"
        assert engine.description.languages == ("en",)
        assert engine.description.quantisation == "int8"


def test_each_version_of_a_file_of_ones_own_is_read_once(pool, demo_file):
    """Reading `small` takes half a second, and every file of an archive asks for it."""
    options = SpeechOptions(model=str(demo_file))
    with pool.speech(options) as first:
        pass
    before = demo_file.stat()
    demo_file.write_bytes(bytes(before.st_size))
    os.utime(demo_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pool.speech(options) as second:
        assert second is first
    os.utime(demo_file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(BadCheckpoint):
        pool.speech(options).__enter__()


def test_the_detector_is_lent_and_kept(pool):
    with pool.detector() as first, pool.detector() as second:
        assert isinstance(first, SileroDetector)
        assert second is first


def test_threads_are_set_as_asked(tmp_path):
    before = torch.get_num_threads()
    try:
        with Pool(PoolOptions(tmp_path, threads=1), lambda _: None).speech(DEMO):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("model", ["demo", "small.en"])
def test_a_language_that_a_model_does_not_know_is_refused_before_it_is_loaded(pool, model):
    options = SpeechOptions(model=model, language="de")
    with pytest.raises(BadOption, match=r"does not know the language 'de', but only: en\."):
        pool.speech(options).__enter__()


def test_cantonese_is_refused_to_the_models_that_lack_it(pool):
    with pytest.raises(BadOption, match="'yue', but only: en, zh"):
        pool.speech(SpeechOptions(model="large-v2", language="yue")).__enter__()


@pytest.mark.parametrize("model", ["demo", "turbo", "small.en"])
def test_translation_is_refused_where_it_is_impossible(pool, model):
    with pytest.raises(BadOption, match=f"{model} cannot translate"):
        pool.speech(SpeechOptions(model=model, task="translate")).__enter__()


def test_a_file_of_ones_own_is_held_to_what_it_can(pool, demo_file):
    with pytest.raises(BadOption, match="'de', but only: en"):
        pool.speech(SpeechOptions(model=str(demo_file), language="de")).__enter__()


def test_a_missing_and_a_broken_file_are_told_apart(pool, tmp_path):
    path = tmp_path / "mine.pt"
    with pytest.raises(ModelUnavailable):
        pool.speech(SpeechOptions(model=str(path))).__enter__()
    path.write_bytes(b"nothing")
    with pytest.raises(BadCheckpoint):
        pool.speech(SpeechOptions(model=str(path))).__enter__()


def test_a_failed_load_leaves_the_pool_usable(pool, tmp_path):
    with pytest.raises(ModelUnavailable), pool.speech(SpeechOptions(model=str(tmp_path / "x.pt"))):
        pass
    with pool.speech(DEMO) as engine:
        assert engine.description.model == "demo"


def exhaust():
    """More than any address space: torch's own error, not one of ours."""
    return torch.empty(2**61, dtype=torch.int8)


@pytest.mark.parametrize("lend", ["speech", "detector"])
def test_a_lack_of_memory_while_it_is_used_is_told_in_our_words(pool, lend):
    loan = pool.speech(DEMO) if lend == "speech" else pool.detector()
    with pytest.raises(OutOfMemory, match="smaller --batch-size or a smaller --model"), loan:
        exhaust()


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_every_way_of_lacking_memory_is_known(pool, error):
    with pytest.raises(OutOfMemory), pool.speech(DEMO):
        raise error


def test_other_errors_pass_as_they_are(pool):
    with pytest.raises(RuntimeError, match="a bug"), pool.speech(DEMO):
        raise RuntimeError("a bug")


def test_making_a_pool_needs_no_heavy_library(tmp_path):
    code = (
        "import sys, pathlib, models.pool as p; p.Pool(p.PoolOptions(pathlib.Path()), print);"
        "sys.exit(bool({'torch', 'whisper', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ── what fits ────────────────────────────────────────────────────────────────────────────────


class Shelf:
    """A folder with random models of true dimensions, as if OpenAI had published them."""

    def __init__(self, folder):
        self.folder = folder
        self.notes = []

    def put(self, name):
        spec = find(name)
        state = random_state(spec)
        dims = asdict(spec.dimensions)
        torch.save({"dims": dims, "model_state_dict": state}, self.folder / spec.file_name)
        remember(self.folder / spec.file_name, spec.sha256)

    def pool(self, machine=ROOMY):
        options = PoolOptions(self.folder, fetch=OFFLINE)
        return Pool(options, self.notes.append, look=lambda _: machine)


def random_state(spec):
    generator = torch.Generator().manual_seed(3)
    dims = ModelDimensions(**asdict(spec.dimensions))
    return {
        name: torch.randn(tensor.shape, generator=generator).mul_(0.02).half()
        for name, tensor in checkpoint._skeleton(dims).state_dict().items()
    }


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


AUTO = SpeechOptions(quantisation="int8")


def test_without_a_network_what_is_on_this_machine_is_taken_and_said(shelf):
    shelf.put("tiny")
    with shelf.pool().speech(replace(AUTO, language="de")) as engine:
        assert engine.description.model == "tiny"
    assert any("large-v3" in note and "offline" in note.lower() for note in shelf.notes)


def test_without_a_network_a_damaged_model_is_passed_by_for_a_sound_one(shelf):
    shelf.put("tiny")
    (shelf.folder / "base.pt").write_bytes(b"damaged")
    pool = shelf.pool()
    pool.prepare(replace(AUTO, language="de"))
    with pool.speech(replace(AUTO, language="de")) as engine:
        assert engine.description.model == "tiny"
    assert sum("a model that is on this machine" in note for note in shelf.notes) == 1


def test_without_a_network_and_without_models_the_error_says_what_to_do(shelf):
    with pytest.raises(ModelUnavailable, match="--from"):
        shelf.pool().prepare(AUTO)


def test_there_is_room_for_as_many_beams_and_samples_as_are_asked_for(pool, samples_of):
    sound = samples_of(demo.clips()[0].path)
    window = Window(0.0, len(sound) / SAMPLE_RATE_HZ, (Span(0.0, len(sound) / SAMPLE_RATE_HZ),))
    for asked in ({"beam_size": 20}, {"best_of": 30, "temperatures": (0.4,)}):
        options = replace(DEMO, **asked)
        with pool.speech(options) as engine:
            (heard,) = engine.transcribe([Clip(window, sound, options)])
        assert heard.segments


def test_english_needs_no_other_model_of_the_size_that_is_loaded(shelf):
    for name in ("base", "base.en"):
        shelf.put(name)
    pool = shelf.pool()
    fast = replace(AUTO, wish="fast")
    with pool.speech(fast) as detecting:
        assert detecting.description.model == "base"
    with pool.speech(replace(fast, language="en")) as hearing:
        assert hearing is detecting


def test_a_named_model_is_never_replaced_by_another(shelf):
    shelf.put("tiny")
    with pytest.raises(ModelUnavailable):
        shelf.pool().prepare(replace(AUTO, model="small"))


def test_an_engine_that_is_loaded_also_detects_languages(shelf):
    shelf.put("tiny")
    pool = shelf.pool()
    with pool.speech(replace(AUTO, language="de")) as first, pool.speech(AUTO) as asked:
        assert asked is first
    with pool.speech(replace(AUTO, language="fr")) as french:
        assert french is first


def test_what_is_kept_quantised_needs_no_other_file(shelf):
    shelf.put("tiny")
    with shelf.pool().speech(replace(AUTO, model="tiny")):
        pass
    (shelf.folder / "tiny.pt").unlink()
    with shelf.pool().speech(replace(AUTO, model="tiny")) as engine:
        assert engine.description.quantisation == "int8"


def test_a_machine_without_room_is_told_with_the_numbers(shelf):
    crowded = replace(ROOMY, ram_free_bytes=GIB // 10)
    with pytest.raises(OutOfMemory, match=r"where 0\.1 GiB are free"):
        shelf.pool(crowded).prepare(AUTO)


def test_a_device_that_is_not_there_is_refused(tmp_path):
    options = PoolOptions(tmp_path, device="cuda:99")
    with pytest.raises(BadOption, match="one of: cpu"):
        Pool(options, lambda _: None, look=lambda _: ROOMY).prepare(DEMO)


# ── whisper.cpp ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ggml_file(tmp_path):
    return ggml.write(tmp_path / "ggml-demo-q8_0.bin", demo.load_checkpoint(), "q8_0")


def test_a_model_of_whisper_cpp_is_lent_and_kept(pool, ggml_file):
    options = SpeechOptions(model=str(ggml_file), language="en")
    pool.prepare(options)
    with pool.speech(options) as first, pool.speech(options) as second:
        assert second is first
        assert first.description.model == "ggml-demo-q8_0.bin"
        assert first.description.quantisation == "int8"
    with pool.speech(DEMO) as other:
        assert other.description.model == "demo"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"language": "de"}, "'de', but only: en"),
        ({"task": "translate"}, "cannot translate"),
        ({"quantisation": "float16"}, "is quantised already"),
    ],
)
def test_what_a_model_of_whisper_cpp_cannot_do_is_refused(pool, ggml_file, wrong, message):
    options = SpeechOptions(model=str(ggml_file), **wrong)
    with pytest.raises(BadOption, match=message):
        pool.prepare(options)


def test_an_engine_that_ran_out_of_memory_is_not_lent_again(pool):
    with pytest.raises(OutOfMemory), pool.speech(DEMO) as first:
        exhaust()
    with pool.speech(DEMO) as second:
        assert second is not first
