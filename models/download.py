"""Fills a part from a web server, over as many connections as it takes.

Goes in: an address, and what has arrived already. Comes out: the part, as long as it should be.
Does not know: whether the bytes are the right ones, where the file goes.
"""

from __future__ import annotations

import re
import ssl
import time
from contextlib import contextmanager
from http import HTTPStatus
from http.client import IncompleteRead
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import Response

    from models.fetch import FetchOptions, Note, Progress, RemoteFile
    from models.part import Part

_READ_BYTES = 1 << 18  # at once, at most
IN_BETWEEN = "something in between answered, such as a login page, or the mirror is a wrong one"
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}  # and all from 500 on


class Undelivered(Exception):
    """Why the server does not give the file: a phrase for a person."""


class _Interrupted(Exception):
    """Why a connection ended too early; the next may go on from there."""


def download(
    file: RemoteFile, url: str, part: Part, options: FetchOptions, note: Note, progress: Progress
) -> None:
    """Fill the part to its end. Raises Undelivered, StorageFailed, OSError (the disk's)."""
    reached_bytes, pauses = part.size_bytes, iter(options.first_pauses_s)
    while part.size_bytes != file.file_bytes:
        try:
            _load(file, url, part, options.stall_s, progress)
        except _Interrupted as error:
            if part.size_bytes > reached_bytes:
                reached_bytes, pauses = part.size_bytes, iter(options.pauses_s)
            pause_s = next(pauses, None)
            if pause_s is None:
                raise Undelivered(str(error)) from error
            note(f"{host_of(url)}: {error}; trying again in {pause_s:g} s")
            time.sleep(pause_s)
        else:
            return


def host_of(url: str) -> str:
    """Who is asked, without the password that an address may carry."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _load(file: RemoteFile, url: str, part: Part, stall_s: float, progress: Progress) -> None:
    """All that is missing, over one connection."""
    with _answer(url, _headers(file, part), stall_s) as response:
        _check_status(response, part)
        first_byte = _first_byte(response)
        total_bytes = _total_bytes(file, response, first_byte)
        _align(file, response, part, first_byte)
        part.ensure_room(total_bytes)
        progress(part.size_bytes, total_bytes)
        for data in _body(response):
            if part.size_bytes + len(data) > total_bytes:
                part.restart()
                raise Undelivered(f"more was sent than the {total_bytes} bytes of the file")
            part.append(data)
            progress(part.size_bytes, total_bytes)
    if part.size_bytes < total_bytes:
        raise _Interrupted(f"only {part.size_bytes} of {total_bytes} bytes were sent")


def _headers(file: RemoteFile, part: Part) -> dict[str, str]:
    """Ask for what is missing. Without a SHA-256, the ETag tells whether it is still one file."""
    headers = {"Accept-Encoding": "identity"}
    etag = None if file.sha256 else part.etag
    is_too_long = file.file_bytes is not None and part.size_bytes > file.file_bytes
    if is_too_long or not (file.sha256 or etag):
        part.restart()
    if part.size_bytes:
        headers["Range"] = f"bytes={part.size_bytes}-"
        if etag:
            headers["If-Range"] = etag
    return headers


@contextmanager
def _answer(url: str, headers: dict[str, str], stall_s: float) -> Iterator[Response]:
    """Proxies, certificates and redirects are the requests library's business."""
    import requests

    with _network_errors():
        response = requests.get(url, headers=headers, stream=True, timeout=stall_s)
    with response:
        yield response


def _check_status(response: Response, part: Part) -> None:
    status = response.status_code
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.restart()
        raise _Interrupted("the file there ends before what has arrived")
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        phrase = next((known.phrase for known in HTTPStatus if known == status), "")
        is_passing = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        raise (_Interrupted if is_passing else Undelivered)(f"HTTP {status} {phrase}".rstrip())
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise Undelivered(f"a web page came in its place; {IN_BETWEEN}")


def _first_byte(response: Response) -> int:
    """Where in the file the answer begins."""
    if response.status_code == HTTPStatus.OK:
        return 0
    said = re.match(r"bytes (\d{1,18})-", response.headers.get("Content-Range", ""))
    if said is None:
        raise Undelivered("it does not say which piece of the file it sent")
    return int(said[1])


def _total_bytes(file: RemoteFile, response: Response, first_byte: int) -> int:
    """The file's length; the server's and the published one must agree."""
    said = re.fullmatch(r"\d{1,18}", response.headers.get("Content-Length", ""))
    offered_bytes = None if said is None else first_byte + int(said[0])
    total_bytes = offered_bytes if file.file_bytes is None else file.file_bytes
    if total_bytes is None:
        raise Undelivered("it does not say how long the file is")
    if offered_bytes not in (None, total_bytes):
        raise Undelivered(
            f"{offered_bytes} bytes are offered instead of {total_bytes}; {IN_BETWEEN}"
        )
    return total_bytes


def _align(file: RemoteFile, response: Response, part: Part, first_byte: int) -> None:
    """Make the part end where the answer begins."""
    if first_byte != part.size_bytes:
        part.restart()
        if first_byte > 0:
            raise _Interrupted("another piece was sent than was asked for")
    part.is_pieced = first_byte > 0
    etag = response.headers.get("ETag", "")
    if file.sha256 is None and etag.startswith('"'):  # a weak one cannot be asked for with If-Range
        part.etag = etag


def _body(response: Response) -> Iterator[bytes]:
    """What has come so far, piece by piece; `iter_content` would lose the last piece of a cut."""
    with _network_errors():
        while data := response.raw.read1(_READ_BYTES, decode_content=False):
            yield data


@contextmanager
def _network_errors() -> Iterator[None]:
    """Tell what may pass from what stays, each by its innermost cause."""
    from requests import ConnectionError as NoConnection
    from requests import Timeout
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (NoConnection, Timeout, HTTPError) as error:
        cause = _innermost(error)
        said = "the connection broke off" if isinstance(cause, IncompleteRead) else str(cause)
        stays = isinstance(cause, ssl.SSLCertVerificationError)
        raise (Undelivered if stays else _Interrupted)(said) from error
    except (OSError, ValueError) as error:  # requests' other errors are OSErrors
        raise Undelivered(str(_innermost(error))) from error


def _innermost(error: BaseException) -> BaseException:
    """An error is wrapped up to four times by urllib3 and requests; the first one is for people."""
    wrapped = [error.__cause__, *error.args]
    inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
    return error if inner is None else _innermost(inner)
