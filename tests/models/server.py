"""A web server with a script of misbehaviour and a memory of what it was asked."""

from __future__ import annotations

import re
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Odd:
    """What is odd about one answer; all that is not said is honest."""

    status: int | None = None  # an error's, without a body
    location: str | None = None  # where the file is said to have moved
    body: bytes | None = None  # what comes in place of the file
    content_type: str = "application/octet-stream"
    length: int | None = None  # what is said of the body's length
    chunked: bool = False  # the length is not said
    endless: bool = False  # chunked, and the body is repeated
    cut_after: int | None = None  # bytes of the body; then the connection ends
    wait_after: int | None = None  # bytes of the body; then nothing comes until `server.go` is set
    shift: int = 0  # bytes between the piece that was asked for and the one that is given


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    path: str
    range: str | None
    if_range: str | None


class FileServer(ThreadingHTTPServer):
    """Serves one content under every path, with ranges and ETags; oddly while its script lasts."""

    daemon_threads = True

    def __init__(self, content, script=(), *, ranges=True):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.etag = '"one"'
        self.ranges = ranges
        self.script = deque(script)
        self.asked = []
        self.sent_bytes = 0  # of bodies
        self.go = threading.Event()

    @property
    def host(self):
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self):
        return f"http://{self.host}"

    def handle_error(self, request, client_address):
        """Clients that go away are a part of the tests."""


@contextmanager
def serving(content, *script, ranges=True, tls=None):
    """A server that runs; `tls` is an SSL context."""
    server = FileServer(content, script, ranges=ranges)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.go.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        asked = Asked(self.path, self.headers["Range"], self.headers["If-Range"])
        server.asked.append(asked)
        odd = server.script.popleft() if server.script else Odd()
        if odd.status is not None or odd.location is not None:
            self.send_response(odd.status or 302)
            if odd.location is not None:
                self.send_header("Location", odd.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send_file(asked, odd)

    def _send_file(self, asked, odd):
        content = self.server.content if odd.body is None else odd.body
        start = self._start_of(asked)
        if start is not None and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200 if start is None else 206)
        if start is not None:
            start += odd.shift
            whole = len(content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        body = content[start or 0 :]
        self.send_header("Content-Type", odd.content_type)
        if odd.content_type != "text/html":
            self.send_header("ETag", self.server.etag)
        if odd.chunked or odd.endless:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) if odd.length is None else odd.length))
        self.end_headers()
        self._send_body(body, odd)

    def _start_of(self, asked):
        """The first byte of the piece that is asked for; None: everything."""
        if not self.server.ranges or asked.range is None:
            return None
        if asked.if_range not in (None, self.server.etag):
            return None
        return int(re.fullmatch(r"bytes=(\d+)-", asked.range)[1])

    def _send_body(self, body, odd):
        if odd.wait_after is not None:
            self._send(body[: odd.wait_after], odd)
            body = body[odd.wait_after :]
            self.server.go.wait(60)
        self._send(body[: odd.cut_after], odd)
        while odd.endless:
            self._send(body, odd)
        if odd.chunked and odd.cut_after is None:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, data, odd):
        if data:
            if odd.chunked or odd.endless:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                self.wfile.write(data)
            self.wfile.flush()
            self.server.sent_bytes += len(data)

    def end_headers(self):
        self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *_):
        """Nobody reads it."""
