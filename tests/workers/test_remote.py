"""Media that a worker fetches, from servers of this machine that behave well, badly or not at all.

Names are resolved by the tests; 127.0.0.1 is told to be a network that may be asked, and every
other address of this machine stands for what must never be reached.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import codec
from pipeline.errors import (
    BadOption,
    Busy,
    NoSuchFile,
    NotMedia,
    StorageFailed,
    Undelivered,
    Unreadable,
)
from pipeline.source import take
from pipeline.types import Job, OutputOptions, Source, SpeechOptions
from workers import remote
from workers.web import WebOptions, is_public, normal, numbers_of

BODY = bytes(range(256)) * 4000  # about 1 MB
OPTIONS = WebOptions(own_networks=("127.0.0.1/32",), stall_s=5.0, most_s=30.0)


@dataclass
class Site:
    """What a server gives, and what it was asked."""

    port: int = 0
    pages: dict = field(default_factory=dict)  # a path to a function that answers
    asked: list = field(default_factory=list)
    headers: list = field(default_factory=list)

    def url(self, path="/talk.mp3", host="media.example"):
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
def site():
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            site.asked.append(self.path)
            site.headers.append(self.headers)
            self.close_connection = True
            site.pages[self.path](self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield site
        server.shutdown()


def answer(status=200, body=BODY, length=None, **headers):
    """A page. `length` is what it claims; a name's underscores are hyphens."""

    def page(request):
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)

    return page


def redirect(place, status=302):
    return answer(status, b"", Location=place)


def in_turn(*pages):
    rest = iter(pages)

    def page(request):
        next(rest)(request)

    return page


def everything_is_here(host, port):
    """A resolver for which every name is this machine; numbers are themselves."""
    try:
        return (str(ip_address(host)),)
    except ValueError:
        return ("127.0.0.1",)


def never():
    pass


def fetch(url, home, options=OPTIONS, heed=never, resolve=everything_is_here):
    with remote.borrowed(url, home, options, heed, resolve) as path:
        return path, path.read_bytes()


def leftovers(home):
    return sorted(path.name for path in home.rglob("*") if path.is_file() and path.name != "lock")


# ── what is fetched ──────────────────────────────────────────────────────────────────────────


def test_a_file_is_fetched_once_under_the_name_of_its_address(site, tmp_path):
    site.pages["/shows/My%20talk.mp3?key=1"] = answer()
    url = site.url("/shows/My%20talk.mp3?key=1")
    path, content = fetch(url, tmp_path)
    assert content == BODY
    assert path.name == "My talk.mp3"
    assert path.parent.parent == tmp_path / "remote"
    assert fetch(url, tmp_path) == (path, BODY)
    assert len(site.asked) == 1
    assert site.headers[0]["Host"] == f"media.example:{site.port}"
    assert site.headers[0]["Accept-Encoding"] == "identity"
    assert leftovers(tmp_path) == ["My talk.mp3"]


def test_a_body_of_unknown_length_is_taken_whole(site, tmp_path):
    def chunked(request):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for piece in (BODY[:1000], BODY[1000:]):
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        request.wfile.write(b"0\r\n\r\n")

    site.pages["/talk.mp3"] = chunked
    assert fetch(site.url(), tmp_path)[1] == BODY


def test_redirects_are_followed_also_relative_ones(site, tmp_path):
    site.pages["/talk.mp3"] = redirect("/b/", 301)
    site.pages["/b/"] = redirect("c.mp3", 307)
    site.pages["/b/c.mp3"] = redirect(site.url("/d.mp3", "other.example"), 308)
    site.pages["/d.mp3"] = answer()
    path, content = fetch(site.url(), tmp_path)
    assert (path.name, content) == ("talk.mp3", BODY)
    assert site.headers[-1]["Host"] == f"other.example:{site.port}"


def test_what_is_let_go_leaves_an_empty_file_and_is_fetched_anew_when_it_is_wanted(site, tmp_path):
    site.pages["/talk.mp3"] = answer()
    path, _ = fetch(site.url(), tmp_path)
    remote.let_go(site.url(), tmp_path)
    assert path.stat().st_size == 0
    assert fetch(site.url(), tmp_path) == (path, BODY)
    assert leftovers(tmp_path) == ["talk.mp3"]


