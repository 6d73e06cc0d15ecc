"""What the environment says."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from pipeline.errors import BadOption
from workers.settings import load
from workers.web import WebOptions


def test_what_is_set_counts():
    settings = load(
        {"TRANSCRIBE_HOME": "/h", "TRANSCRIBE_WEIGHTS": "/w", "TRANSCRIBE_MODEL": "base"}
    )
    assert (settings.home, settings.weights_dir, settings.model) == (Path("/h"), Path("/w"), "base")


def test_weights_lie_where_openai_whisper_keeps_them():
    assert load({"XDG_CACHE_HOME": "/cache"}).weights_dir == Path("/cache/whisper")
    assert load({}).weights_dir == Path("~/.cache/whisper").expanduser()


def test_networks_of_ones_own_are_a_list_or_yes():
    def networks(text):
        return load({"TRANSCRIBE_OWN_NETWORKS": text}).own_networks

    assert load({}).own_networks == networks("") == networks("no") == ()
    assert networks("10.0.7.0/24, fd00::/8") == ("10.0.7.0/24", "fd00::/8")
    assert "192.168.0.0/16" in networks("yes")
    assert WebOptions(own_networks=networks("yes"))


def test_a_clouds_own_addresses_are_in_no_network_of_ones_own():
    metadata = ip_address("169.254.169.254")
    networks = load({"TRANSCRIBE_OWN_NETWORKS": "yes"}).own_networks
    assert not any(metadata in ip_network(one) for one in networks)


def test_an_empty_variable_is_as_good_as_none():
    settings = load({"TRANSCRIBE_MODEL": "", "TRANSCRIBE_HOME": "", "XDG_CACHE_HOME": ""})
    assert settings.model is None
    assert settings.home.is_absolute()


def test_patience_is_a_number_of_seconds():
    assert load({}).llm_patience_s is load({"TRANSCRIBE_LLM_PATIENCE": ""}).llm_patience_s is None
    assert load({"TRANSCRIBE_LLM_PATIENCE": "90.5"}).llm_patience_s == 90.5


@pytest.mark.parametrize("text", ["ten minutes", "0", "-1", "inf", "nan"])
def test_patience_that_is_no_number_of_seconds_is_refused(text):
    with pytest.raises(BadOption, match="TRANSCRIBE_LLM_PATIENCE=.*such as 600"):
        load({"TRANSCRIBE_LLM_PATIENCE": text})
