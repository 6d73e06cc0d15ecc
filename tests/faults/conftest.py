"""A yard for each test; without Redis, skip at home and fail in CI."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.faults.yard import opened


@pytest.fixture
def yard(tmp_path):
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    with opened(tmp_path) as made:
        yield made
        print(made.log())  # shown where a test fails
