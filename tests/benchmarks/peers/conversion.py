"""The same random checkpoint in every form that an engine reads.

Goes in: a size. Comes out: a folder with OpenAI's form, whisper.cpp's, CTranslate2's, OpenVINO's,
kept for the next time. Does not know: how any of them is run.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import torch

from tests.benchmarks.peers import checkpoint
from tests.models import ggml

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "build" / "bench"
OPENAI, WHISPER_CPP, CTRANSLATE2, OPENVINO = "random.pt", "q8_0.bin", "ctranslate2", "openvino"
MAKERS = ("checkpoint", "conversion", "huggingface")  # what decides what the files hold


def models(size: str, *, is_peers: bool) -> Path:
    """The folder of a size; with what the peers read if they take part."""
    folder = KEPT / f"{size}-{fingerprint()}"
    folder.mkdir(parents=True, exist_ok=True)
    made = [(OPENAI, openai)]
    if is_peers:
        made += [(WHISPER_CPP, whisper_cpp), (CTRANSLATE2, ctranslate2), (OPENVINO, openvino)]
    for name, make in made:
        if not (folder / name).exists():
            print(f"making {size} for {name} …", flush=True)
            half_made = folder / f"half-{name}"
            shutil.rmtree(half_made, ignore_errors=True)
            make(size, folder, half_made)
            half_made.rename(folder / name)
    return folder


def fingerprint() -> str:
    """Of all that decides what the files hold."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    told = [path.read_bytes() for path in sources if path.stem in MAKERS]
    return hashlib.sha256(b"".join(told)).hexdigest()[:8]


def openai(size: str, _: Path, out: Path) -> None:
    torch.save(checkpoint.random_checkpoint(size), out)


def whisper_cpp(_: str, folder: Path, out: Path) -> None:
    """By the writer that the tests have."""
    ggml.write(out, torch.load(folder / OPENAI), "q8_0")


def ctranslate2(_: str, folder: Path, out: Path) -> None:
    """By CTranslate2's own converter."""
    from ctranslate2.converters import TransformersConverter

    copied = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(huggingface(folder)), copy_files=copied).convert(
        str(out), quantization="int8"
    )


def openvino(_: str, folder: Path, out: Path) -> None:
    """By OpenVINO's own exporter, then weights in int8, one scale an output row."""
    import nncf
    import openvino as ov
    from optimum.exporters.openvino import main_export

    precise = folder / "openvino-float"
    main_export(
        str(huggingface(folder)),
        output=str(precise),
        task="automatic-speech-recognition-with-past",
        convert_tokenizer=True,
        library_name="transformers",
    )
    shutil.copytree(precise, out, ignore=shutil.ignore_patterns("*coder_model.*"))
    for part in ("encoder", "decoder"):
        name = f"openvino_{part}_model.xml"
        model = ov.Core().read_model(precise / name)
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
        ov.save_model(model, out / name)
    shutil.rmtree(precise)
    shutil.rmtree(folder / "huggingface")


def huggingface(folder: Path) -> Path:
    """What both converters read."""
    from tests.benchmarks.peers import huggingface as transformers

    out = folder / "huggingface"
    if not out.exists():
        transformers.write(torch.load(folder / OPENAI), out)
    return out
