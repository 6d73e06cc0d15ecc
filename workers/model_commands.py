"""`transcribe models`: what fits here, what is at hand, and what would be chosen.

Goes in: arguments. Comes out: a table, or JSON. Does not know: how needs and choices come about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import click

from models.inventory import Inventory, ModelRow, remove, take_stock
from models.registry import find, language_code
from pipeline.errors import OutOfMemory, TranscribeError
from pipeline.types import Quantisation, SpeechOptions, Task, Wish
from workers.options import GivenPath, display_options, model_dir_option
from workers.session import EXIT_CODES, Session, guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.choose import Choice
    from models.memory import Machine

SPEECH = SpeechOptions()
NOTHING_LOST = "What is half done goes on next time."
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
_SHOWN: tuple[Quantisation, ...] = ("float32", "float16", "int8", "int4")
_WIDTH = 100  # characters of the table where no terminal has a width
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


class Size(click.ParamType[int]):
    """A number of bytes, such as 6GiB or 512M."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give the bytes."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", str(value).upper())
        if found is None or found[2] not in _UNITS:
            self.fail(f"{value!r} is no size such as 6GiB or 512M", param, ctx)
        return int(float(found[1]) * _UNITS[found[2]])


@click.group("models", invoke_without_command=True, epilog=EXIT_CODES)
@display_options
@click.pass_context
def models_group(context: click.Context, /, **flags: Any) -> None:
    """Show, choose, fetch and remove the models; alone it is `models list`."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, model_dir=None, **flags)


@models_group.command("list")
@model_dir_option
@display_options
def list_command(model_dir: Path | None, **flags: Any) -> None:
    """Show every published size: what it needs, whether it fits, whether it is here."""

    def work(session: Session) -> int:
        from pipeline.codec import dumps

        machine = _machine(session)
        inventory = take_stock(machine, model_dir or session.settings.weights_dir)
        choices = _choices(machine)
        if session.display.as_json:
            found = tuple(_chosen(one) for one in choices.values() if not isinstance(one, str))
            click.echo(dumps(Overview(inventory, found)))
        else:
            _show(session, inventory, choices)
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
        if free is not None:
            machine = _as_if(machine, free, device)
        choice = choose(machine, Wanted(code, task, wish, device=device))
        if session.display.as_json:
            click.echo(dumps(_chosen(choice)))
        else:
            session.say(choice.reason)
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
        from models.weights import imported, published
        from workers.progress import downloads

        folder = model_dir or session.settings.weights_dir
        options = FetchOptions(session.settings.mirror, session.settings.offline)

        def fetch(name: str) -> str:
            spec, note = find(name), session.say
            with downloads(session.console, session.display) as progress:
                if source is None:
                    weights = published(spec, folder, options, note, progress)
                else:
                    weights = imported(spec, source, folder, note, progress)
            return f"{spec.name}: {weights.path}"

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

        def remove_one(name: str) -> str:
            return f"{name}: {remove(name, folder) / 1e6:.0f} MB freed"

        return _each(names, session, remove_one)

    guarded(work, flags, NOTHING_LOST)


def _machine(session: Session) -> Machine:
    from models.memory import look

    return look(session.settings.visible_gpus)


def _as_if(machine: Machine, free_bytes: int, device: str) -> Machine:
    """The machine with another amount of free memory, on a GPU of today or in RAM."""
    from models.memory import Gpu

    if device == "cpu":
        return replace(machine, ram_free_bytes=free_bytes, ram_reason="as was said with --free")
    gpu = Gpu(0, "as was said with --free", free_bytes, free_bytes, capability=(8, 0))
    return replace(machine, gpus=(gpu,))


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


def _show(session: Session, inventory: Inventory, choices: dict[str, Choice | str]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("model", "size", "speed", "hears", *_SHOWN, "here"):
        is_text = title in ("model", "here")
        table.add_column(title, justify="left" if is_text else "right", no_wrap=is_text)
    for row in inventory.rows:
        needs = {need.quantisation: need for need in row.needs}
        table.add_row(
            row.name,
            f"{row.parameters / 1e6:.0f} M",
            f"{row.relative_speed}x",
            str(row.languages),
            *(_gib(needs[one].need_bytes) + "! "[needs[one].fits] for one in _SHOWN),
            _here(row),
        )
    session.console.print(table, width=None if session.console.is_terminal else _WIDTH)
    session.say(
        f"\nfloat32 … int4: GiB for one window at a time on {inventory.device}, where "
        f"{_gib(inventory.free_bytes)} are free; ! does not fit. speed: OpenAI's, against "
        "large. hears: how many languages."
    )
    for label, choice in choices.items():
        session.say(f"{label}: {choice if isinstance(choice, str) else choice.reason}")


def _here(row: ModelRow) -> str:
    kept = (["yes"] if row.on_disk else []) + list(row.quantised)
    return ", ".join(kept) or f"no, {row.download_bytes / 1e6:,.0f} MB"


def _gib(value_bytes: int) -> str:
    return f"{value_bytes / 2**30:.1f}"


def _each(names: tuple[str, ...], session: Session, work: Callable[[str], str]) -> int:
    """Do it for each name; a failure stops no other. The exit code tells the worst."""
    from workers.batch import worst
    from workers.progress import say

    codes = []
    for name in names:
        try:
            session.say(work(name))
            codes.append(0)
        except TranscribeError as error:
            say(session.console, str(error), "red")
            codes.append(error.exit_code)
    return worst(codes)
