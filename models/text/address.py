"""The address of a server, as a user writes it.

Goes in: http://host:port/v1#model. Comes out: its parts, checked. Does not know: who answers there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from pipeline.errors import BadOption

_PORTS = {"http": 80, "https": 443}
_VERSION = "/v1"  # many give it, as OpenAI's clients want it; each path of ours has its own


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    is_secret: bool  # https
    base_path: str  # before each path of the API; empty or "/…"
    model: str | None  # after the "#"; None: whichever the server has
    key: str | None = field(default=None, repr=False)  # "Authorization: Bearer …"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.is_secret else "http"
        port = "" if self.port == _PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{host}{port}{self.base_path}"


def is_address(where: str) -> bool:
    """Whether a server is meant, and not a file or a name."""
    return "://" in where


def address_of(where: str, key: str | None = None) -> Address:
    """The parts of an address. Raises BadOption."""
    try:
        parts = urlsplit(where)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as error:  # a port or brackets that are none
        raise _bad(where) from error
    server = where.partition("#")[0]
    if not parts.hostname or not server.isascii() or not where.isprintable() or " " in server:
        raise _bad(where)
    if parts.username is not None or parts.query:
        raise BadOption(
            "An address of a language model's server has no password and no ? in it: give a key "
            "in TRANSCRIBE_LLM_KEY."
        )
    if key is not None and not (key.isascii() and key.isprintable()):
        raise BadOption("The key in TRANSCRIBE_LLM_KEY has characters that no key has: check it.")
    path = parts.path.rstrip("/").removesuffix(_VERSION).rstrip("/")
    model = unquote(parts.fragment) or None
    return Address(parts.hostname, port, parts.scheme == "https", path, model, key)


def _bad(where: str) -> BadOption:
    return BadOption(
        f"{where} is no address of a language model's server: give one that begins with http:// or "
        "https://, such as http://localhost:11434 or http://localhost:11434#llama3.2 "
        "(server#model)."
    )
