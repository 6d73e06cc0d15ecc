"""`transcribe doctor`: whether all is here that the work needs.

Goes in: settings. Comes out: one line a finding, each bad one with its remedy, and an exit code.
Does not know: how to mend anything.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from models.fetch import FetchOptions
from models.weights import canonical
from pipeline.errors import MachineError, TranscribeError
from pipeline.version import __version__
from workers.options import display_options
from workers.session import EXIT_CODES, Session, guarded
from workers.web import WebOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from models.memory import Machine
    from workers.settings import Settings

ANSWER_S = 3.0  # within which a server on one's own network answers
LEAST_FREE_BYTES = 2**30  # an hour of sound takes 0.1 GB, and a model up to 3
State = Literal["good", "bad", "note"]
_STYLES = {"good": "green", "bad": "red", "note": "dim"}
_MARKS = {"good": "ok", "bad": "BAD", "note": "-"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    found: str
    remedy: str = ""  # for what is bad


@click.command("doctor", epilog=EXIT_CODES)
@display_options
def doctor_command(**flags: Any) -> None:
    """Check ffmpeg, GPU, memory, folders, models and servers; 3 if anything is bad."""

    def work(session: Session) -> int:
        from pipeline.codec import dumps

        findings = tuple(examine(session.settings))
        if session.display.as_json:
            click.echo(dumps(findings))
        width = max(len(finding.what) for finding in findings)
        for finding in () if session.display.as_json else findings:
            line = f"{_MARKS[finding.state]:<3}  {finding.what:<{width}}  {finding.found}"
            if finding.state == "bad":
                session.complain(f"{line}\n     {'':<{width}}  → {finding.remedy}")
            else:
                session.say(line, _STYLES[finding.state])
        bad = any(finding.state == "bad" for finding in findings)
        return MachineError.exit_code if bad else 0

    guarded(work, flags, "Nothing was changed.")


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, the foundations first."""
    from models.memory import look

    yield Finding("transcribe", "good", __version__)
    yield program("ffmpeg")
    yield program("ffprobe")
    machine = look(settings.visible_gpus)
    yield from gpus(machine)
    yield memory(machine)
    yield folder("jobs", settings.home, "TRANSCRIBE_HOME")
    yield folder("models", settings.weights_dir, "TRANSCRIBE_WEIGHTS")
    yield from asked(settings)
    yield from chosen(machine, settings)
    yield from redis(settings.redis_url)
    yield llm(settings)


