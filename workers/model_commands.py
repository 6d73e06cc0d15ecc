"""`transcribe models`: what fits here, what is at hand, and what would be chosen.

Goes in: arguments. Comes out: a table, or JSON. Does not know: how needs and choices come about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import click

from models.inventory import Inventory, remove, take_stock
from models.registry import language_code
from pipeline.errors import OutOfMemory, TranscribeError
from pipeline.types import Quantisation, SpeechOptions, Task, Wish
from workers.options import GivenPath, display_options, model_dir_option
from workers.session import EXIT_CODES, Session, WithDefault, guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.choose import Choice
    from models.memory import Machine

SPEECH = SpeechOptions()
NOTHING_LOST = "What is half done goes on next time."
_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}
_EXAMPLES = {"English": "en", "another language": "de"}  # German stands for the others


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice, for programs."""

    model: str
    quantisation: Quantisation
    device: str
    batch_size: int
    need_bytes: int
    free_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What `models list --json` prints."""

    inventory: Inventory
    choices: tuple[Chosen, ...]  # for English, for another language; none where nothing fits


@dataclass(frozen=True, slots=True)
class Done:
    """What came of one name."""

    name: str
    path: str | None = None
    freed_bytes: int | None = None
    error: str | None = None
    exit_code: int = 0


class Size(click.ParamType[int]):
    """A number of bytes, such as 6GiB or 512M."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give the bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", str(value).upper())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is no size such as 6GiB or 512M", param, ctx)
        return int(float(found[1]) * _UNITS[found[2]])


class ListByDefault(WithDefault):
    """`transcribe models` means `transcribe models list`."""

    default = "list"
    also_alone = True


@click.group("models", cls=ListByDefault, epilog=EXIT_CODES)
def models_group() -> None:
    """Show, choose, fetch and remove the models; alone it is `models list`."""


@models_group.command("list")
@model_dir_option
@display_options
def list_command(model_dir: Path | None, **flags: Any) -> None:
    """Show every published size: what it needs, whether it fits, whether it is here."""

    def work(session: Session) -> int:
        from pipeline.codec import dumps
        from workers.model_table import show

        machine = _machine(session)
        inventory = take_stock(machine, model_dir or session.settings.weights_dir)
        choices = _choices(machine)
        if session.display.as_json:
            found = tuple(_chosen(one) for one in choices.values() if not isinstance(one, str))
            click.echo(dumps(Overview(inventory, found)))
        else:
            show(session.console, inventory, choices)
        return 0

    guarded(work, flags, NOTHING_LOST)


@models_group.command("choose")
@click.option(
    "--free",
    type=Size(),
    metavar="SIZE",
    help="As if so much were free, such as 6GiB: on a GPU, or with --device cpu in RAM.",
)
@click.option("--language", "-l", metavar="CODE", help="What is spoken; else it is detected first.")
@click.option("--task", type=click.Choice(get_args(Task)), default=SPEECH.task, show_default=True)
@click.option("--wish", type=click.Choice(get_args(Wish)), default=SPEECH.wish, show_default=True)
@click.option("--device", default="auto", show_default=True, metavar="NAME")
@display_options
def choose_command(
    free: int | None, language: str | None, task: Task, wish: Wish, device: str, **flags: Any
) -> None:
    """Say which model would be taken, and why."""

    def work(session: Session) -> int:
        from models.choose import Wanted, choose
        from pipeline.codec import dumps

        code = language_code(language) if language else None
        machine = _machine(session)
        where = device
        if free is not None:
            where = "cuda" if device == "auto" else device
            machine = _as_if(machine, free, where)
        choice = choose(machine, Wanted(code, task, wish, device=where))
        click.echo(dumps(_chosen(choice)) if session.display.as_json else choice.reason)
        return 0

    guarded(work, flags, NOTHING_LOST)


@models_group.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--from",
    "source",
    type=GivenPath(),
    metavar="DIR",
    help="Take OpenAI's .pt files from a folder, for machines without a network.",
)
@model_dir_option
@display_options
def fetch_command(
    names: tuple[str, ...], source: Path | None, model_dir: Path | None, **flags: Any
) -> None:
    """Download models, or take them from a folder, and verify them."""

    def work(session: Session) -> int:
        from models.fetch import FetchOptions
        from models.weights import imported, published, published_row
        from workers.progress import downloads

        folder = model_dir or session.settings.weights_dir
        options = FetchOptions(session.settings.mirror, session.settings.offline)

        def fetch(name: str) -> Done:
            spec, note = published_row(name), session.say
            with downloads(session.console, session.display) as progress:
                if source is None:
                    weights = published(spec, folder, options, note, progress)
                else:
                    weights = imported(spec, source, folder, note, progress)
            return Done(spec.name, path=str(weights.path))

        return _each(names, session, fetch)

    guarded(work, flags, NOTHING_LOST)


@models_group.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@model_dir_option
@display_options
def remove_command(names: tuple[str, ...], model_dir: Path | None, **flags: Any) -> None:
    """Remove models from the disk: OpenAI's file and what was made of it."""

    def work(session: Session) -> int:
        folder = model_dir or session.settings.weights_dir

        def remove_one(name: str) -> Done:
            return Done(name, freed_bytes=remove(name, folder))

        return _each(names, session, remove_one)

    guarded(work, flags, NOTHING_LOST)


def _machine(session: Session) -> Machine:
    from models.memory import look

    return look(session.settings.visible_gpus)


def _as_if(machine: Machine, free_bytes: int, device: str) -> Machine:
    """The machine with another amount of free memory: in RAM, or on a GPU of today."""
    from models.memory import Gpu

    what = "as was said with --free"
    if device == "cpu":
        return replace(machine, ram_free_bytes=free_bytes, ram_reason=what)
    if device == "mps":
        gpu = Gpu(0, what, free_bytes, free_bytes, None, "mps")
    else:
        number = device.removeprefix("cuda:")
        index = int(number) if number.isdecimal() else 0
        gpu = Gpu(index, what, free_bytes, free_bytes, capability=(8, 0))
    return replace(machine, gpus=(gpu,), notes=())


def _chosen(choice: Choice) -> Chosen:
    return Chosen(
        choice.spec.name,
        choice.quantisation,
        choice.device,
        choice.batch_size,
        choice.need_bytes,
        choice.free_bytes,
        choice.reason,
    )


def _choices(machine: Machine) -> dict[str, Choice | str]:
    """What would be chosen for English and for another language, or why nothing."""
    from models.choose import Wanted, choose

    found: dict[str, Choice | str] = {}
    for label, language in _EXAMPLES.items():
        try:
            found[label] = choose(machine, Wanted(language))
        except OutOfMemory as error:
            found[label] = str(error)
    return found


def _each(names: tuple[str, ...], session: Session, work: Callable[[str], Done]) -> int:
    """Do it for each name; a failure stops no other. The exit code tells the worst."""
    from pipeline.codec import dumps
    from workers.batch import worst

    codes = []
    for name in names:
        try:
            done = work(name)
        except TranscribeError as error:
            done = Done(name, error=str(error), exit_code=error.exit_code)
        if session.display.as_json:
            click.echo(dumps(done))
        elif done.error is not None:
            session.complain(done.error)
        elif done.freed_bytes is not None:
            session.say(f"{done.name}: {done.freed_bytes / 1e6:.0f} MB freed")
        else:
            session.say(f"{done.name}: {done.path}")
        codes.append(done.exit_code)
    return worst(codes)
