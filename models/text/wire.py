"""One question to a web server, with every kind of patience bounded.

Goes in: an address, a question, how long to wait for what. Comes out: the reply's status and lines.
Does not know: language models, what the lines mean.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from queue import Empty
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from models.text.line import Item, Line, Question, WireFailed, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from queue import SimpleQueue

    from models.text.address import Address

_T = TypeVar("_T")
_MOST_WORDS = 300  # of a server's own message
# What may pass: too many at once, a restart, a model that is still being loaded (llama.cpp: 503).
_PASSING = (
    *(HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR),
    *(HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT),
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, and how much, before a server is given up."""

    connect_s: float = 10.0
    silence_s: float = 900.0  # a long question is read for minutes before the first word comes
    total_s: float = 7200.0  # for one answer, all tries together, however steadily it drips
    answer_bytes: int = 16 << 20  # 16 000 words that are thought aloud arrive in a quarter of that
    pauses_s: tuple[float, ...] = (1, 2, 4, 8)  # before each next try
    longest_pause_s: float = 60.0  # whatever the server asks for
    beat_s: float = 1.0  # between two calls of `heed`


def within(total_s: float | None) -> Patience:
    """Patience that ends after so long; None: the usual."""
    if total_s is None:
        return Patience()
    return Patience(silence_s=min(total_s, Patience().silence_s), total_s=total_s)


def ask(
    address: Address,
    question: Question,
    read: Callable[[Reply], _T],
    patience: Patience,
    heed: Callable[[], None],
) -> _T:
    """What `read` makes of the reply; asked again, a few times, where that may help.

    Raises WireFailed, and what `heed` and `read` raise.
    """
    pauses = iter(patience.pauses_s)
    end_s = time.monotonic() + patience.total_s
    while True:
        try:
            with _asked(address, question, patience, heed) as reply:
                reply.refuse_errors()
                return read(reply)
        except WireFailed as error:
            pause_s = next(pauses, None) if error.may_pass else None
            if pause_s is None:
                raise
            pause_s = min(error.pause_s or pause_s, patience.longest_pause_s)
            left_s = end_s - time.monotonic() - pause_s
            if left_s <= 0:
                raise
            _rest(pause_s, patience.beat_s, heed)
            patience = replace(patience, total_s=left_s)


class Reply:
    """What a server sends; the status is known, the rest is still coming."""

    def __init__(self, mail: _Mail) -> None:
        self._mail = mail
        self.status, self.headers = mail.head()

    @property
    def content_type(self) -> str:
        """Without its parameters, in small letters; empty when it is not said."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def refuse_errors(self) -> None:
        """Raise WireFailed for whatever is no plain answer."""
        if self.status == HTTPStatus.OK:
            return
        if HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST:
            target = _words(self.headers.get("location", "nowhere").encode())
            raise WireFailed(
                f"sends us on to {target}, which is not followed; if that is right, give that "
                "address",
                status=self.status,
            )
        phrase = next((known.phrase for known in HTTPStatus if known == self.status), "")
        said = _message(b"\n".join(self.lines()))
        retry_after = self.headers.get("retry-after", "").strip()
        raise WireFailed(
            f"answers HTTP {self.status} {phrase}".rstrip() + (f": {said}" if said else ""),
            status=self.status,
            may_pass=self.status in _PASSING,
            pause_s=float(retry_after[:9]) if retry_after.isdecimal() else None,
        )

    def lines(self) -> Iterator[bytes]:
        """Line by line, without line ends, as they come. Raises WireFailed."""
        pieces: list[bytes] = []
        for data in self._mail.data():
            first, *others = data.split(b"\n")
            pieces.append(first)
            for other in others:
                yield b"".join(pieces).rstrip(b"\r")
                pieces = [other]
        if any(pieces):
            yield b"".join(pieces)


@contextmanager
def _asked(
    address: Address, question: Question, patience: Patience, heed: Callable[[], None]
) -> Iterator[Reply]:
    """The reply, read in a thread; the line is cut at the end, whatever is still on it."""
    line = Line(address, question, patience.connect_s, patience.silence_s)
    thread = Thread(target=line.converse, name="language model", daemon=True)
    thread.start()
    try:
        yield Reply(_Mail(line.mail, patience, heed))
    finally:
        line.cut()


class _Mail:
    """What the line's thread has brought, watched by the clock."""

    def __init__(
        self, items: SimpleQueue[Item], patience: Patience, heed: Callable[[], None]
    ) -> None:
        self._items = items
        self._patience = patience
        self._heed = heed
        self._began_s = self._came_s = time.monotonic()
        self._heeded_s = float("-inf")
        self._bytes = 0

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers."""
        item = self._next()
        if not isinstance(item, tuple):
            raise failure(item if isinstance(item, Exception) else None)
        return item

    def data(self) -> Iterator[bytes]:
        """The body as it comes."""
        while (item := self._next()) is not None:
            if not isinstance(item, bytes):
                raise failure(item if isinstance(item, Exception) else None)
            self._bytes += len(item)
            if self._bytes > self._patience.answer_bytes:
                raise WireFailed(f"sent more than {self._patience.answer_bytes} bytes")
            yield item

    def _next(self) -> Item:
        while True:
            self._watch()
            with suppress(Empty):
                item = self._items.get(timeout=self._patience.beat_s)
                self._came_s = time.monotonic()
                return item

    def _watch(self) -> None:
        now_s = time.monotonic()
        if now_s - self._heeded_s >= self._patience.beat_s:
            self._heed()
            self._heeded_s = now_s
        if now_s - self._came_s > self._patience.silence_s:
            raise WireFailed(f"was silent for {self._patience.silence_s:g} s", is_away=True)
        if now_s - self._began_s > self._patience.total_s:
            raise WireFailed(f"was not done after {round(self._patience.total_s, 1):g} s")


def _message(body: bytes) -> str:
    """The words in a server's error: {"error": {"message"}}, {"error"}, {"message"}, or text."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return "" if b"<" in body[:_MOST_WORDS] else _words(body)
    return words_of(said) or _words(body)


def words_of(said: object) -> str:
    """The words in an error that came as JSON; empty: there are none."""
    for key in ("error", "message", "detail"):
        if isinstance(said, dict) and key in said:
            said = said[key]
    return _words(said.encode()) if isinstance(said, str) else ""


def _words(text: bytes) -> str:
    """One line that can be shown on a terminal."""
    line = " ".join(text.decode(errors="replace").split())[:_MOST_WORDS]
    return "".join(character for character in line if character.isprintable())


def _rest(pause_s: float, beat_s: float, heed: Callable[[], None]) -> None:
    end_s = time.monotonic() + pause_s
    while (left_s := end_s - time.monotonic()) > 0:
        heed()
        time.sleep(min(left_s, beat_s))
