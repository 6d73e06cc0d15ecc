"""One GET or POST of an address that a stranger may have given.

Goes in: an http or https address. Comes out: the answer of the server that it leads to. Does not
know: what is fetched or told, where it goes.

No address may reach into this machine's own network. Each one, also after a redirect, is resolved
once, every number that it stands for is checked, and the connection is made to a checked number:
a name that changes its meaning in between (DNS rebinding) gains nothing. So proxies are not used.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import IPv4Address, IPv6Network, ip_address, ip_network
from ssl import SSLCertVerificationError, SSLSocket, create_default_context
from threading import Timer
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from pipeline.errors import BadOption, Undelivered, Unreadable
from pipeline.source import display
from pipeline.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message
    from http.client import HTTPResponse
    from ipaddress import IPv6Address

    Resolve = Callable[[str, int], tuple[str, ...]]  # a host and a port to numeric addresses

_READ_BYTES = 1 << 18  # at once, at most
_REDIRECTS = {301, 302, 303, 307, 308}
_PORTS = {"http": 80, "https": 443}
_UNTOUCHED = "%/:=&?~#+!$,;'@()*[]"  # of an address that was quoted already
_UNICAST = IPv6Network("2000::/3")  # RFC 4291; nothing else is routed between networks
_6TO4 = IPv6Network("2002::/16")  # RFC 3056: carries an IPv4 address, and is out of use
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: carries one, and is in use


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How the network may be used."""

    offline: bool = False  # no connection is made
    own_networks: tuple[str, ...] = ()  # that may be asked, although they are private: 10.0.7.0/24
    most_bytes: int = 20 * 10**9  # hours of video
    most_s: float = 4 * 3600.0  # for one file, from the first connection on
    stall_s: float = 20.0  # a server that is silent for so long is gone
    most_redirects: int = 10  # podcasts put up to six counting stations before the file

    def __post_init__(self) -> None:
        """Raises BadOption."""
        for text in self.own_networks:
            try:
                ip_network(text)
            except ValueError as error:
                raise BadOption(f"{text!r} is no network: write it as 192.168.1.0/24.") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says."""

    status: int
    reason: str
    headers: Message
    length_bytes: int | None  # of what follows, as far as it is said
    pieces: Iterator[bytes]  # of the body, as they come; raises Undelivered


def numbers_of(host: str, port: int) -> tuple[str, ...]:
    """The numeric addresses of a host, as this machine's resolver gives them. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def normal(url: str) -> str:
    """The one way to write an address: the same file twice is the same text. Raises BadOption."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port
    except ValueError as error:  # brackets, a port or a name that are none
        raise BadOption(f"{display(url)} is no address of a file: check it.") from error
    if parts.scheme not in _PORTS or not host:
        raise BadOption(f"{display(url)} is no address of a file: only http and https are taken.")
    if parts.username is not None or parts.password is not None:
        raise BadOption(
            f"https://{host}/… was given with a password, which the queue would show to others: "
            "download the file yourself."
        )
    place = f"[{host}]" if ":" in host else host
    if port not in (None, _PORTS[parts.scheme]):
        place = f"{place}:{port}"
    path, query = quote(parts.path or "/", _UNTOUCHED), quote(parts.query, _UNTOUCHED)
    return urlunsplit((parts.scheme, place, path, query, ""))


@contextmanager
def get(
    url: str,
    headers: dict[str, str],
    options: WebOptions,
    ends_s: float,
    resolve: Resolve = numbers_of,
) -> Iterator[Answer]:
    """The answer that the redirects lead to; it is cut off at `ends_s` of the monotonic clock.

    Raises BadOption (an address that must not be asked), Unreadable (a wrong certificate),
    Undelivered.
    """
    if options.offline:
        raise BadOption(f"{display(url)}: TRANSCRIBE_OFFLINE forbids to download it.")
    for _ in range(options.most_redirects + 1):
        if time.monotonic() >= ends_s:
            raise Undelivered(f"{display(url)}: it took too long: try again later.")
        with ExitStack() as stack:
            response = _response(normal(url), None, headers, options, ends_s, resolve, stack)
            onward = response.headers.get("Location") if response.status in _REDIRECTS else None
            if onward is None:
                pieces = _pieces(url, response, options)
                yield Answer(
                    response.status, response.reason, response.headers, response.length, pieces
                )
                return
        url = urljoin(url, onward)
    raise BadOption(f"{display(url)}: redirected too often: give the address of the file itself.")


def post(
    url: str,
    body: bytes,
    headers: dict[str, str],
    options: WebOptions,
    ends_s: float,
    resolve: Resolve = numbers_of,
) -> Answer:
    """What the server says to a body, without its pieces; no redirect is followed.

    Raises as `get` does.
    """
    if options.offline:
        raise BadOption("TRANSCRIBE_OFFLINE forbids to tell it anything.")
    with ExitStack() as stack:
        response = _response(normal(url), body, headers, options, ends_s, resolve, stack)
        return Answer(response.status, response.reason, response.headers, response.length, iter(()))


def _response(
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    options: WebOptions,
    ends_s: float,
    resolve: Resolve,
    stack: ExitStack,
) -> HTTPResponse:
    """What one server answers to a POST, or without a body to a GET, while the stack lasts."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    connection = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(host, port)
    ours = {"User-Agent": f"transcribe/{__version__}", "Accept-Encoding": "identity"}
    with _told(url, options):
        numbers = _checked(host, resolve(host, port), options.own_networks)
        stream = stack.enter_context(_connected(parts, numbers, port, options))
        stack.enter_context(_until(stream, ends_s))
        if isinstance(stream, SSLSocket):
            stream.do_handshake()
        connection.sock = stream
        place, method = urlunsplit(("", "", *parts[2:4], "")), "GET" if body is None else "POST"
        connection.request(method, place, body, ours | headers)
        return stack.enter_context(connection.getresponse())


