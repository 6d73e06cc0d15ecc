"""What all tests share: tools that must be there in CI, and a home of their own."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

# A busy machine is no fault of the code.
settings.register_profile("without a stopwatch", deadline=None)
settings.load_profile("without a stopwatch")

# Small models on a few cores: threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Without ffmpeg, skip at home and fail in CI."""
    missing = [tool for tool in ("ffmpeg", "ffprobe") if shutil.which(tool) is None]
    if not missing:
        return
    if os.environ.get("CI"):
        pytest.exit(f"missing in CI: {missing}", returncode=1)
    for item in items:
        item.add_marker(pytest.mark.skip(reason=f"{', '.join(missing)} not installed"))


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """No test sees or touches the user's jobs, weights or settings."""
    for name in list(os.environ):
        if name.startswith("TRANSCRIBE_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("TRANSCRIBE_HOME", str(home))
    monkeypatch.setenv("TRANSCRIBE_WEIGHTS", str(home / "weights"))
    return home
