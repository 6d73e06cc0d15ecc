"""Media from a web server, in the home of whoever works on them.

Goes in: an address. Comes out: a file, whole or not at all, for as long as it is borrowed. Does not
know: what is in it, which job wants it, what the network is made of.

    <home>/remote/<hash of the address>/   lock  talk.mp3

In a job, a source of no bytes stands for a file that is still to come; its path tells from where.
A file that is let go stays as an empty one: its subtitles keep belonging to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from models.part import open_part
from pipeline.errors import BadOption, Busy, NoSuchFile, NotMedia, Undelivered, Unreadable
from pipeline.files import locked_folder, storage_errors
from pipeline.source import display, take
from pipeline.types import Source
from workers.web import get, normal, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.part import Part
    from pipeline.types import Job
    from workers.web import Answer, Resolve, WebOptions

_ELSEWHERE = "/remote"  # the folder of what is on no machine of ours
_STEM_BYTES, _SUFFIX_BYTES = 150, 20  # room for what naming and a growing file add
_GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}  # and all from 500 on
HEED_EVERY_S = 0.5
_BEYOND = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
_USABLE = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, _BEYOND}


def is_address(text: str) -> bool:
    """Whether somebody means a web server's file, not one of this machine."""
    return text.lower().startswith(("http:", "https:"))


def expected(url: str) -> Source:
    """What stands for the file in a job until a worker has fetched it. Raises BadOption."""
    url = normal(url)
    return Source(Path(_ELSEWHERE, quote(url, safe=""), _name_of(url)), size_bytes=0, mtime_ns=0)


def address_of(source: Source) -> str | None:
    """Where the file is to come from; None when it is on this machine, where none is empty."""
    return None if source.size_bytes else unquote(source.path.parent.name)


def name_of(source: Source) -> str:
    """What people call the file."""
    return address_of(source) or str(source.path)


@contextmanager
def brought(
    job: Job,
    home: Path,
    options: WebOptions,
    heed: Callable[[], None],
    resolve: Resolve = numbers_of,
) -> Iterator[Job]:
    """The job, with its file on this machine for as long as the `with` lasts; see `borrowed`."""
    url = address_of(job.source)
    if url is None:
        yield job
        return
    with borrowed(url, home, options, heed, resolve) as path:
        yield replace(job, source=take(path))


@contextmanager
def borrowed(
    url: str,
    home: Path,
    options: WebOptions,
    heed: Callable[[], None],
    resolve: Resolve = numbers_of,
) -> Iterator[Path]:
    """The file, downloaded unless it is there; nobody lets it go while the `with` lasts.

    `heed` is called each second, and may raise to stop the download, which goes on next time.
    Raises BadOption, NoSuchFile, Unreadable, NotMedia, Undelivered, StorageFailed; Busy when
    another process is downloading it.
    """
    target = place_of(normal(url), home)
    with locked_folder(target.parent, fcntl.LOCK_SH) as held:
        if not held:
            raise _busy(url)
        if not _is_here(target):
            _attended(lambda check: _download(url, target, options, check, resolve), heed)
        yield target


def let_go(url: str, home: Path) -> None:
    """Free the disk, unless somebody is borrowing the file; then that one will do it."""
    target = place_of(normal(url), home)
    with locked_folder(target.parent) as held:
        if held and _is_here(target):
            os.truncate(target, 0)