def test_nobody_lets_go_what_another_has_borrowed(site, tmp_path):
    site.pages["/talk.mp3"] = answer()
    with remote.borrowed(site.url(), tmp_path, OPTIONS, never, everything_is_here) as path:
        with remote.borrowed(site.url(), tmp_path, OPTIONS, never, everything_is_here):
            pass
        remote.let_go(site.url(), tmp_path)
        assert path.read_bytes() == BODY
    remote.let_go(site.url(), tmp_path)
    assert path.read_bytes() == b""


def test_two_workers_make_one_download(site, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def slow(request):
        begun.set()
        go_on.wait(20)
        answer()(request)

    site.pages["/talk.mp3"] = slow
    first = threading.Thread(target=fetch, args=(site.url(), tmp_path))
    first.start()
    assert begun.wait(20)
    with pytest.raises(Busy, match="another worker"):
        fetch(site.url(), tmp_path)
    go_on.set()
    first.join(20)
    assert fetch(site.url(), tmp_path)[1] == BODY
    assert len(site.asked) == 1


# ── what breaks off ──────────────────────────────────────────────────────────────────────────


def in_parts(request, whole=BODY, etag='"one"', first=300_000):
    """Breaks off after the first piece; gives the rest to who asks for it."""
    wanted = request.headers.get("Range", "bytes=0-")
    begin = int(wanted.removeprefix("bytes=").rstrip("-"))
    if request.headers.get("If-Range") not in (None, etag):
        begin = 0
    request.send_response(206 if begin else 200)
    if begin:
        request.send_header("Content-Range", f"bytes {begin}-{len(whole) - 1}/{len(whole)}")
    request.send_header("ETag", etag)
    request.send_header("Content-Length", str(len(whole) - begin))
    request.end_headers()
    request.wfile.write(whole[begin:] if begin else whole[:first])


def test_a_cut_connection_is_followed_by_one_that_brings_the_rest(site, tmp_path):
    site.pages["/talk.mp3"] = in_parts
    assert fetch(site.url(), tmp_path)[1] == BODY
    assert [headers.get("Range") for headers in site.headers] == [None, "bytes=300000-"]
    assert leftovers(tmp_path) == ["talk.mp3"]


def test_a_file_that_changed_meanwhile_is_not_pieced_together(site, tmp_path):
    new = BODY[::-1]
    site.pages["/talk.mp3"] = in_turn(
        in_parts, lambda request: in_parts(request, new, '"two"', len(new))
    )
    assert fetch(site.url(), tmp_path)[1] == new


@pytest.mark.parametrize("etag", [{}, {"ETag": 'W/"one"'}])
def test_without_a_promise_that_it_is_one_file_a_cut_one_is_begun_anew(site, tmp_path, etag):
    site.pages["/talk.mp3"] = in_turn(answer(body=BODY[:1000], length=len(BODY), **etag), answer())
    assert fetch(site.url(), tmp_path)[1] == BODY
    assert [headers.get("Range") for headers in site.headers] == [None, None]


def test_a_server_that_always_breaks_off_is_given_up_and_the_next_attempt_goes_on(site, tmp_path):
    site.pages["/talk.mp3"] = answer(body=BODY[:1000], length=len(BODY), ETag='"one"')
    with pytest.raises(Undelivered, match="broke off"):
        fetch(site.url(), tmp_path)
    assert len(site.asked) == 2
    site.pages["/talk.mp3"] = in_parts
    assert fetch(site.url(), tmp_path)[1] == BODY
    assert site.headers[-1]["Range"] == "bytes=1000-"


def test_a_piece_that_was_not_asked_for_is_refused(site, tmp_path):
    wrong = answer(206, BODY[5:], Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}")
    site.pages["/talk.mp3"] = in_turn(in_parts, wrong)
    with pytest.raises(Undelivered, match="another piece"):
        fetch(site.url(), tmp_path)


def test_a_file_that_had_come_whole_when_the_worker_died_is_fetched_again(site, tmp_path):
    site.pages["/talk.mp3"] = answer(body=BODY[:1000], length=1001, ETag='"one"')
    with pytest.raises(Undelivered):
        fetch(site.url(), tmp_path)
    site.pages["/talk.mp3"] = in_turn(answer(416, b""), answer(body=BODY[:1000]))
    with pytest.raises(Undelivered, match="ends before"):
        fetch(site.url(), tmp_path)
    assert fetch(site.url(), tmp_path)[1] == BODY[:1000]


class Stop(KeyboardInterrupt):
    """The wish to stop."""


def test_a_wish_to_stop_is_heeded_while_a_server_is_silent_and_what_has_come_stays(site, tmp_path):
    goes_on, calls = threading.Event(), []

    def half(request):
        in_parts(request, first=1000)
        goes_on.wait(60)

    def stop():
        calls.append(1)
        if len(calls) > 2:
            raise Stop

    site.pages["/talk.mp3"] = half
    began_s = time.monotonic()
    with pytest.raises(Stop):
        fetch(site.url(), tmp_path, replace(OPTIONS, stall_s=60.0), heed=stop)
    assert time.monotonic() - began_s < 2
    assert leftovers(tmp_path) == [".talk.mp3.part", ".talk.mp3.part.etag"]
    goes_on.set()
    site.pages["/talk.mp3"] = in_parts
    assert fetch_when_free(site.url(), tmp_path) == BODY
    assert site.headers[-1]["Range"] == "bytes=1000-"
    assert len(site.asked) == 2


def fetch_when_free(url, home):
    """The thread of the stopped download ends as soon as the server says anything."""
    deadline_s = time.monotonic() + 10
    while True:
        try:
            return fetch(url, home)[1]
        except Busy:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, NoSuchFile),
        (410, NoSuchFile),
        (401, Unreadable),
        (403, Unreadable),
        (204, Unreadable),
        (304, Unreadable),
        (408, Undelivered),
        (429, Undelivered),
        (500, Undelivered),
        (503, Undelivered),
    ],
)
def test_what_a_server_says_is_told_by_who_can_act(site, tmp_path, status, error):
    site.pages["/talk.mp3"] = answer(status, b"")
    with pytest.raises(error, match=f"HTTP {status}"):
        fetch(site.url(), tmp_path)
    assert leftovers(tmp_path) == []


