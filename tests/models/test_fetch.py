from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fetch import Fetched, FetchOptions, RemoteFile, fetch, import_from
from models.part import MARGIN_BYTES, open_part, part_of
from pipeline.errors import BadOption, ModelUnavailable, StorageFailed
from tests.models.server import Odd, serving

ROOT = Path(__file__).parents[2]
CONTENT = b"".join(hashlib.sha256(b"%d" % index).digest() for index in range(12_500))  # 400 kB
SIZE = len(CONTENT)
SOME = 150_000  # bytes that have come when something happens
OTHER = bytes(reversed(CONTENT))  # another file of the same length
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = FetchOptions(stall_s=20, pauses_s=(0, 0, 0), first_pauses_s=(0, 0))
REMEDIES = ("copy small.pt from another machine", "transcribe models fetch small --from",
            "transcribe demo", "--model demo")  # fmt: skip


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def notes():
    return []


class Meter:
    """A progress that remembers what it was told."""

    def __init__(self):
        self.told = []

    def __call__(self, done_bytes, total_bytes):
        self.told.append((done_bytes, total_bytes))


def remote(server, **changes):
    url = f"{server.url}/main/small.pt"
    return replace(RemoteFile("small", url, SHA256, SIZE, "small.pt"), **changes)


def load(file, folder, notes, options=QUICK, progress=None):
    return fetch(file, folder, options, notes.append, progress or Meter())


