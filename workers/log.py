"""What workers write down: one line an event, with the job that it is about.

Goes in: events. Comes out: lines on stderr, for people or as JSON. Does not know: what happens.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.ledger_records import Claim

    Log = logging.LoggerAdapter[logging.Logger]

OURS = "transcribe"
FOREIGN = (  # and from which level on they are heard
    ("celery", logging.WARNING),  # it tells of every message
    ("kombu", logging.WARNING),
    ("py.warnings", logging.ERROR),  # Celery's, of settings that are as they are on purpose
)
FIELDS = ("job", "stage", "attempt", "file")  # of a record that is about a job
ID_CHARS = 10  # of a job's id in a line for people; the status takes it as well


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How much is written down, and in which form."""

    as_json: bool = False
    verbose: bool = False
    quiet: bool = False  # failures only


def install(options: LogOptions, process: str) -> None:
    """Send this process's log to stderr; `process` names it in every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(process) if options.as_json else _Text(process))
    if not options.verbose:
        handler.addFilter(_without_foreign_tracebacks)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.getLogger(OURS).setLevel(logging.WARNING if options.quiet else level)
    for name, level in FOREIGN:
        logging.getLogger(name).setLevel(logging.INFO if options.verbose else level)


def process_log() -> Log:
    """For events that are about no job."""
    return logging.LoggerAdapter(logging.getLogger(OURS), {})


def job_log(claim: Claim) -> Log:
    """For events of one attempt at a job."""
    from workers.remote import name_of

    about = {
        "job": claim.id,
        "stage": claim.stage,
        "attempt": claim.attempt,
        "file": name_of(claim.job.source),
    }
    return logging.LoggerAdapter(logging.getLogger(OURS), about)


def _without_foreign_tracebacks(record: logging.LogRecord) -> bool:
    """Celery shows where it was when a child was killed, which tells nobody anything."""
    if record.name != OURS:
        record.exc_info = record.exc_text = None
    return True


class _Json(logging.Formatter):
    """One object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, process, what the job is, and the message."""
        event = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "pid": os.getpid(),
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
            "message": _message(self, record),
        }
        return json.dumps(event)


class _Text(logging.Formatter):
    """A line for people."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The time of day, who, the job's id, the message."""
        time = _time(record).astimezone().strftime("%H:%M:%S")
        level = f" {record.levelname.lower()}:" if record.levelno >= logging.WARNING else ""
        job = f" {record.job[:ID_CHARS]}" if hasattr(record, "job") else ""
        return f"{time} {self._process}{job}{level} {_message(self, record)}"


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    return text