def test_a_web_page_an_empty_file_and_a_compressed_one_are_no_media(site, tmp_path):
    site.pages["/talk.mp3"] = answer(body=b"<html>", Content_Type="text/html; charset=utf-8")
    site.pages["/empty.mp3"] = answer(body=b"")
    site.pages["/bomb.mp3"] = answer(body=b"\x1f\x8b", Content_Encoding="gzip")
    for path, why in (("/talk.mp3", "web page"), ("/empty.mp3", "empty"), ("/bomb.mp3", "compr")):
        with pytest.raises(NotMedia, match=why):
            fetch(site.url(path), tmp_path)
    assert leftovers(tmp_path) == []


def test_nobody_at_the_address_is_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Undelivered, match="refused"):
            fetch(f"http://media.example:{port}/talk.mp3", tmp_path)
    with pytest.raises(Undelivered, match="no address"):
        fetch("http://media.example/talk.mp3", tmp_path, resolve=lambda *_: ())


def test_a_server_that_does_not_speak_http_is_told(site, tmp_path):
    site.pages["/talk.mp3"] = lambda request: request.wfile.write(b"SSH-2.0-nonsense\r\n")
    with pytest.raises(Undelivered, match="SSH"):
        fetch(site.url(), tmp_path)


def test_a_disk_that_cannot_be_written_is_not_the_servers_fault(site, tmp_path):
    site.pages["/talk.mp3"] = answer()
    (tmp_path / "remote").write_text("a file in the way")
    with pytest.raises(StorageFailed):
        fetch(site.url(), tmp_path)


def test_a_file_that_will_not_fit_on_the_disk_is_refused_before_it_comes(site, tmp_path):
    site.pages["/talk.mp3"] = answer(length=10**15)
    with pytest.raises(StorageFailed, match="make room"):
        fetch(site.url(), tmp_path, replace(OPTIONS, most_bytes=10**16))
    assert leftovers(tmp_path) == []


# ── bounds ───────────────────────────────────────────────────────────────────────────────────


def test_what_is_too_large_is_refused_whether_it_says_so_or_not(site, tmp_path):
    def endless(request):
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(BODY)
        except OSError:
            return

    site.pages["/talk.mp3"] = answer(length=10**12)
    site.pages["/endless.mp3"] = endless
    small = replace(OPTIONS, most_bytes=len(BODY) + 1)
    for path in ("/talk.mp3", "/endless.mp3"):
        with pytest.raises(BadOption, match="larger than"):
            fetch(site.url(path), tmp_path, small)
    assert leftovers(tmp_path) == []
    site.pages["/talk.mp3"] = answer()
    assert fetch(site.url(), tmp_path, replace(OPTIONS, most_bytes=len(BODY)))[1] == BODY


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"])
def test_a_server_that_drips_is_cut_off_in_time(site, tmp_path, begin):
    ended = threading.Event()

    def drip(request):
        try:
            request.wfile.write(begin)
            while not ended.wait(0.02):
                request.wfile.write(b"x")
        except OSError:
            return

    site.pages["/talk.mp3"] = drip
    began_s = time.monotonic()
    with pytest.raises(Undelivered):
        fetch(site.url(), tmp_path, replace(OPTIONS, most_s=0.3))
    ended.set()
    assert time.monotonic() - began_s < 4