def refused():
    """An address where nobody listens: the port was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/small.pt"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ── what goes well ───────────────────────────────────────────────────────────────────────────


def test_a_file_is_downloaded_once_and_remembered_as_verified(tmp_path, notes):
    folder = tmp_path / "not" / "yet"
    with serving(CONTENT) as server:
        found = load(remote(server), folder, notes)
        assert load(remote(server), folder, notes) == found
    assert found == Fetched(folder / "small.pt", SHA256)
    assert found.path.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert names(folder) == [".small.pt.sha256", "small.pt"]
    assert notes == [f"the model small is not on this machine; downloading it once into {folder}"]


def test_progress_goes_from_nothing_to_all(tmp_path, notes):
    meter = Meter()
    with serving(CONTENT) as server:
        load(remote(server), tmp_path, notes, progress=meter)
    assert meter.told[0] == (0, SIZE)
    assert meter.told[-1] == (SIZE, SIZE)
    assert meter.told == sorted(meter.told)


def test_a_file_of_which_little_is_known_is_taken_as_it_comes(tmp_path, notes):
    with serving(CONTENT) as server:
        file = remote(server, sha256=None, file_bytes=None)
        assert load(file, tmp_path, notes).sha256 == SHA256
        assert load(file, tmp_path, notes).sha256 == SHA256
    assert len(server.asked) == 1
    assert names(tmp_path) == [".small.pt.sha256", "small.pt"]


def test_a_mirror_has_the_file_under_its_own_name(tmp_path, notes):
    with serving(CONTENT) as server:
        options = replace(QUICK, mirror=f"{server.url}/mirror/")
        load(remote(server, url=refused()), tmp_path, notes, options)
    assert [asked.path for asked in server.asked] == ["/mirror/small.pt"]


@pytest.mark.parametrize(
    "mirror", ["host/path", "file:///etc", "http://[bad", "http://a:b", "http://"]
)
def test_a_mirror_that_is_no_address_is_refused(mirror):
    with pytest.raises(BadOption, match="TRANSCRIBE_MODEL_URL"):
        FetchOptions(mirror=mirror)


def test_redirects_are_followed(tmp_path, notes):
    with serving(CONTENT, Odd(location="/elsewhere")) as server:
        load(remote(server), tmp_path, notes)
    assert [asked.path for asked in server.asked] == ["/main/small.pt", "/elsewhere"]
    assert len(notes) == 1


def test_a_proxy_is_asked_in_place_of_the_server(tmp_path, notes, monkeypatch):
    with serving(CONTENT) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        url = "http://weights.example/small.pt"
        load(remote(proxy, url=url), tmp_path, notes)
    assert [asked.path for asked in proxy.asked] == [url]


def test_https_is_verified(tmp_path, notes, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(CONTENT, tls=tls) as server:
        file = remote(server, url=f"https://{server.host}/small.pt")
        with pytest.raises(ModelUnavailable, match="certificate verify failed"):
            load(file, tmp_path, notes)
        assert server.asked == []
        assert len(notes) == 1, "a wrong certificate does not become right by trying again"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        load(file, tmp_path, notes)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/not/there")
        with pytest.raises(ModelUnavailable, match="CA certificate"):
            load(file, tmp_path / "other", notes)


def test_offline_makes_no_connection_and_says_what_to_do(tmp_path, notes):
    with serving(CONTENT) as server, pytest.raises(ModelUnavailable) as caught:
        load(remote(server), tmp_path / "new", notes, replace(QUICK, offline=True))
    assert server.asked == notes == []
    assert not (tmp_path / "new").exists()
    for part in ("small is not on this machine", "TRANSCRIBE_OFFLINE", *REMEDIES):
        assert part in str(caught.value)


# ── what is there already ────────────────────────────────────────────────────────────────────


def test_a_file_that_is_there_needs_no_network(tmp_path, notes):
    (tmp_path / "small.pt").write_bytes(CONTENT)
    file = RemoteFile("small", refused(), SHA256, SIZE, "small.pt")
    assert load(file, tmp_path, notes).path == tmp_path / "small.pt"
    assert load(file, tmp_path, notes, replace(QUICK, offline=True)).sha256 == SHA256
    assert notes == []


def test_a_damaged_file_is_replaced_and_kept_under_another_name(tmp_path, notes):
    (tmp_path / "small.pt").write_bytes(CONTENT[:-1])
    with serving(CONTENT) as server:
        found = load(remote(server), tmp_path, notes)
    assert found.path.read_bytes() == CONTENT
    assert (tmp_path / "small.pt.damaged").read_bytes() == CONTENT[:-1]
    assert "SHA-256 differs" in notes[0]
    assert "small.pt.damaged" in notes[1]


def test_a_failed_download_leaves_the_damaged_file_where_it_is(tmp_path, notes):
    (tmp_path / "small.pt").write_bytes(b"mine")
    file = RemoteFile("small", refused(), SHA256, SIZE, "small.pt")
    with pytest.raises(ModelUnavailable):
        load(file, tmp_path, notes)
    with pytest.raises(ModelUnavailable, match="small.pt is damaged .* TRANSCRIBE_OFFLINE"):
        load(file, tmp_path, notes, replace(QUICK, offline=True))
    assert (tmp_path / "small.pt").read_bytes() == b"mine"


# ── what servers do ──────────────────────────────────────────────────────────────────────────


def test_a_cut_connection_is_continued_where_it_ended(tmp_path, notes):
    with serving(CONTENT, Odd(cut_after=100_000), Odd(cut_after=200_000)) as server:
        load(remote(server), tmp_path, notes)
    assert [asked.range for asked in server.asked] == [None, "bytes=100000-", "bytes=300000-"]
    assert server.sent_bytes == SIZE
    assert notes[1] == f"{server.host}: the connection broke off; trying again in 0 s"


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, SIZE - 1), max_size=5), st.booleans(), st.booleans())
def test_wherever_it_is_cut_the_file_arrives(cuts, ranges, known):
    script = [Odd(cut_after=cut) for cut in cuts]
    with (
        serving(CONTENT, *script, ranges=ranges) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = remote(server) if known else remote(server, sha256=None, file_bytes=None)
        options = replace(QUICK, pauses_s=(0,) * 6, first_pauses_s=(0,) * 6)
        found = load(file, Path(folder), [], options)
        assert found.path.read_bytes() == CONTENT
        if ranges:
            assert server.sent_bytes == SIZE
        assert len(server.asked) <= len(cuts) + 1


def test_a_silent_server_is_given_up_and_continued(tmp_path, notes):
    with serving(CONTENT, Odd(wait_after=SOME)) as server:
        load(remote(server), tmp_path, notes, replace(QUICK, stall_s=0.2))
    assert "timed out" in notes[1]
    assert [asked.range for asked in server.asked] == [None, f"bytes={SOME}-"]


def test_a_server_that_says_nothing_at_all_is_given_up_soon(tmp_path, notes):
    with serving(CONTENT, *[Odd(wait_after=0)] * 9) as server:
        with pytest.raises(ModelUnavailable, match="timed out"):
            load(remote(server), tmp_path, notes, replace(QUICK, stall_s=0.1))
        assert len(server.asked) == 1 + len(QUICK.first_pauses_s)
    assert names(tmp_path) == []


def test_a_server_that_brings_nothing_new_is_given_up(tmp_path, notes):
    cuts = [Odd(cut_after=100_000), *[Odd(cut_after=0)] * 9]
    with serving(CONTENT, *cuts) as server:
        with pytest.raises(ModelUnavailable, match=f"could not be downloaded from {server.host}"):
            load(remote(server), tmp_path, notes)
        assert len(server.asked) == 1 + len(QUICK.pauses_s)
    assert part_of(tmp_path / "small.pt").read_bytes() == CONTENT[:100_000]
    assert names(tmp_path) == [".small.pt.part"]


def test_where_nothing_came_nothing_is_left(tmp_path, notes):
    cuts = [Odd(cut_after=0)] * 9
    with serving(CONTENT, *cuts) as server, pytest.raises(ModelUnavailable, match="broke off"):
        load(remote(server, sha256=None), tmp_path, notes)
    assert names(tmp_path) == []


def test_it_waits_before_it_tries_again(tmp_path, notes):
    began_s = time.monotonic()
    with serving(CONTENT, Odd(status=503)) as server:
        load(remote(server), tmp_path, notes, replace(QUICK, first_pauses_s=(0.05,)))
    assert time.monotonic() - began_s >= 0.05
    assert notes[1].endswith("trying again in 0.05 s")


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_busy_server_is_asked_again(tmp_path, notes, status):
    with serving(CONTENT, Odd(status=status), Odd(status=status)) as server:
        load(remote(server), tmp_path, notes)
    assert len(server.asked) == 3
    assert f"HTTP {status}" in notes[2]


@pytest.mark.parametrize("status", [404, 403, 401, 407, 410, 204, 304, 299])
def test_a_refusal_is_told_at_once(tmp_path, notes, status):
    with serving(CONTENT, Odd(status=status)) as server:
        with pytest.raises(ModelUnavailable) as caught:
            load(remote(server), tmp_path, notes)
        assert len(server.asked) == 1
    for part in (f"from {server.host} (HTTP {status}", *REMEDIES):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_refused_connection_is_told_by_its_cause_alone(tmp_path, notes):
    file = RemoteFile("small", refused(), SHA256, SIZE, "small.pt")
    with pytest.raises(ModelUnavailable, match=r"\(\[Errno \d+\] Connection refused\)"):
        load(file, tmp_path, notes)
    assert len(notes) == 1 + len(QUICK.first_pauses_s)
    assert names(tmp_path) == []


def test_passwords_in_an_address_are_not_told(tmp_path, notes):
    with serving(CONTENT, Odd(status=503), Odd(status=403)) as server:
        options = replace(QUICK, mirror=f"http://me:secret@{server.host}")
        with pytest.raises(ModelUnavailable) as caught:
            load(remote(server), tmp_path, notes, options)
    assert "secret" not in str(caught.value) + "".join(notes)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (Odd(body=OTHER), "its SHA-256 is [0-9a-f]{64} instead of"),
        (Odd(body=OTHER[:-1]), f"{SIZE - 1} bytes are offered instead of {SIZE}"),
        (Odd(length=SIZE + 1), f"{SIZE + 1} bytes are offered instead of {SIZE}"),
        (Odd(body=b"<html>", content_type="text/html"), "web page .* login page"),
        (Odd(body=b"<html>" * SIZE, content_type="text/html", chunked=True), "web page"),
        (Odd(endless=True), f"more was sent than the {SIZE} bytes"),
        (Odd(body=CONTENT + b"!", chunked=True), f"more was sent than the {SIZE} bytes"),
        (Odd(location="http://[bad"), "could not be downloaded"),
        (Odd(location="gopher://a/b"), "could not be downloaded"),
    ],
    ids=[
        "garbage",
        "short",
        "long",
        "login",
        "chunked login",
        "endless",
        "one more",
        "bad",
        "gopher",
    ],
)
def test_what_is_not_the_file_is_told_at_once_and_leaves_nothing_behind(tmp_path, notes, odd, said):
    with serving(CONTENT, odd) as server:
        with pytest.raises(ModelUnavailable, match=said) as caught:
            load(remote(server), tmp_path, notes)
        assert len(server.asked) == 1
    assert "transcribe demo" in str(caught.value)
    assert names(tmp_path) == []


def test_redirects_in_a_circle_end(tmp_path, notes):
    circle = [Odd(location="/again")] * 50
    with serving(CONTENT, *circle) as server, pytest.raises(ModelUnavailable, match="30 redirects"):
        load(remote(server), tmp_path, notes)


def test_an_unsaid_length_is_no_harm_where_it_is_known(tmp_path, notes):
    with serving(CONTENT, Odd(chunked=True), Odd(chunked=True)) as server:
        load(remote(server), tmp_path, notes)
        with pytest.raises(ModelUnavailable, match="does not say how long"):
            load(remote(server, file_bytes=None), tmp_path / "other", notes)


def test_a_body_that_ends_early_without_saying_so_is_continued(tmp_path, notes):
    with serving(CONTENT, Odd(body=CONTENT[:1000], chunked=True)) as server:
        load(remote(server), tmp_path, notes)
    assert f"only 1000 of {SIZE} bytes" in notes[1]
    assert server.asked[1].range == "bytes=1000-"


def test_a_login_page_does_not_destroy_what_has_arrived(tmp_path, notes):
    login = Odd(body=b"<html>", content_type="text/html")
    script = (Odd(cut_after=100_000), login)
    with serving(CONTENT, *script, ranges=False) as server, pytest.raises(ModelUnavailable):
        load(remote(server), tmp_path, notes)
    assert part_of(tmp_path / "small.pt").stat().st_size == 100_000


def test_a_server_without_ranges_is_asked_for_everything_again(tmp_path, notes):
    with serving(CONTENT, Odd(cut_after=100_000), ranges=False) as server:
        load(remote(server), tmp_path, notes)
    assert server.sent_bytes == 100_000 + SIZE


def test_a_piece_that_was_not_asked_for_is_not_taken(tmp_path, notes):
    with serving(CONTENT, Odd(cut_after=100_000), Odd(shift=7)) as server:
        load(remote(server), tmp_path, notes)
    assert [asked.range for asked in server.asked] == [None, "bytes=100000-", None]


# ── what was there from an earlier time ──────────────────────────────────────────────────────


def begin(folder, content, etag=None):
    """What an earlier download left behind."""
    target = folder / "small.pt"
    with open_part(target, pytest.fail) as part:
        part.append(content)
        part.etag = etag


def test_pieces_of_another_file_are_noticed_in_the_end_and_loaded_anew_once(tmp_path, notes):
    begin(tmp_path, OTHER[:1000])
    with serving(CONTENT) as server:
        load(remote(server), tmp_path, notes)
    assert [asked.range for asked in server.asked] == ["bytes=1000-", None]
    assert "do not belong together" in notes[1]


def test_pieces_of_another_file_are_loaded_anew_only_once(tmp_path, notes):
    begin(tmp_path, CONTENT[:1000])
    with serving(OTHER) as server:
        with pytest.raises(ModelUnavailable, match="SHA-256"):
            load(remote(server), tmp_path, notes)
        assert len(server.asked) == 2
    assert names(tmp_path) == []


def test_a_file_that_changes_between_two_connections_is_loaded_anew(tmp_path, notes):
    with serving(CONTENT, Odd(body=OTHER, cut_after=1000)) as server:
        load(remote(server), tmp_path, notes)
    assert [asked.range for asked in server.asked] == [None, "bytes=1000-", None]


@pytest.mark.parametrize(("etag", "sent_bytes"), [('"one"', SIZE - 1000), ('"old"', SIZE)])
def test_without_a_sum_the_etag_tells_whether_it_is_still_the_same(
    tmp_path, notes, etag, sent_bytes
):
    begin(tmp_path, CONTENT[:1000] if etag == '"one"' else OTHER[:1000], etag)
    with serving(CONTENT) as server:
        load(remote(server, sha256=None, file_bytes=None), tmp_path, notes)
    assert (tmp_path / "small.pt").read_bytes() == CONTENT
    assert [(asked.range, asked.if_range) for asked in server.asked] == [("bytes=1000-", etag)]
    assert server.sent_bytes == sent_bytes
    assert names(tmp_path) == [".small.pt.sha256", "small.pt"]


def test_without_a_sum_and_an_etag_everything_is_loaded_anew(tmp_path, notes):
    begin(tmp_path, OTHER[:1000])
    with serving(CONTENT, Odd(cut_after=1000)) as server:
        server.etag = 'W/"weak"'  # two files may have it
        load(remote(server, sha256=None), tmp_path, notes)
    assert [asked.range for asked in server.asked] == [None, None]
    assert (tmp_path / "small.pt").read_bytes() == CONTENT


def test_a_part_that_is_complete_is_taken_without_the_network(tmp_path, notes):
    begin(tmp_path, CONTENT)
    file = RemoteFile("small", refused(), SHA256, SIZE, "small.pt")
    assert load(file, tmp_path, notes).path.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_dropped(tmp_path, notes):
    begin(tmp_path, CONTENT + b"!")
    with serving(CONTENT) as server:
        load(remote(server), tmp_path, notes)
    assert [asked.range for asked in server.asked] == [None]


def test_a_server_whose_file_is_shorter_than_the_part_is_asked_for_everything(tmp_path, notes):
    begin(tmp_path, CONTENT + b"!", '"one"')
    with serving(CONTENT) as server:
        load(remote(server, sha256=None, file_bytes=None), tmp_path, notes)
    assert [asked.range for asked in server.asked] == [f"bytes={SIZE + 1}-", None]
    assert (tmp_path / "small.pt").read_bytes() == CONTENT


def test_a_part_is_dropped_when_the_file_comes_from_elsewhere_meanwhile(tmp_path):
    begin(tmp_path, CONTENT[:1000])
    file = RemoteFile("small", refused(), SHA256, SIZE, "small.pt")

    def bring_it(_note):
        (tmp_path / "small.pt").write_bytes(CONTENT)

    assert fetch(file, tmp_path, QUICK, bring_it, Meter()).sha256 == SHA256
    assert names(tmp_path) == [".small.pt.sha256", "small.pt"]


# ── the disk ─────────────────────────────────────────────────────────────────────────────────


def test_a_folder_that_cannot_be_made_is_a_storage_failure(tmp_path, notes):
    (tmp_path / "file").write_bytes(b"")
    with serving(CONTENT) as server, pytest.raises(StorageFailed, match="cannot be stored"):
        load(remote(server), tmp_path / "file" / "weights", notes)
    assert server.asked == []


def test_a_file_that_is_larger_than_the_disk_is_not_begun(tmp_path, notes):
    petabytes = 10**15
    with serving(CONTENT, Odd(length=petabytes)) as server:
        with pytest.raises(StorageFailed, match=r"takes 1000000000\.0 MB .* are free"):
            load(remote(server, file_bytes=petabytes), tmp_path, notes)
        assert len(server.asked) == 1
    assert names(tmp_path) == []


FULL = """
import os, sys
from pathlib import Path
from models.fetch import FetchOptions, RemoteFile, fetch
from pipeline.errors import StorageFailed

