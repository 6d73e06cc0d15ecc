"""A server that is told how files ended.

Goes in: an outcome. Comes out: its JSON, signed, at the server, or a reason why not.
Does not know: who waits for it.

Source: Standard Webhooks, https://www.standardwebhooks.com: three headers, `webhook-id` (the same
at every try), `webhook-timestamp` (of the try), and `webhook-signature`: "v1," and the base64 of
HMAC-SHA256 over "<id>.<timestamp>.<body>". There are ready verifiers for most languages.
"""

from __future__ import annotations

import base64
import hmac
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from pipeline import codec
from pipeline.errors import BadOption, TranscribeError, Undelivered
from pipeline.source import display
from workers.web import WebOptions, normal, numbers_of, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.types import Outcome
    from workers.watch.notices import Pause
    from workers.web import Resolve

_ENCODED = "whsec_"  # Standard Webhooks: the rest of the secret is base64
_TOO_MANY, _SERVER_ERRORS = 429, range(500, 600)
_GOOD = range(200, 300)


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """How often it is tried, and how long."""

    waits_s: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0)  # before the second try, the third, …
    most_wait_s: float = 300.0  # whatever the server's Retry-After asks for
    limit_s: float = 30.0  # for one try
    web: WebOptions = field(default_factory=WebOptions)


@dataclass(frozen=True, slots=True)
class Webhook:
    """`--webhook`. The secret is any text, or base64 after `whsec_`. Raises BadOption."""

    url: str
    secret: str = field(repr=False)
    options: WebhookOptions = field(default_factory=WebhookOptions)
    now_s: Callable[[], float] = time.time  # since 1970
    resolve: Resolve = numbers_of

    def __post_init__(self) -> None:
        """Check the address and the secret."""
        normal(self.url)
        if not _key(self.secret):
            raise BadOption("The webhook has no secret: without one, anybody could speak for us.")

    def tell(self, outcome: Outcome, pause: Pause) -> None:
        """Post it until it arrives, as often as the options allow. Raises TranscribeError."""
        body = codec.dumps(outcome).encode()
        identity = f"msg_{uuid4().hex}"
        for wait_s in (*self.options.waits_s, None):
            ended = self._try(identity, body)
            if ended.why is None:
                return
            asked_s, most_s = ended.asked_s, self.options.most_wait_s
            if wait_s is None or asked_s is None or pause(min(max(wait_s, asked_s), most_s)):
                host = urlsplit(self.url).hostname or ""  # the rest may be secret
                raise TranscribeError(
                    f"The webhook at {display(host)} was not told of {display(outcome.source)}: "
                    f"{ended.why}"
                )

    def _try(self, identity: str, body: bytes) -> _Try:
        headers = self._headers(identity, body)
        ends_s = time.monotonic() + self.options.limit_s
        try:
            answer = post(self.url, body, headers, self.options.web, ends_s, self.resolve)
        except Undelivered as error:
            return _Try(str(error), 0.0)
        except TranscribeError as error:
            return _Try(str(error), None)
        if answer.status in _GOOD:
            return _Try(None, None)
        may_change = answer.status == _TOO_MANY or answer.status in _SERVER_ERRORS
        asked_s = _retry_after_s(answer.headers.get("Retry-After"), self.now_s())
        why = f"it answered {answer.status} {display(answer.reason)}."
        return _Try(why, asked_s if may_change else None)

    def _headers(self, identity: str, body: bytes) -> dict[str, str]:
        sent = str(int(self.now_s()))
        signed = f"{identity}.{sent}.".encode() + body
        signature = hmac.digest(_key(self.secret), signed, "sha256")
        return {
            "Content-Type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": sent,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }


@dataclass(frozen=True, slots=True)
class _Try:
    """How one try ended."""

    why: str | None  # None: it arrived
    asked_s: float | None  # how long the server asks us to wait; None: the next would end the same


def _key(secret: str) -> bytes:
    """Raises BadOption."""
    if not secret.startswith(_ENCODED):
        return secret.encode(errors="surrogateescape")
    try:
        return base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
    except ValueError as error:
        raise BadOption("The webhook's secret begins with whsec_, yet is no base64.") from error


def _retry_after_s(text: str | None, now_s: float) -> float:
    """RFC 9110, 10.2.3: seconds, or a date; 0 for anything else."""
    if text is None:
        return 0.0
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return 0.0
