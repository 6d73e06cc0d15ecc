"""A disk that reports errors: no success is claimed, and the next run ends well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.demo import clips

SOURCE = Path(__file__).with_name("disk.c")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if shutil.which("cc") is None or sys.platform != "linux":
        pytest.skip("a C compiler on Linux is needed to make a disk fail")
    made = tmp_path_factory.mktemp("disk") / "disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, SOURCE], check=True)
    return made


@pytest.mark.parametrize(
    ("call", "name"), [("fsync", "media/."), ("write", "media/."), ("fsync", "heard.jsonl")]
)
def test_a_disk_that_fails_costs_nothing_but_the_time(program, library, call, name):
    media = shutil.copy(clips()[0].path, program.folder)
    command = ("--model", "demo", "--json", media)
    faults = {"LD_PRELOAD": str(library), "FAULTS_CALL": call, "FAULTS_NAME": name}
    failed = program.run(*command, **faults)
    assert failed.code == 3, failed.err
    (outcome,) = failed.outcomes.values()
    assert (outcome["state"], outcome["error"]) == ("failed", "StorageFailed")
    assert "Input/output error" in outcome["reason"]
    assert [path.name for path in program.folder.iterdir()] == [Path(media).name]
    assert program.run(*command).code == 0
    assert program.folder.joinpath(f"{Path(media).stem}.en.srt").stat().st_size > 0