def test_a_silent_server_is_given_up(site, tmp_path):
    ended = threading.Event()
    site.pages["/talk.mp3"] = lambda _: ended.wait(20)
    with pytest.raises(Undelivered, match="silent for 0.2 s"):
        fetch(site.url(), tmp_path, replace(OPTIONS, stall_s=0.2))
    ended.set()


def test_redirects_end_somewhere(site, tmp_path):
    site.pages["/talk.mp3"] = redirect("/talk.mp3")
    with pytest.raises(BadOption, match="redirected too often"):
        fetch(site.url(), tmp_path)
    assert len(site.asked) == OPTIONS.most_redirects + 1


def test_without_a_network_nothing_is_asked(site, tmp_path):
    with pytest.raises(BadOption, match="TRANSCRIBE_OFFLINE"):
        fetch(site.url(), tmp_path, replace(OPTIONS, offline=True))
    assert site.asked == []


# ── who must not be asked ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "[::1]", "169.254.169.254", "10.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_an_address_of_this_network_is_refused_at_first_and_after_a_redirect(site, tmp_path, host):
    with pytest.raises(BadOption, match="not on the public internet"):
        fetch(f"http://{host}/talk.mp3", tmp_path)
    site.pages["/talk.mp3"] = redirect(f"http://{host}:{site.port}/secret")
    with pytest.raises(BadOption, match="not on the public internet"):
        fetch(site.url(), tmp_path)
    assert site.asked == ["/talk.mp3"]


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://media.example/x", "gopher://x/"])
def test_a_redirect_to_anything_but_the_web_is_refused(site, tmp_path, place):
    site.pages["/talk.mp3"] = redirect(place)
    with pytest.raises(BadOption, match="only http and https"):
        fetch(site.url(), tmp_path)


def test_one_bad_number_of_several_is_enough_to_refuse(site, tmp_path):
    site.pages["/talk.mp3"] = answer()
    with pytest.raises(BadOption, match="10.1.2.3"):
        fetch(site.url(), tmp_path, resolve=lambda *_: ("127.0.0.1", "10.1.2.3"))
    assert site.asked == []


def test_a_name_that_changes_its_meaning_is_connected_to_what_was_checked(site, tmp_path):
    answers = iter((("127.0.0.1",), ("127.0.0.2",), ("127.0.0.3",)))
    site.pages["/talk.mp3"] = answer()
    assert fetch(site.url(), tmp_path, resolve=lambda *_: next(answers))[1] == BODY
    assert next(answers) == ("127.0.0.2",)  # it was resolved once


def test_numbers_in_disguise_are_seen_through():
    for host in ("localhost", "2130706433", "0x7f.1", "127.1"):
        assert not any(is_public(ip_address(number)) for number in numbers_of(host, 80))


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("64:ff9b::808:808", True),  # 8.8.8.8 behind NAT64
        ("64:ff9b::7f00:1", False),  # 127.0.0.1 behind NAT64
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),  # 6to4
        ("2001::1", False),  # Teredo
        ("::7f00:1", False),
        ("::", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("100.100.100.200", False),
        ("192.168.1.1", False),
        ("172.31.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("198.18.0.1", False),
    ],
)
def test_what_is_public(number, expected):
    assert is_public(ip_address(number)) is expected


@given(st.ip_addresses(network="::ffff:0:0/96") | st.ip_addresses(network="10.0.0.0/8"))
def test_no_private_or_mapped_number_is_public(address):
    assert not is_public(address)


