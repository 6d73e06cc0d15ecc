"""What tests of summaries share: a memory for what was told, and nobody who interrupts."""

from __future__ import annotations

import pytest

from tests.pipeline.summaries.scripted_engine import Memory


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def heed():
    """Nobody wants it to stop."""
    return lambda: None
