"""A model that llama.cpp really runs."""

from __future__ import annotations

import pytest

from tests.models.text.tiny import write_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("llm") / "tiny.gguf")
