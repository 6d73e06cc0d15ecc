"""A server is told, with a signature that it can check, and again when it could not listen."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import codec
from pipeline.errors import BadOption, TranscribeError
from pipeline.types import Outcome
from workers.watch.webhook import Webhook, WebhookOptions
from workers.web import WebOptions

DONE = Outcome(Path("/media/caf\udce9.mp4"), "done", (Path("/media/talk.en.srt"),), language="en")
NOW_S = 1_700_000_000.5
OWN = WebOptions(own_networks=("127.0.0.1/32",), stall_s=5.0)
OPTIONS = WebhookOptions(waits_s=(1.0, 5.0, 30.0), web=OWN)


@dataclass
class Site:
    """How a server answers, one after the other, and what it was told."""

    port: int = 0
    answers: list = field(default_factory=list)  # a status and headers; None: breaks off
    told: list = field(default_factory=list)  # headers and body

    def url(self, host="hooks.example"):
        return f"http://{host}:{self.port}/in?key=1"


@pytest.fixture
def site():
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            site.told.append((self.path, self.headers, body))
            answer = site.answers.pop(0) if site.answers else (204, {})
            if answer is None:
                return
            self.send_response(answer[0])
            for name, value in answer[1].items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.port = server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield site
        server.shutdown()


def here(host, port):
    return ("127.0.0.1",)


class Waits:
    """Remembers how long it was asked to wait, and says whether to give up."""

    def __init__(self, most=100):
        self.asked_s = []
        self.most = most

    def __call__(self, seconds):
        self.asked_s.append(seconds)
        return len(self.asked_s) > self.most


def webhook(site, options=OPTIONS, secret="a secret", resolve=here):
    return Webhook(site.url(), secret, options, lambda: NOW_S, resolve)


def refused(hook, waits=None):
    with pytest.raises(TranscribeError) as caught:
        hook.tell(DONE, waits or Waits())
    return str(caught.value)


# ── what arrives ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("secret", "key"), [("a secret", b"a secret"), ("whsec_AAEC/w==", b"\0\1\2\xff")]
)
def test_the_outcome_arrives_signed(site, secret, key):
    webhook(site, secret=secret).tell(DONE, Waits(0))
    ((path, headers, body),) = site.told
    assert path == "/in?key=1"
    assert codec.loads(body, Outcome) == DONE
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-timestamp"] == "1700000000"
    signed = f"{headers['webhook-id']}.1700000000.".encode() + body
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{mac}"


def test_the_signature_is_that_of_standard_webhooks():
    """Their own example: https://github.com/standard-webhooks, libraries/python/README."""
    hook = Webhook(
        "https://x.example", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now_s=lambda: 1614265330.0
    )
    headers = hook._headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_it_is_tried_again_when_the_server_could_not_listen(site):
    site.answers = [(503, {}), (429, {}), None]
    waits = Waits()
    webhook(site).tell(DONE, waits)
    assert waits.asked_s == [1.0, 5.0, 30.0]
    assert len({headers["webhook-id"] for _, headers, _ in site.told}) == 1
    assert len(site.told) == 4


@pytest.mark.parametrize(
    ("asked", "waited_s"),
    [
        ("20", 20.0),
        ("0", 1.0),
        ("999999", 300.0),
        ("9" * 400, 300.0),
        ("Tue, 14 Nov 2023 22:13:40 GMT", 19.5),
        ("Tue, 14 Nov 2000 22:13:40 GMT", 1.0),
        ("soon", 1.0),
        ("-5", 1.0),
    ],
)
def test_the_server_may_ask_for_more_time_within_bounds(site, asked, waited_s):
    site.answers = [(429, {"Retry-After": asked})]
    waits = Waits()
    webhook(site).tell(DONE, waits)
    assert waits.asked_s == [waited_s]


# ── what does not ────────────────────────────────────────────────────────────────────────────


def test_after_the_last_try_it_is_told_why(site):
    site.answers = [(500, {})] * 9
    waits = Waits()
    assert refused(webhook(site), waits) == (
        "The webhook at hooks.example was not told of /media/caf\\xe9.mp4: "
        "it answered 500 Internal Server Error."
    )
    assert len(site.told) == 4
    assert waits.asked_s == [1.0, 5.0, 30.0]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410])
def test_what_will_not_change_is_not_tried_again(site, status):
    site.answers = [(status, {"Location": "http://hooks.example/elsewhere"})]
    waits = Waits()
    assert f"it answered {status}" in refused(webhook(site), waits)
    assert (len(site.told), waits.asked_s) == (1, [])


def test_without_time_to_wait_it_gives_up(site):
    site.answers = [(503, {})]
    waits = Waits(0)
    assert "it answered 503" in refused(webhook(site), waits)
    assert (len(site.told), waits.asked_s) == (1, [1.0])


def test_a_server_that_is_not_there_is_tried_again(site):
    gone = Site(port=1)
    waits = Waits()
    assert "Connection refused" in refused(webhook(gone), waits)
    assert waits.asked_s == [1.0, 5.0, 30.0]


@pytest.mark.parametrize("number", ["127.0.0.2", "10.0.0.1", "169.254.169.254", "::1"])
def test_an_address_of_ones_own_network_is_never_asked(site, number):
    hook = webhook(site, resolve=lambda host, port: (number,))
    assert f"hooks.example is {number}, which is not on the public internet" in refused(hook)
    assert site.told == []


def test_offline_nothing_is_told(site):
    options = WebhookOptions(web=WebOptions(offline=True, own_networks=("127.0.0.1/32",)))
    assert "TRANSCRIBE_OFFLINE forbids" in refused(webhook(site, options))
    assert site.told == []


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("ftp://x.example", "s"),
        ("http://", "s"),
        ("http://user:password@x.example", "s"),
        ("http://x.example", ""),
        ("http://x.example", "whsec_"),
        ("http://x.example", "whsec_no base64!"),
    ],
)
def test_an_address_or_a_secret_that_cannot_be_is_refused_at_once(url, secret):
    with pytest.raises(BadOption):
        Webhook(url, secret)


def test_the_secret_is_not_shown():
    assert "hidden" not in repr(Webhook("http://x.example", "hidden"))