url, sha256, size, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
file = RemoteFile("small", url, sha256, size, "small.pt")

def fill(done, total):
    if done:
        with (folder / "filler").open("ab", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

def use_all(done, total):
    try:
        fill(done, total)
    except OSError:
        pass

try:
    fetch(file, folder, FetchOptions(), print, use_all)
except StorageFailed as error:
    print(error)
(folder / "filler").unlink()
print((folder / ".small.pt.part").stat().st_size)
print(fetch(file, folder, FetchOptions(), print, lambda done, total: None).sha256)
"""


def test_a_disk_that_fills_up_is_told_and_what_has_arrived_is_continued(tmp_path):
    """A small file system in a mount namespace of its own."""
    if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    mount = f'mount -t tmpfs -o size={MARGIN_BYTES + (1 << 20)} none "{tmp_path}" && exec "$@"'
    with serving(CONTENT) as server:
        ended = subprocess.run(
            ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c", FULL,
             f"{server.url}/small.pt", SHA256, str(SIZE), tmp_path],
            cwd=ROOT, env=environment(), check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    said, arrived, _, sha256 = ended.stdout.splitlines()[1:]
    assert "cannot be stored" in said
    assert "No space left on device" in said
    assert 0 < int(arrived) < SIZE
    assert sha256 == SHA256
    assert [asked.range for asked in server.asked] == [None, f"bytes={arrived}-"]


# ── several processes ────────────────────────────────────────────────────────────────────────

CHILD = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
from models.fetch import FetchOptions, RemoteFile, fetch

url, sha256, size, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
file = RemoteFile("small", url, sha256, size, "small.pt")
say = lambda *what: print(*what, flush=True)
say(fetch(file, folder, FetchOptions(), say, say).sha256)
"""


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def start(tmp_path):
    """Start a process that fetches from a server."""
    started = []

    def begin_child(server):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, f"{server.url}/small.pt", SHA256, str(SIZE), tmp_path],
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(child)
        return child

    yield begin_child
    for child in started:
        child.kill()
        child.communicate()


