"""A summary to read.

Goes in: a summary. Comes out: Markdown whose only links are our own, to times of the media. Does
not know: files. What models and strangers wrote is escaped for CommonMark, GitHub's and Obsidian's
dialects, and HTML.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from pipeline.summaries.cleaning import visible
from pipeline.summaries.extractive import EXTRACTIVE, NO_SPEECH
from pipeline.summaries.headings import headings
from pipeline.summaries.prompts import clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.summaries.records import Summary, SummaryProvenance

_MARKUP = re.compile(r"[\\`*_{}\[\]#|~$^=]|%(?=%)|(?<=%)%")  # %% begins a comment of Obsidian's
_BLOCK = re.compile(r"^(\s*)([-+]|\d+(?=[.)]))")  # what would begin a list
# www.x.y and https://x: some dialects link them without any brackets
_LINKS = re.compile(r"(?<=\w)([.:])(?=[^\W\d]|/)|(?<=www)\.", re.IGNORECASE)
# GitHub links addresses even when the sign is escaped, and calls people by it.
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "＠"})


def render_markdown(summary: Summary) -> str:
    """The text of `<stem>.summary.md`."""
    return "\n\n".join(block for block in _blocks(summary) if block) + "\n"


def escaped(text: str) -> str:
    """One line that is shown as it is: no markup, no HTML, no link."""
    text = _MARKUP.sub(r"\\\g<0>", visible(text).translate(_HTML))
    text = _LINKS.sub(r"\\\g<0>", text)
    return _BLOCK.sub(_escaped_mark, text)


def _escaped_mark(found: re.Match[str]) -> str:
    space, mark = found.groups()
    return f"{space}\\{mark}" if mark in "-+" else f"{space}{mark}\\"


def _blocks(summary: Summary) -> Iterator[str]:
    yield f"# {escaped(summary.title)}"
    if EXTRACTIVE in summary.provenance.fallbacks:
        yield f"> **{EXTRACTIVE}:** sentences picked from the transcript"
    yield _warning(summary)
    yield escaped(summary.abstract)
    names = headings(summary.provenance.language)
    yield _section(names.points, (_timed(summary, p.start_s, p.text) for p in summary.points))
    yield _section(names.chapters, (_timed(summary, c.start_s, c.title) for c in summary.chapters))
    yield _section(names.actions, _actions(summary))
    yield _section(names.questions, (f"- {escaped(one)}" for one in summary.questions))
    yield _section(names.people, (_named(one.name, one.note) for one in summary.people))
    yield _section(names.terms, (_named(one.name, one.note) for one in summary.terms))
    yield _section(names.topics, [", ".join(map(escaped, summary.topics))] * bool(summary.topics))
    yield "---"
    yield _origin(summary)


def _warning(summary: Summary) -> str:
    """What a reader must know first: speech that is not in this summary."""
    gaps = ", ".join(
        f"{_time(summary, gap.start_s)} to {_time(summary, gap.end_s)}"
        for gap in summary.coverage.missing
    )
    return f"> **Not summarised:** {gaps}." if gaps else ""


def _section(name: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return f"## {name}\n\n{body}" if body else ""


def _timed(summary: Summary, start_s: float, text: str) -> str:
    return f"- {_time(summary, start_s)} {escaped(text)}"


def _time(summary: Summary, time_s: float) -> str:
    """A time as [12:34](talk.mp4#t=754), a media fragment (W3C); without a file, only the time."""
    shown = clock(time_s).removeprefix("0:")
    if summary.media is None:
        return shown
    safe = "" if summary.media.startswith("/") else "/"  # two slashes would lead to another host
    path = quote(summary.media.encode(errors="surrogateescape"), safe=safe)
    return f"[{shown}]({path}#t={int(time_s)})"


def _actions(summary: Summary) -> Iterator[str]:
    for action in summary.actions:
        time = "" if action.start_s is None else f"{_time(summary, action.start_s)} "
        who = f"**{escaped(action.who)}:** " if action.who else ""
        due = f" ({escaped(action.due)})" if action.due else ""
        yield f"- [ ] {time}{who}{escaped(action.text)}{due}"


def _named(name: str, note: str) -> str:
    return f"- **{escaped(name)}**" + (f": {escaped(note)}" if note else "")


def _origin(summary: Summary) -> str:
    """How it was made, in small."""
    made, covered = summary.provenance, summary.coverage
    share = covered.covered_s / covered.speech_s if covered.speech_s else 1.0
    lines = [
        f"Made by {escaped(made.program)} from {escaped(summary.source)}: {_by(made)}.",
        f"Covers {int(share * 100)} % of {clock(covered.speech_s)} of speech"
        + _requests(covered.requests),
        "Written by a machine: look at the times before relying on it." if made.engine else "",
        *(f"Note: {escaped(one)}." for one in made.fallbacks if one not in (EXTRACTIVE, NO_SPEECH)),
    ]
    return "  \n".join(line for line in lines if line)


def _requests(count: int) -> str:
    return (f", in {count} request" + "s" * (count > 1)) * bool(count) + "."


def _by(made: SummaryProvenance) -> str:
    if made.engine is None:
        return NO_SPEECH if NO_SPEECH in made.fallbacks else EXTRACTIVE
    home = f"{escaped(made.engine.model)}, {escaped(made.engine.home)}"
    return f"{home}, prompt {escaped(made.style)} {made.prompt_version}"