def test_own_networks_are_checked_when_they_are_given():
    with pytest.raises(BadOption, match="no network"):
        WebOptions(own_networks=("my nas",))


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def tls_port(tmp_path):
    """A server that proves to be media.example to whoever trusts server.pem."""
    pem, key = tmp_path / "server.pem", tmp_path / "server.key"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    name = ("-subj", "/CN=media.example", "-addext", "subjectAltName=DNS:media.example")
    command = [*make.split(), *name, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer()(self)

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_):
            """A client that does not trust us hangs up."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl to make a certificate")
def test_a_certificate_is_checked_against_the_name_that_was_given(tls_port, tmp_path, monkeypatch):
    with pytest.raises(Unreadable, match="does not prove who it is"):
        fetch(f"https://media.example:{tls_port}/talk.mp3", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
    assert fetch(f"https://media.example:{tls_port}/talk.mp3", tmp_path)[1] == BODY
    with pytest.raises(Unreadable, match="does not prove who it is"):
        fetch(f"https://other.example:{tls_port}/talk.mp3", tmp_path)


# ── addresses and names ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        ("HTTP://Media.Example:80/Talk.mp3#t=10", "http://media.example/Talk.mp3"),
        ("https://media.example:443", "https://media.example/"),
        ("https://media.example:8443/a b.mp3", "https://media.example:8443/a%20b.mp3"),
        ("https://media.example/a%20b.mp3?x=%2F&y=ü", "https://media.example/a%20b.mp3?x=%2F&y=%C3%BC"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("http://[2001:DB8::1]:8080/", "http://[2001:db8::1]:8080/"),
    ],
)  # fmt: skip
def test_one_address_is_written_one_way(given_as, expected):
    assert normal(given_as) == expected
    assert normal(normal(given_as)) == expected


@pytest.mark.parametrize(
    "url",
    ["", "talk.mp3", "http://", "http://[::1", "http://x:99999/", "ftp://x/", "https://a..b/"],
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(BadOption, match="no address"):
        normal(url)


def test_an_address_with_a_password_is_refused_without_repeating_it():
    with pytest.raises(BadOption, match="password") as raised:
        normal("https://me:secret@media.example/talk.mp3")
    assert "secret" not in str(raised.value)


def test_what_somebody_means_is_seen_by_its_beginning():
    assert remote.is_address("HTTPS://media.example/talk.mp3")
    assert not remote.is_address("https.mp3")


def test_what_stands_for_a_remote_file_is_the_same_for_the_same_address():
    source = remote.expected("https://media.example/shows/talk.mp3")
    assert (source.path.name, source.size_bytes, source.mtime_ns) == ("talk.mp3", 0, 0)
    assert source == remote.expected("HTTPS://MEDIA.example:443/shows/talk.mp3#here")
    assert source != remote.expected("https://media.example/other/talk.mp3")


@given(st.text(max_size=300))
def test_an_address_survives_the_job(text):
    try:
        source = remote.expected(f"https://media.example/{text}")
    except BadOption:
        return
    again = codec.loads(codec.dumps(source), Source)
    assert remote.address_of(again) == normal(f"https://media.example/{text}")


def test_a_job_is_given_its_file(site, tmp_path):
    site.pages["/talk.mp3"] = answer()
    job = Job(remote.expected(site.url()), SpeechOptions(), OutputOptions())
    with remote.brought(job, tmp_path, OPTIONS, never, everything_is_here) as here:
        assert here.source.size_bytes == len(BODY)
        assert here.source.path.read_bytes() == BODY
        assert replace(here, source=job.source) == job
    remote.let_go(site.url(), tmp_path)
    with remote.brought(job, tmp_path, OPTIONS, never, everything_is_here) as again:
        assert again.source.path == here.source.path


def test_a_job_whose_file_is_here_stays_as_it_is(tmp_path):
    (tmp_path / "talk.mp3").write_bytes(BODY)
    job = Job(take(tmp_path / "talk.mp3"), SpeechOptions(), OutputOptions())
    assert remote.address_of(job.source) is None
    with remote.brought(job, tmp_path, OPTIONS, never, everything_is_here) as here:
        assert here is job


@given(st.text(max_size=300))
def test_no_address_leads_to_a_name_that_is_hidden_or_elsewhere(text):
    try:
        path = remote.expected(f"https://media.example/{text}").path
    except BadOption:
        return
    assert path.parts[:2] == ("/", "remote")
    assert len(path.parts) == 4
    assert path.name[0] not in ".-"
    assert len(path.name.encode()) <= 200
    assert Counter(path.name).keys().isdisjoint("/\\\0\n:%*?\"<>|'$`;&")


def test_long_names_are_cut_and_keep_their_suffix():
    name = remote.expected(f"https://media.example/{'ä' * 500}.mp3").path.name
    assert name == f"{'ä' * 75}.mp3"
    assert remote.expected("https://media.example/").path.name == "media"
    assert remote.expected("https://media.example/..").path.name == "media"