def wait_for(child, text):
    """The line that contains the text; fails when the child ends before it says so."""
    for line in child.stdout:
        if text in line:
            return line
    return pytest.fail(f"it never said {text!r}: {child.stderr.read()}")


def test_two_processes_make_one_download(start, tmp_path):
    with serving(CONTENT, Odd(wait_after=SOME)) as server:
        first = start(server)
        wait_for(first, f"{SOME} {SIZE}")
        second = start(server)
        wait_for(second, "another process is fetching small; waiting for it")
        server.go.set()
        for child in (first, second):
            wait_for(child, SHA256)
            assert child.wait(20) == 0
    assert len(server.asked) == 1
    assert server.sent_bytes == SIZE
    assert (tmp_path / "small.pt").read_bytes() == CONTENT
    assert names(tmp_path) == [".small.pt.sha256", "small.pt"]


def test_a_killed_download_is_continued_by_the_one_that_waits(start, tmp_path):
    with serving(CONTENT, Odd(wait_after=SOME)) as server:
        first = start(server)
        wait_for(first, f"{SOME} {SIZE}")
        second = start(server)
        wait_for(second, "waiting for it")
        first.send_signal(signal.SIGKILL)
        wait_for(second, SHA256)
        assert second.wait(20) == 0
        assert [asked.range for asked in server.asked] == [None, f"bytes={SOME}-"]
        assert server.sent_bytes == SIZE
    assert names(tmp_path) == [".small.pt.sha256", "small.pt"]


