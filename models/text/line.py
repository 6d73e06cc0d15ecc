"""One connection to a web server, read by a thread of its own and cut by anybody.

Goes in: an address and a question. Comes out: status, headers and data as they come, in a mailbox.
Does not know: how long to wait, what is said.

The standard library speaks, not requests: what is on the line must be cut at any moment, also while
the server thinks; no proxy, no password file and no redirect may carry a transcript elsewhere.
"""

from __future__ import annotations

import json
import ssl
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from queue import SimpleQueue
from socket import SHUT_RDWR
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

    from models.text.address import Address

Item = tuple[int, dict[str, str]] | bytes | Exception | None
_READ_BYTES = 1 << 16  # at once, at most
_LATER_S = 5.0  # whoever reads the mailbox gives up first


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent."""

    path: str  # below the server's address
    body: object = None  # becomes JSON; None: a GET


class WireFailed(Exception):
    """Why there is no answer: a phrase whose subject is the server."""

    def __init__(
        self,
        what: str,
        *,
        status: int = 0,
        may_pass: bool = False,
        pause_s: float | None = None,
        is_away: bool = False,
    ) -> None:
        super().__init__(what)
        self.status = status  # 0: none came
        self.may_pass = may_pass  # trying again may help
        self.pause_s = pause_s  # what the server asks for
        self.is_away = is_away  # nobody is there, or says nothing


class Line:
    """A connection that one thread reads and another may cut."""

    def __init__(
        self, address: Address, question: Question, connect_s: float, silence_s: float
    ) -> None:
        self.mail: SimpleQueue[Item] = SimpleQueue()
        self._address = address
        self._question = question
        self._connect_s, self._silence_s = connect_s, silence_s
        self._socket: socket | None = None
        self._is_cut = False

    def converse(self) -> None:
        """Send the question, and put into the mail: status and headers, data, None at the end."""
        connection = self._connection()
        try:
            connection.connect()
            self._socket = connection.sock  # http.client forgets it before the end
            self._socket.settimeout(self._silence_s + _LATER_S)
            if self._is_cut:
                return
            self._send(connection)
            with connection.getresponse() as response:
                headers = {name.lower(): value for name, value in response.getheaders()}
                self.mail.put((response.status, headers))
                while data := response.read1(_READ_BYTES):
                    self.mail.put(data)
            self.mail.put(None)
        except (OSError, HTTPException, ValueError) as error:
            self.mail.put(error)
        finally:
            connection.close()

    def cut(self) -> None:
        """End it now: a server stops writing when nobody listens."""
        self._is_cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)

    def _connection(self) -> HTTPConnection:
        address, connect_s = self._address, self._connect_s
        if address.is_secret:
            context = ssl.create_default_context()
            return HTTPSConnection(address.host, address.port, timeout=connect_s, context=context)
        return HTTPConnection(address.host, address.port, timeout=connect_s)

    def _send(self, connection: HTTPConnection) -> None:
        headers = {"Accept-Encoding": "identity", "Connection": "close"}
        if self._address.key:
            headers["Authorization"] = f"Bearer {self._address.key}"
        path = self._address.base_path + self._question.path
        if self._question.body is None:
            connection.request("GET", path, headers=headers)
        else:
            body = json.dumps(self._question.body).encode()  # lone surrogates stay escaped
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, body, headers)


# In order: each is a case of those below it. RemoteDisconnected is a ConnectionError.
_TROUBLES: tuple[tuple[type[Exception], str, bool, bool], ...] = (  # may it pass, is it away
    (ssl.SSLCertVerificationError, "has a certificate that cannot be trusted ({})", False, False),
    (ssl.SSLError, "does not speak HTTPS ({})", False, False),
    (TimeoutError, "does not answer", True, True),
    (ConnectionRefusedError, "is not there (connection refused)", True, True),
    (ConnectionError, "broke off", True, False),
    (IncompleteRead, "broke off", True, False),
    (OSError, "cannot be reached ({})", True, True),  # no such host, no route
    (Exception, "does not speak HTTP ({})", False, False),
)


def failure(error: Exception | None) -> WireFailed:
    """What is wrong with the line, in words."""
    if error is None:
        return WireFailed("broke off", may_pass=True)
    said = getattr(error, "strerror", None) or type(error).__name__
    _, words, may_pass, is_away = next(row for row in _TROUBLES if isinstance(error, row[0]))
    return WireFailed(words.format(said), may_pass=may_pass, is_away=is_away)
