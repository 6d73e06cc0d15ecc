"""Files that failed, with their reasons: `transcribe status --failed`.

Goes in: what this machine's folders remember, and the queue where there is one. Comes out: each
file once, latest first. Does not know: terminals' commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003  - it is printed as JSON with its types
from typing import TYPE_CHECKING

from pipeline.source import display
from workers.follow import exit_code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from pipeline.store import Store
    from pipeline.types import Source
    from workers.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that came to nothing, and is still as it was. This is what `--json` prints."""

    source: Path
    reason: str
    error: str  # the class in pipeline.errors
    exit_code: int
    at_s: float  # since 1970


def failures(store: Store, ledger: Ledger | None, limit: int) -> tuple[Failed, ...]:
    """At most `limit`, latest first. Raises QueueUnavailable."""
    found = {
        job.source.path: Failed(job.source.path, one.reason, one.error, one.exit_code, one.at_s)
        for job, one in store.failures()
    }
    if ledger:
        for record in ledger.records(("failed", "dead"), limit):
            if _is_another_by_now(record.job.source):
                continue
            path, error = record.job.source.path, record.error or ""
            found.setdefault(
                path,
                Failed(path, record.reason or "", error, exit_code(error), record.ended_s or 0.0),
            )
    return tuple(sorted(found.values(), key=lambda one: -one.at_s)[:limit])


def _is_another_by_now(source: Source) -> bool:
    """Whether the file was replaced since; one that cannot be seen here may be there elsewhere."""
    try:
        now = source.path.stat()
    except OSError:
        return False
    return (now.st_size, now.st_mtime_ns) != (source.size_bytes, source.mtime_ns)


def table(failed: Iterable[Failed]) -> RenderableType:
    """For people."""
    from rich.table import Table
    from rich.text import Text

    rows = tuple(failed)
    if not rows:
        return Text("nothing failed")
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("when", no_wrap=True)
    made.add_column("why", overflow="fold")
    for one in rows:
        when = datetime.fromtimestamp(one.at_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
        name, why = display(one.source), display(one.reason)
        made.add_row(when, Text(why if name in why else f"{name}: {why}"))
    return made