def test_ctrl_c_ends_the_waiting(start, tmp_path):
    with serving(CONTENT) as server, open_part(tmp_path / "small.pt", pytest.fail):
        child = start(server)
        wait_for(child, "waiting for it")
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == -signal.SIGINT
        assert "KeyboardInterrupt" in child.stderr.read()
    assert server.asked == []


def test_ctrl_c_ends_the_download_and_keeps_what_has_arrived(start, tmp_path):
    with serving(CONTENT, Odd(wait_after=SOME)) as server:
        child = start(server)
        wait_for(child, f"{SOME} {SIZE}")
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == -signal.SIGINT
    assert part_of(tmp_path / "small.pt").read_bytes() == CONTENT[:SOME]


# ── from another machine ─────────────────────────────────────────────────────────────────────


@pytest.fixture
def stick(tmp_path):
    """What somebody carried here."""
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "small.pt").write_bytes(CONTENT)
    return folder


def bring(source, folder, notes, progress=None):
    file = RemoteFile("small", refused(), SHA256, SIZE, "small.pt")
    return import_from(file, source, folder, notes.append, progress or Meter())


@pytest.mark.parametrize("name", ["", "small.pt", "renamed"])
def test_a_folder_or_a_file_is_copied_and_stays_as_it_was(tmp_path, notes, stick, name):
    shutil.copyfile(stick / "small.pt", stick / "renamed")
    before = (stick / "small.pt").stat()
    meter = Meter()
    found = bring(stick / name, tmp_path / "weights", notes, meter)
    assert found == Fetched(tmp_path / "weights" / "small.pt", SHA256)
    assert found.path.read_bytes() == CONTENT
    assert (stick / "small.pt").stat().st_mtime_ns == before.st_mtime_ns
    assert names(stick) == ["renamed", "small.pt"]
    assert names(tmp_path / "weights") == [".small.pt.sha256", "small.pt"]
    assert meter.told[-1] == (SIZE, SIZE)