def _pieces(url: str, response: HTTPResponse, options: WebOptions) -> Iterator[bytes]:
    with _told(url, options):
        while data := response.read1(_READ_BYTES):
            yield data


def _checked(host: str, numbers: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """All numbers of a host, if every one of them may be asked."""
    networks = tuple(ip_network(text) for text in own)
    for number in numbers:
        address = ip_address(number.partition("%")[0])
        if not is_public(address) and not any(address in network for network in networks):
            name = "" if host == number else f"{display(host)} is "
            raise BadOption(
                f"{name}{number}, which is not on the public internet: "
                "if it is your own, name its network in TRANSCRIBE_OWN_NETWORKS."
            )
    return numbers


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it belongs to a server on the internet: not to this machine, its network, its cloud.

    An IPv4 address that is wrapped in an IPv6 one is what counts.
    """
    if address.version == 6:  # noqa: PLR2004  - as in IPv6
        if address in _NAT64:
            address = IPv4Address(int(address) & 0xFFFF_FFFF)
        elif address not in _UNICAST or address in _6TO4:
            return False
    return address.is_global and not address.is_multicast


def _connected(
    parts: SplitResult, numbers: tuple[str, ...], port: int, options: WebOptions
) -> socket.socket:
    """A connection to the first number that takes one; TLS has not shaken hands yet."""
    failure: OSError = ConnectionError("it has no address")
    for number in numbers:
        try:
            stream = socket.create_connection((number, port), options.stall_s)
        except OSError as error:
            failure = error
            continue
        if parts.scheme == "http":
            return stream
        return create_default_context().wrap_socket(
            stream, server_hostname=parts.hostname, do_handshake_on_connect=False
        )
    raise failure


@contextmanager
def _until(stream: socket.socket, ends_s: float) -> Iterator[None]:
    """Cut the connection at a time: a server that drips its bytes is never silent for long."""

    def cut() -> None:
        with suppress(OSError):  # it is closed already
            socket.socket.shutdown(stream, socket.SHUT_RDWR)  # without TLS' farewell

    timer = Timer(ends_s - time.monotonic(), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _told(url: str, options: WebOptions) -> Iterator[None]:
    """Tell what the network raises in words."""
    host = display(urlsplit(url).hostname or "")
    try:
        yield
    except SSLCertVerificationError as error:
        raise Unreadable(
            f"{host} does not prove who it is ({error.verify_message}): check the address."
        ) from error
    except TimeoutError as error:
        raise Undelivered(
            f"{host} was silent for {options.stall_s:g} s: try again later."
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Undelivered(f"{host}: {display(reason)}: try again later.") from error
