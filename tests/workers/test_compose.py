"""The containers' files, as far as they can be tried without an engine to run them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path

import click
import pytest

from workers import settings
from workers.connection import problems
from workers.queue_commands import QUEUE_COMMANDS
from workers.watch_command import watch_command
from workers.worker_command import worker_command

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "compose.yaml").read_text()
DOCKERFILE = (ROOT / "workers" / "Dockerfile").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
HAS_COMPOSE = (
    shutil.which("docker") is not None
    and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    .returncode == 0
)  # fmt: skip


def commands():
    """What is run in the containers, by service."""
    found = re.findall(r"^  ([\w-]+):\n(?:    .*\n)*?    command: (\[.*?\])", COMPOSE, re.MULTILINE)
    return {service: json.loads(command) for service, command in found}


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.skipif(not HAS_COMPOSE, reason="docker compose is not installed")
@pytest.mark.parametrize("profile", ["cpu", "gpu", "text", "watch"])
def test_docker_itself_can_read_it(profile):
    check = ["docker", "compose", "--profile", profile, "config", "--quiet"]
    subprocess.run(check, cwd=ROOT, check=True)


def test_every_service_has_a_command():
    services = COMPOSE.split("\nservices:\n")[1].split("\nvolumes:\n")[0]
    assert set(re.findall(r"^  ([\w-]+):", services, re.MULTILINE)) == set(commands())
    assert {"redis", "convert", "speech", "speech-gpu", "text"} <= set(commands())


@pytest.mark.parametrize("service", [name for name in commands() if name != "redis"])
def test_every_command_of_ours_is_one_that_the_program_takes(service):
    known = {command.name: command for command in (*QUEUE_COMMANDS, worker_command, watch_command)}
    name, *arguments = commands()[service]
    with click.Context(click.Group("transcribe")) as parent:
        known[name].make_context(name, arguments, parent=parent)


def test_the_workers_serve_every_stage_between_them():
    served = {
        arguments[arguments.index("--queues") + 1]
        for arguments in commands().values()
        if "--queues" in arguments
    }
    assert served == {"convert", "speech", "text"}


def test_a_redis_with_these_flags_is_one_to_trust_with_a_queue(start_redis):
    durable = re.search(r"^DURABLE := (.*)$", MAKEFILE, re.MULTILINE)[1].split()
    for flags in (commands()["redis"][1:], durable):
        port = free_port()
        with start_redis(f"redis://127.0.0.1:{port}/0", "--port", str(port), *flags) as server:
            assert problems(server.client) == ()


def test_every_variable_is_one_that_the_settings_read():
    named = set(re.findall(r"TRANSCRIBE_\w+", COMPOSE + DOCKERFILE))
    assert named <= set(re.findall(r"TRANSCRIBE_\w+", Path(settings.__file__).read_text()))


def test_all_that_is_copied_into_the_image_is_there():
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert {"pyproject.toml", "pipeline", "models", "workers"} <= set(names)
    assert all((ROOT / name).exists() for name in names)


def test_nothing_runs_as_root_and_a_worker_is_given_time_to_hand_back_its_jobs():
    assert re.search(r"^USER \d+:\d+$", DOCKERFILE, re.MULTILINE)
    assert 'user: "${OWNER:-1000:1000}"' in COMPOSE
    patience_s = int(re.search(r"stop_grace_period: (\d+)s", COMPOSE)[1])
    grace_s = next(one for one in worker_command.params if one.name == "grace_s").default
    assert patience_s >= grace_s + 10