def test_what_had_arrived_of_a_download_is_not_mixed_with_the_copy(tmp_path, notes, stick):
    begin(tmp_path, OTHER[:1000])
    assert bring(stick, tmp_path, notes).path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "said"),
    [(OTHER, "SHA-256 [0-9a-f]{64} instead of"), (CONTENT[:-1], "SHA-256"), (b"", "SHA-256")],
)
def test_a_wrong_file_is_not_taken(tmp_path, notes, stick, content, said):
    (stick / "small.pt").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=said) as caught:
        bring(stick, tmp_path / "weights", notes)
    assert f"{stick}/small.pt is not what was published" in str(caught.value)
    assert (stick / "small.pt").read_bytes() == content
    assert names(tmp_path / "weights") == []


def test_a_missing_source_is_told(tmp_path, notes, stick):
    (stick / "small.pt").unlink()
    with pytest.raises(ModelUnavailable, match=r"stick/small\.pt is not there: give small\.pt"):
        bring(stick, tmp_path, notes)
    with pytest.raises(ModelUnavailable, match="null is not a file"):
        bring(Path("/dev/null"), tmp_path, notes)


def test_what_is_there_is_not_copied_again(tmp_path, notes, stick):
    (tmp_path / "small.pt").write_bytes(CONTENT)
    bring(tmp_path / "nowhere", tmp_path, notes)
    assert notes == [f"{tmp_path / 'small.pt'} is there already"]