def place_of(url: str, home: Path) -> Path:
    """Where the file of an address is, or will be; the address is a `normal` one."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:24]
    return home / "remote" / digest / _name_of(url)


def _name_of(url: str) -> str:
    """Names come from strangers: no separator, no hidden file, nothing that looks like a flag."""
    last = unquote(urlsplit(url).path, errors="replace").rpartition("/")[2]
    name = Path(re.sub(r"[^\w .()+-]", "_", last).strip(" .-") or "media")
    stem, suffix = _cut(name.stem, _STEM_BYTES), _cut(name.suffix, _SUFFIX_BYTES)
    return f"{stem}{suffix}"


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


def _is_here(target: Path) -> bool:
    return target.is_file() and target.stat().st_size > 0


def _busy(url: str) -> Busy:
    return Busy(f"{display(url)} is being fetched by another worker: let that finish.")


def _attended(work: Callable[[Callable[[], None]], None], heed: Callable[[], None]) -> None:
    """Work in another thread, since nobody is heeded while a server is silent.

    What `heed` raises is raised here. The work is given a function that raises from then on.
    """
    left, ended = Event(), Future[None]()

    def check() -> None:
        if left.is_set():
            raise CancelledError

    def go() -> None:
        try:
            work(check)
        except BaseException as error:  # noqa: BLE001  - raised by whoever waits
            ended.set_exception(error)
        else:
            ended.set_result(None)

    Thread(target=go, name="download", daemon=True).start()
    try:
        while not wait((ended,), HEED_EVERY_S).done:
            heed()
    finally:
        left.set()
    ended.result()


def _download(
    url: str, target: Path, options: WebOptions, check: Callable[[], None], resolve: Resolve
) -> None:
    """A cut connection is followed by another one, as long as each brings something new."""

    def somebody_else_does() -> None:
        raise _busy(url)

    ends_s = time.monotonic() + options.most_s
    with storage_errors(target), open_part(target, somebody_else_does) as part:
        is_whole = _is_here(target)  # somebody else has just brought it
        while not is_whole:
            check()
            before_bytes = part.size_bytes
            try:
                with get(url, _headers(part), options, ends_s, resolve) as answer:
                    _receive(url, answer, part, options.most_bytes, check)
                is_whole = True
            except Undelivered:
                if part.size_bytes <= before_bytes:
                    raise
        if not _is_here(target):
            target.unlink(missing_ok=True)  # the empty one
            part.publish()


def _headers(part: Part) -> dict[str, str]:
    """Ask for what is missing; the ETag tells whether it is still one file."""
    if not part.etag:
        part.restart()
    if not part.size_bytes:
        return {}
    return {"Range": f"bytes={part.size_bytes}-", "If-Range": part.etag or ""}


def _receive(
    url: str, answer: Answer, part: Part, most_bytes: int, check: Callable[[], None]
) -> None:
    """Put the answer into the part. Raises when it is not what was asked for, or not all of it."""
    _check_kind(url, answer)
    _align(url, answer, part)
    least_bytes = part.size_bytes + (answer.length_bytes or 0)
    _check_size(url, least_bytes, most_bytes, part)
    part.ensure_room(least_bytes)
    for data in answer.pieces:
        part.append(data)
        _check_size(url, part.size_bytes, most_bytes, part)
        check()
    if part.size_bytes < least_bytes:
        raise Undelivered(f"{display(url)}: the connection broke off: try again later.")
    if part.size_bytes == 0:
        raise NotMedia(f"{display(url)} is empty: check the address.")


def _check_kind(url: str, answer: Answer) -> None:
    status = answer.status
    told = f"{display(url)}: HTTP {status} {display(answer.reason)}".rstrip()
    if status in _GONE:
        raise NoSuchFile(f"{told}: check the address.")
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Undelivered(f"{told}: try again later.")
    if status not in _USABLE:
        raise Unreadable(f"{told}: fetch the file yourself.")
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise NotMedia(f"{display(url)} is a web page: give the address of the media file in it.")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise NotMedia(f"{display(url)} is sent compressed, unasked: fetch the file yourself.")


def _align(url: str, answer: Answer, part: Part) -> None:
    """Make the part end where the answer begins."""
    if answer.status == _BEYOND:
        part.restart()
        raise Undelivered(f"{display(url)} ends before what has come of it: try again.")
    if answer.status == HTTPStatus.OK:
        part.restart()
        etag = answer.headers.get("ETag", "")
        part.etag = etag if etag.startswith('"') else None  # a weak one promises too little
        return
    begins = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if begins != str(part.size_bytes):
        part.restart()
        raise Undelivered(f"{display(url)}: another piece came than was asked for: try again.")


def _check_size(url: str, size_bytes: int, most_bytes: int, part: Part) -> None:
    if size_bytes > most_bytes:
        part.restart()
        raise BadOption(
            f"{display(url)} is larger than {most_bytes / 1e9:g} GB: fetch the file yourself."
        )
