"""The way to Redis.

Goes in: a URL. Comes out: a client, the same place in Celery's words, and what is wrong with the
server. Does not know: what is kept there.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pipeline.errors import BadOption, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

FIRST_S = 1.5  # with all that is around it, a server that is away is noticed within 2 s
ANSWER_S = 10.0  # whoever comes back to a dead network waits so long for some connections in turn
HEALTH_CHECK_S = 8  # idle for longer, a connection is tried before it is used
OLDEST = (6, 2)  # celery 5.7 asks for it
SENTINEL_PORT = 26379
SENTINEL_S = 0.5  # each; there are several, and one may be down
SCHEMES = ("redis", "rediss", "unix", "sentinel")
FORMS = "redis://host:6379/0, rediss://…, unix:///path or sentinel://host:26379,host:26379/master/0"


@dataclass(frozen=True, slots=True)
class _Watched:
    """A master that sentinels know."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    db: int
    username: str | None
    password: str | None


def connect(url: str, answer_s: float = ANSWER_S) -> Redis:
    """A client for `redis://`, `rediss://`, `unix://` or `sentinel://…,…/master/db`.

    Nothing is sent yet. Text comes back as str. A command is sent again, once, when its connection
    breaks; whoever waits for an answer does so for `answer_s` at most. Raises BadOption.
    """
    from redis import Redis

    _require_address(url)
    with _no_details():
        if urlsplit(url).scheme == "sentinel":
            return _watched_client(_watched(url), answer_s)
        options = _client_options(answer_s)
        if urlsplit(url).scheme == "unix":
            del options["socket_keepalive"]
        client: Redis = Redis.from_url(url, **options)
        return client


def celery_broker(url: str) -> tuple[str, dict[str, Any]]:
    """The same server for Celery: a URL and transport options. Raises BadOption."""
    _require_address(url)
    options: dict[str, Any] = {
        "socket_connect_timeout": FIRST_S,
        "socket_timeout": ANSWER_S,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_S,
    }
    with _no_details():
        if urlsplit(url).scheme == "sentinel":
            watched = _watched(url)
            options["master_name"] = watched.master
            options["sentinel_kwargs"] = _sentinel_options()
            return _kombu_sentinels(watched), options
    if urlsplit(url).scheme == "unix":
        return _kombu_socket(url), options
    return url, options


def problems(redis: Redis) -> tuple[str, ...]:
    """Why this server is not one to trust with a queue; each with its remedy. No news is good.

    Raises QueueUnavailable.
    """
    with redis_errors():
        info: Any = redis.info("everything")
    return tuple(_problems(info))


@contextmanager
def redis_errors() -> Iterator[None]:
    """Whatever goes wrong with Redis is QueueUnavailable."""
    from redis import exceptions

    try:
        yield
    except exceptions.AuthenticationError as error:
        raise QueueUnavailable(
            f"Redis wants another user or password ({error}): correct TRANSCRIBE_REDIS_URL."
        ) from error
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        raise QueueUnavailable(
            f"The queue cannot be reached ({error}): start Redis, or correct TRANSCRIBE_REDIS_URL."
        ) from error
    except exceptions.RedisError as error:
        raise QueueUnavailable(
            f"Redis refuses to work ({error}): transcribe doctor looks for the reason."
        ) from error


def _problems(info: dict[str, Any]) -> Iterator[str]:
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        yield f"Redis {version} is too old: install 6.2 or newer"
    if info.get("role") == "slave":
        yield "it is a replica, which takes no jobs: give the master's address"
    if not info.get("aof_enabled"):
        yield (
            "it keeps jobs in memory only, so a crash loses them: set appendonly yes "
            "(redis-cli config set appendonly yes, then redis-cli config rewrite)"
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield "it cannot write its log of changes: see to its disk"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield f"it may drop jobs when memory is short ({policy}): set maxmemory-policy noeviction"


def _sentinel_options() -> dict[str, Any]:
    once = _client_options(SENTINEL_S)["retry"]
    return {"socket_timeout": SENTINEL_S, "socket_connect_timeout": SENTINEL_S, "retry": once}


def _watched_client(watched: _Watched, answer_s: float) -> Redis:
    from redis.sentinel import Sentinel

    options = _client_options(answer_s)
    sentinels: Any = Sentinel  # without types
    client: Redis = sentinels(
        watched.sentinels,
        sentinel_kwargs=_sentinel_options(),
        db=watched.db,
        username=watched.username,
        password=watched.password,
        **options,
    ).master_for(watched.master)
    return client


def _client_options(answer_s: float) -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.exceptions import ConnectionError as Unreachable
    from redis.retry import Retry

    return {
        "decode_responses": True,
        "encoding_errors": "backslashreplace",  # a reason may name a file that is not UTF-8
        "health_check_interval": HEALTH_CHECK_S,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 1, supported_errors=(Unreachable,)),  # not what took its time
        "socket_connect_timeout": FIRST_S,
        "socket_keepalive": True,
        "socket_timeout": answer_s,
    }


def _require_address(url: str) -> None:
    with _no_details():
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(parts.scheme)
        if parts.scheme in ("redis", "rediss"):
            _ = parts.port  # raises ValueError


@contextmanager
def _no_details() -> Iterator[None]:
    """Neither the URL nor what is wrong with it is shown: either may hold a password."""
    try:
        yield
    except ValueError as error:
        raise BadOption(f"TRANSCRIBE_REDIS_URL is no address of a Redis: give {FORMS}.") from error


def _watched(url: str) -> _Watched:
    """`sentinel://[user:password@]host[:port],…/master[/db]`. Raises ValueError."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    master, _, db = parts.path.strip("/").partition("/")
    if not master:
        raise ValueError("the master's name is missing")
    return _Watched(
        sentinels=tuple(_address(host) for host in hosts.split(",") if host),
        master=unquote(master),
        db=int(db or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
    )


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port or SENTINEL_PORT


def _kombu_sentinels(watched: _Watched) -> str:
    """Kombu has one URL for each, and wants to be told the credentials with all of them."""
    credentials = ""
    if watched.password:
        user, password = quote(watched.username or "", safe=""), quote(watched.password, safe="")
        credentials = f"{user}:{password}@"
    return ";".join(
        f"sentinel://{credentials}{host}:{port}/{watched.db}" for host, port in watched.sentinels
    )


def _kombu_socket(url: str) -> str:
    """The slashes are three even after a password, and the database has another name."""
    parts = urlsplit(url)
    db = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={db}"