def program(name: str) -> Finding:
    """A program on the PATH, and its version."""
    remedy = "install ffmpeg, for example: sudo apt-get install ffmpeg"
    if shutil.which(name) is None:
        return Finding(name, "bad", "is not installed, or not on the PATH", remedy)
    try:
        done = subprocess.run([name, "-version"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, "bad", f"does not start: {error}", remedy)
    words = done.stdout.decode(errors="replace").split()
    return Finding(name, "good", " ".join(words[1:3]))


def gpus(machine: Machine) -> Iterator[Finding]:
    """Each GPU, and what is to be known of those that are not used."""
    for gpu in machine.gpus:
        free = f"{_gib(gpu.free_bytes)} of {_gib(gpu.total_bytes)} GiB free"
        yield Finding(gpu.device, "good", f"{gpu.name}, {free}")
    if not machine.gpus:
        yield Finding("GPU", "note", "none that torch can use: the CPU will work")
    for text in machine.notes:
        yield Finding("GPU", "note", text)


def memory(machine: Machine) -> Finding:
    """Free RAM."""
    free = f"{_gib(machine.ram_free_bytes)} of {_gib(machine.ram_total_bytes)} GiB free"
    return Finding("RAM", "good", f"{free} ({machine.ram_reason})")


def folder(what: str, path: Path, variable: str) -> Finding:
    """Whether a folder can be written, and how much room is left."""
    remedy = f"allow writing there, or set {variable} to another folder"
    try:
        there = next(one for one in (path, *path.parents) if one.exists())
        probe = there / ".transcribe-doctor"
        probe.touch()
        probe.unlink()
        free_bytes = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(what, "bad", f"{path} cannot be written: {error.strerror}", remedy)
    room = f"{path}, {_gib(free_bytes)} GiB free"
    if free_bytes < LEAST_FREE_BYTES:
        return Finding(what, "bad", room, f"make room, or set {variable} to another folder")
    return Finding(what, "good", room)


def asked(settings: Settings) -> Iterator[Finding]:
    """What the environment says of models, where it says something."""
    if settings.model is not None:
        yield _tried("TRANSCRIBE_MODEL", settings.model, lambda: canonical(settings.model or ""))
    if settings.mirror is not None:
        yield _tried("mirror", settings.mirror, lambda: FetchOptions(settings.mirror))
    if own := settings.own_networks:
        yield _tried(
            "TRANSCRIBE_OWN_NETWORKS", ", ".join(own), lambda: WebOptions(own_networks=own)
        )


def _tried(what: str, value: str, attempt: Callable[[], object]) -> Finding:
    try:
        attempt()
    except TranscribeError as error:
        return Finding(what, "bad", str(error), "change the variable, or unset it")
    return Finding(what, "good", value)


def chosen(machine: Machine, settings: Settings) -> Iterator[Finding]:
    """What would be chosen for English and for another language, and whether it is here."""
    from models.choose import Wanted, choose
    from models.inventory import is_here

    for what, language in (("for English", "en"), ("for others", "de")):
        try:
            choice = choose(machine, Wanted(language))
        except TranscribeError as error:
            yield Finding(what, "bad", str(error), "close other programs, or take --model tiny")
            continue
        name = choice.spec.name
        if is_here(choice.spec, choice.quantisation, settings.weights_dir):
            yield Finding(what, "good", choice.reason)
        elif settings.offline:
            fetch = f"on another machine: transcribe models fetch {name}; then here with --from"
            yield Finding(what, "bad", f"{choice.reason}; not here, and downloads are off", fetch)
        else:
            yield Finding(what, "note", f"{choice.reason}; will be downloaded when it is needed")


def redis(url: str | None) -> Iterator[Finding]:
    """Whether the queue's server answers, and whether jobs are safe there.

    Where none was named, nobody may want a queue: then nothing is bad.
    """
    from workers.app import redis_url
    from workers.connection import connect, problems, redis_errors

    try:
        client = connect(redis_url(url))
        found = problems(client)
        with redis_errors():
            version = client.info("server")["redis_version"]
    except TranscribeError as error:
        if url is None:
            yield Finding("Redis", "note", "none here (TRANSCRIBE_REDIS_URL); the queue needs it")
        else:
            yield _split("Redis", "bad", str(error).removesuffix("."))
        return
    yield Finding("Redis", "good", f"answers, version {version}")
    for problem in found:
        yield _split("Redis", "bad" if url else "note", problem)


def _split(what: str, state: State, text: str) -> Finding:
    """What is wrong, and behind the last colon what to do."""
    found, _, remedy = text.rpartition(": ")
    return Finding(what, state, found, remedy)


def llm(settings: Settings) -> Finding:
    """Whether the language model for summaries is there."""
    from models.text.address import is_address
    from models.text.opening import AUTO, NONE

    where = settings.llm
    if where == NONE:
        return Finding("LLM", "note", "none is wanted (TRANSCRIBE_LLM): summaries are extractive")
    try:
        if where and is_address(where):
            return _llm_server(where, settings.llm_key)
        return _llm_here(where or AUTO, settings)
    except TranscribeError as error:
        if where is None:  # nobody may want summaries
            return Finding("LLM", "note", f"{str(error).removesuffix('.')} (only for summaries)")
        return _split("LLM", "bad", str(error).removesuffix("."))


def _llm_server(where: str, key: str | None) -> Finding:
    """Raises BadOption, ModelUnavailable, TextEngineFailed."""
    from models.text.address import address_of
    from models.text.chat import connect
    from models.text.wire import Patience

    patience = Patience(ANSWER_S, silence_s=ANSWER_S, total_s=ANSWER_S, pauses_s=())
    return Finding(
        "LLM", "good", connect(address_of(where, key), None, patience).description.reason
    )


def _llm_here(where: str, settings: Settings) -> Finding:
    """Raises BadOption, ModelUnavailable, BadCheckpoint."""
    from models.llms import LLMS, find_llm
    from models.text import gguf
    from models.text.files import is_path, own_path, path_here
    from models.text.llama import require_library
    from models.text.opening import AUTO

    if is_path(where):
        require_library()
        return Finding("LLM", "good", str(gguf.read(own_path(where)).path))
    specs = LLMS if where == AUTO else (find_llm(where),)
    require_library()
    folder = settings.weights_dir
    here = [spec.name for spec in specs for file in spec.gguf_files if path_here(file, folder)]
    if here:
        return Finding("LLM", "good", f"here: {', '.join(dict.fromkeys(here))}")
    name = "what fits" if where == AUTO else where
    if settings.offline:
        remedy = "give a server's address or a GGUF file, or unset TRANSCRIBE_OFFLINE"
        state: State = "note" if settings.llm is None else "bad"
        return Finding("LLM", state, f"{name}: not here, and downloads are off", remedy)
    return Finding("LLM", "note", f"{name} will be downloaded when the first summary is wanted")


def _gib(value_bytes: int) -> str:
    return f"{value_bytes / 2**30:.1f}"
