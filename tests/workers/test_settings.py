"""What the environment says."""

from __future__ import annotations

from pathlib import Path

from workers.settings import load


def test_what_is_set_counts():
    settings = load(
        {"TRANSCRIBE_HOME": "/h", "TRANSCRIBE_WEIGHTS": "/w", "TRANSCRIBE_MODEL": "base"}
    )
    assert (settings.home, settings.weights_dir, settings.model) == (Path("/h"), Path("/w"), "base")


def test_weights_lie_where_openai_whisper_keeps_them():
    assert load({"XDG_CACHE_HOME": "/cache"}).weights_dir == Path("/cache/whisper")
    assert load({}).weights_dir == Path("~/.cache/whisper").expanduser()


def test_an_empty_variable_is_as_good_as_none():
    settings = load({"TRANSCRIBE_MODEL": "", "TRANSCRIBE_HOME": "", "XDG_CACHE_HOME": ""})
    assert settings.model is None
    assert settings.home.is_absolute()
