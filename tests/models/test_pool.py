from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from models import demo
from models.demo.compact import load
from models.engines.silero import SileroDetector
from models.pool import Pool, PoolOptions, choose_device
from pipeline.errors import BadCheckpoint, BadOption, ModelUnavailable, OutOfMemory
from pipeline.types import SpeechOptions

DEMO = SpeechOptions(model="demo", language="en")


@pytest.fixture
def pool(tmp_path):
    return Pool(PoolOptions(tmp_path, device="cpu"), lambda _: None)


@pytest.fixture
def demo_file(tmp_path):
    """The demo model as a file of one's own."""
    path = tmp_path / "mine.pt"
    torch.save(load(demo.CHECKPOINT), path)
    return path


def test_the_demo_is_lent_with_a_description(pool):
    with pool.speech(DEMO) as engine:
        found = engine.description
    assert (found.model, found.quantisation, found.device) == ("demo", "float32", "cpu")
    assert (found.languages, found.can_translate) == (("en",), False)
    assert found.reason == (
        "float32 on cpu: cpu was asked for, the demo model is too small for less"
    )


def test_an_engine_is_kept_until_another_is_wanted(pool):
    with pool.speech(DEMO) as first, pool.speech(replace(DEMO, beam_size=5)) as second:
        assert second is first
    with pool.speech(replace(DEMO, quantisation="int8")) as third:
        assert third is not first
        assert third.description.quantisation == "int8"


def test_a_file_of_ones_own_is_lent_under_its_name(pool, demo_file):
    with pool.speech(SpeechOptions(model=str(demo_file))) as engine:
        assert engine.description.model == "mine.pt"
        assert engine.description.languages == ("en",)
        assert engine.description.quantisation == "float32"


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


def test_the_device_is_a_gpu_if_there_is_one():
    device, reason = choose_device("auto")
    if torch.cuda.is_available():
        assert (device, reason) == ("cuda:0", "a GPU is there")
    else:
        assert (device, reason) == ("cpu", "no GPU that torch can use")


@pytest.mark.parametrize("wanted", ["cuda:99", "mps", "gpu", ""])
def test_a_device_that_is_not_there_is_refused(wanted):
    with pytest.raises(BadOption, match="--device auto or one of: cpu"):
        choose_device(wanted)


def test_making_a_pool_needs_no_heavy_library(tmp_path):
    code = (
        "import sys, pathlib, models.pool as p; p.Pool(p.PoolOptions(pathlib.Path()), print);"
        "sys.exit(bool({'torch', 'whisper', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
