"""The flags of summaries, and the values that they make.

Goes in: click's flags. Comes out: frozen options. Does not know: how a summary is made.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from models.registry import language_code
from pipeline.summaries.options import SummaryFormat, SummaryOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., Any]

DEFAULTS = SummaryOptions()
FORMATS: tuple[SummaryFormat, ...] = get_args(SummaryFormat)

_FLAGS = (
    click.option("--llm", metavar="WHERE", help="Who writes it: a server's address, a GGUF file, "
                 "a model's name, none; else TRANSCRIBE_LLM, else what fits."),
    click.option("--style", default=DEFAULTS.style, show_default=True, metavar="NAME",
                 help="general, podcast, meeting, lecture, interview, or a file of prompts."),
    click.option("--summary-language", metavar="LANGUAGE", help="Else the transcript's."),
    click.option("--glossary", metavar="TERMS", help="Names as they are spelt, with commas."),
    click.option("--summary-format", "summary_formats", multiple=True, default=DEFAULTS.formats,
                 type=click.Choice(FORMATS), show_default=True, help="May be given several times."),
)  # fmt: skip


def summary_options(command: Command) -> Command:
    """Every flag of how a summary is made."""
    for add in reversed(_FLAGS):
        command = add(command)
    return command


def wish_option(command: Command) -> Command:
    """`--summary`, and how."""
    flag = click.option("--summary", is_flag=True, help="Afterwards, a language model sums it up.")
    return flag(summary_options(command))


def summary_of(flags: dict[str, Any]) -> SummaryOptions:
    """What is wanted of a summary. Raises BadOption."""
    from pipeline.summaries.styles import load_style

    style: str = flags["style"]
    if os.sep in style:
        style = str(Path(style).absolute())
    load_style(style)
    language: str | None = flags["summary_language"]
    terms = (term.strip() for term in (flags["glossary"] or "").split(","))
    return SummaryOptions(
        llm=_llm(flags["llm"]),
        style=style,
        language=language_code(language) if language else None,
        glossary=tuple(term for term in terms if term),
        formats=tuple(dict.fromkeys(flags["summary_formats"])),
    )


def wish_of(flags: dict[str, Any]) -> SummaryOptions | None:
    """What is wanted, if a summary is. Raises BadOption."""
    return summary_of(flags) if flags["summary"] else None


def _llm(where: str | None) -> str | None:
    """A file's path is the same wherever the work is done."""
    is_file = where and "://" not in where and where.endswith(".gguf")
    return str(Path(where).expanduser().absolute()) if where and is_file else where
