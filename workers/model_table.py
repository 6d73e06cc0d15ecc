"""How the models of this machine look in a terminal.

Goes in: an inventory, and what would be chosen. Comes out: a table and a few lines. Does not know:
how they came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from models.choose import Choice
    from models.inventory import Inventory, ModelRow
    from pipeline.types import Quantisation

_SHOWN: tuple[Quantisation, ...] = ("float32", "float16", "int8", "int4")
_WIDTH = 100  # characters of the table; numbers that are cut are worse than lines that wrap


def show(console: Console, inventory: Inventory, choices: dict[str, Choice | str]) -> None:
    """Print every row, and the choices, or why there is none."""
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
    console.width = max(console.width, _WIDTH)
    console.print(table)
    click.echo(
        f"\nfloat32 … int4: GiB for one window at a time on {inventory.device}, where "
        f"{_gib(inventory.free_bytes)} are free; ! does not fit. speed: OpenAI's, against "
        "large. hears: how many languages."
    )
    for label, choice in choices.items():
        click.echo(f"{label}: {choice if isinstance(choice, str) else choice.reason}")


def _here(row: ModelRow) -> str:
    kept = (["yes"] if row.on_disk else []) + list(row.quantised)
    return ", ".join(kept) or f"no, {row.download_bytes / 1e6:,.0f} MB"


def _gib(value_bytes: int) -> str:
    return f"{value_bytes / 2**30:.1f}"
