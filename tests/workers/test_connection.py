from __future__ import annotations

import socket
import subprocess
import time

import pytest
from kombu import Connection

from pipeline.errors import BadOption, QueueUnavailable
from workers.connection import celery_broker, connect, problems, redis_errors
from workers.ledger import Ledger

WORD = "p@ss:word/%"
QUOTED = "p%40ss%3Aword%2F%25"


@pytest.fixture
def free_port():
    def find():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


def is_celerys_too(url):
    """Whether a message goes in and out where Celery is told to look."""
    broker, options = celery_broker(url)
    with Connection(broker, transport_options=options) as connection:
        connection.SimpleQueue("try").put("a message")
        with connect(url) as client:
            assert client.llen("try") == 1
        got = connection.SimpleQueue("try").get(timeout=5)
        got.ack()
        return got.payload == "a message"


def set_and_get(url):
    with connect(url) as client:
        client.set("key", "välue")
        return client.get("key")


# ── the addresses ────────────────────────────────────────────────────────────────────────────


def test_a_unix_socket(redis_server):
    assert set_and_get(redis_server.url) == "välue"
    assert is_celerys_too(redis_server.url)


def test_a_unix_socket_with_another_database(redis_server):
    url = f"{redis_server.url}?db=3"
    assert set_and_get(url) == "välue"
    assert redis_server.client.get("key") is None
    assert is_celerys_too(url)


def test_a_port_with_a_password_and_a_database(start_redis, free_port):
    port = free_port()
    url = f"redis://:{QUOTED}@127.0.0.1:{port}/2"
    with start_redis(url, "--port", str(port), "--requirepass", WORD, "--save", ""):
        assert set_and_get(url) == "välue"
        assert is_celerys_too(url)
        wrong = connect(f"redis://:wrong@127.0.0.1:{port}/2")
        with pytest.raises(QueueUnavailable, match="another user or password") as caught:
            Ledger(wrong).counts()
        assert caught.value.exit_code == 3
        wrong.close()


def test_a_unix_socket_with_a_password(start_redis, tmp_path_factory):
    place = tmp_path_factory.mktemp("s") / "s"
    url = f"unix://:{QUOTED}@{place}?db=1"
    arguments = ("--port", "0", "--unixsocket", str(place), "--requirepass", WORD, "--save", "")
    with start_redis(url, *arguments):
        assert set_and_get(url) == "välue"
        assert is_celerys_too(url)


def test_an_encrypted_port(start_redis, free_port, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    url = f"rediss://localhost:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={certificate}"
    arguments = ("--tls-key-file", str(key), "--tls-cert-file", str(certificate), "--save", "")
    tls = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no")
    with start_redis(url, *tls, *arguments):
        assert set_and_get(url) == "välue"
        assert is_celerys_too(url)
        with pytest.raises(QueueUnavailable, match=r"(?i)certificate"), redis_errors():
            connect(f"rediss://localhost:{port}/0").ping()
        with pytest.raises(Exception, match=r"(?i)certificate"):
            is_celerys_too(f"rediss://localhost:{port}/0")


def test_a_master_that_a_sentinel_knows(start_redis, free_port, tmp_path):
    port, watcher, nobody = free_port(), free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {watcher}\ndir {tmp_path}\nsentinel monitor films 127.0.0.1 {port} 1\n"
        f"sentinel auth-pass films {WORD}\n"
    )
    direct = f"redis://:{QUOTED}@127.0.0.1:{port}/0"
    url = f"sentinel://:{QUOTED}@127.0.0.1:{nobody},127.0.0.1:{watcher}/films/1"
    with (
        start_redis(direct, "--port", str(port), "--requirepass", WORD, "--save", "") as master,
        start_redis(f"redis://127.0.0.1:{watcher}", str(config), "--sentinel"),
    ):
        assert set_and_get(url) == "välue"
        assert master.client.get("key") is None  # it is in database 1
        assert is_celerys_too(url)
        unknown = connect(url.replace("films", "series"))
        with pytest.raises(QueueUnavailable, match="No master found for 'series'"):
            Ledger(unknown).counts()
        unknown.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://host/0",
        "redis//host",
        "redis://host:none/0",
        "redis://:secret/x@host:1/0",
        "sentinel://a:1",
        "sentinel://a:b/films",
        "sentinel://a:1/films/x",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(url):
    for use in (connect, celery_broker):
        with pytest.raises(BadOption, match="TRANSCRIBE_REDIS_URL") as caught:
            use(url.replace("//", "//:secret@"))
        assert "secret" not in str(caught.value)


def test_celery_waits_no_longer_than_the_ledger_does():
    _, options = celery_broker("redis://host:6379/0")
    assert options["socket_timeout"] == 10
    assert options["socket_connect_timeout"] <= 2


# ── servers that are away ────────────────────────────────────────────────────────────────────


def unavailable_within_s(url):
    began_s = time.monotonic()
    with connect(url) as client, pytest.raises(QueueUnavailable) as caught:
        Ledger(client).counts()
    assert "start Redis, or correct TRANSCRIBE_REDIS_URL" in str(caught.value)
    assert caught.value.exit_code == 3
    return time.monotonic() - began_s


def test_a_server_that_is_down_is_said_to_be_so_at_once(free_port, tmp_path):
    assert unavailable_within_s(f"redis://127.0.0.1:{free_port()}/0") < 1
    assert unavailable_within_s(f"unix://{tmp_path}/none") < 1
    assert unavailable_within_s(f"sentinel://127.0.0.1:{free_port()}/films/0") < 1


def test_a_machine_that_does_not_answer_is_given_up_within_two_seconds():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # fill its backlog: what comes then is dropped, as by a firewall
            one.settimeout(0)
            one.connect_ex(("127.0.0.1", port))
        assert unavailable_within_s(f"redis://127.0.0.1:{port}/0") < 2
        for one in waiting:
            one.close()


# ── what doctor is told ──────────────────────────────────────────────────────────────────────


def test_a_server_that_may_lose_jobs_is_told_of(redis_server):
    client = redis_server.client
    (told,) = problems(client)
    assert "appendonly yes" in told
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert "(allkeys-lru): set maxmemory-policy noeviction" in problems(client)[1]
    finally:
        client.config_set("maxmemory-policy", "noeviction")


def test_a_server_that_keeps_all_is_no_problem_but_its_replica_is(start_redis, free_port, tmp_path):
    port, other = free_port(), free_port()
    url, copy_url = f"redis://127.0.0.1:{port}", f"redis://127.0.0.1:{other}"
    copy = ("--port", str(other), "--replicaof", "127.0.0.1", str(port), "--appenddirname", "copy")
    with (
        start_redis(url, "--port", str(port), "--appendonly", "yes") as server,
        start_redis(copy_url, *copy, "--appendonly", "yes", "--dbfilename", "copy") as replica,
    ):
        assert problems(server.client) == ()
        (told,) = problems(replica.client)
        assert "replica" in told
        with pytest.raises(QueueUnavailable, match="refuses to work"):
            Ledger(replica.client).reap()


@pytest.mark.parametrize(
    ("version", "is_told"), [("6.0.16", True), ("6.2.0", False), ("10.1", False)]
)
def test_a_server_that_is_too_old_is_told_of(version, is_told):
    class Server:
        def info(self, _):
            return {"redis_version": version, "aof_enabled": 1, "maxmemory_policy": "noeviction"}

    assert any("too old" in told for told in problems(Server())) == is_told
