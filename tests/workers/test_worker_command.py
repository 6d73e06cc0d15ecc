"""What `transcribe worker` starts."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pipeline.codec import dumps, loads
from workers.crew import Orders
from workers.worker_command import (
    Stages,
    conversions_for,
    crews,
    devices_for,
    fleet_name,
)

EVERY = Orders("speech", "host-1", Path("/weights"), device="auto", threads=8)


def test_queues_are_taken_in_the_order_of_the_work():
    assert Stages().convert(" speech, convert", None, None) == ("convert", "speech")


def test_an_unknown_queue_is_refused_with_those_there_are():
    with pytest.raises(click.BadParameter, match="tv: choose of convert, speech, text"):
        Stages().convert("convert,tv", None, None)


def test_one_process_a_gpu_hears():
    assert devices_for("auto", 3) == ("cuda:0", "cuda:1", "cuda:2")
    assert devices_for("auto", 1) == ("auto",)
    assert devices_for("auto", 0) == ("auto",)
    assert devices_for("cuda:1", 3) == ("cuda:1",)
    assert devices_for("cpu", 3) == ("cpu",)


def test_conversions_leave_most_cores_to_those_who_hear():
    assert [conversions_for(cores) for cores in (1, 2, 8, 16, 256)] == [1, 1, 2, 4, 8]


def test_each_stage_has_a_crew_and_hearing_one_a_device():
    made = crews(("convert", "speech", "text"), EVERY, 4, ("cuda:0", "cuda:1"))
    assert [one.name for one in made] == [
        "convert@host-1",
        "speech-cuda0@host-1",
        "speech-cuda1@host-1",
        "text@host-1",
    ]
    converts, first, second, _ = made
    assert (converts.processes, converts.device, converts.threads) == (4, "cpu", 1)
    assert [(one.processes, one.device, one.threads) for one in (first, second)] == [
        (1, "cuda:0", 8),
        (1, "cuda:1", 8),
    ]


def test_a_stage_that_is_not_served_has_no_crew():
    assert [one.stage for one in crews(("text",), EVERY, 1, ("cpu",))] == ["text"]


def test_orders_survive_json():
    assert loads(dumps(EVERY), Orders) == EVERY


def test_no_two_workers_have_a_name():
    assert fleet_name() != fleet_name()
