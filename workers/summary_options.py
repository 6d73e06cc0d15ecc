"""The flags of summaries, and the values that they make.

Goes in: click's flags. Comes out: frozen options. Does not know: how a summary is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, get_args

import click

from models.registry import language_code
from pipeline.errors import BadOption
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
    from pipeline.summaries.styles import SUFFIX, load_style

    style: str = flags["style"]
    if os.sep in style or style.endswith(SUFFIX):  # the same wherever the work is done
        style = _absolute(style)
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
    """What is wanted, if a summary is; alone, the flags of how one is made say nothing.

    Raises BadOption.
    """
    wish = summary_of(flags)
    if flags["summary"]:
        return wish
    if wish != DEFAULTS:
        raise BadOption(
            "--llm, --style, --summary-language, --glossary and --summary-format say how a summary "
            "is made: add --summary, or leave them out."
        )
    return None


def _llm(where: str | None) -> str | None:
    """Checked as far as can be without asking; a file's path is the same wherever work is done."""
    from models.llms import find_llm
    from models.text.address import address_of, is_address
    from models.text.files import is_path
    from models.text.opening import AUTO, NONE

    if not where or where in (NONE, AUTO):
        return where or None
    if is_address(where):
        address_of(where)
    elif is_path(where):
        return _absolute(where)
    else:
        find_llm(where)
    return where


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111  - they never raise
