"""Real events of a real file system, and its real limits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.watch.events import EventOptions, Events

ROOT = Path(__file__).parents[3]
SOON_S = 10.0  # for what comes within a tenth of a second unless the machine is very busy
NOT_S = 0.4  # for what should not come: much longer than gathering takes

pytestmark = pytest.mark.slow  # 14 s


@contextmanager
def listening(*folders, **options):
    """Events that have begun to listen, and nothing has happened yet."""
    events = Events(EventOptions(**options))
    try:
        events.watch(folders)
        assert events.wait(SOON_S)
        while events.wait(NOT_S):
            pass
        yield events
    finally:
        events.close()


def test_what_happens_in_a_folder_is_told_once(tmp_path):
    with listening(tmp_path) as events:
        assert events.why_not is None
        (tmp_path / "a.mp3").write_bytes(b"sound")
        assert events.wait(SOON_S)
        assert not events.wait(NOT_S)
        (tmp_path / "a.mp3").rename(tmp_path / "b.mp3")
        assert events.wait(SOON_S)


def test_reading_is_nothing_that_happens(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"sound")
    with listening(tmp_path) as events:
        (tmp_path / "a.mp3").read_bytes()
        list(tmp_path.iterdir())
        assert not events.wait(NOT_S)


def test_a_new_folder_is_heard_and_once_it_is_watched_so_is_what_comes_into_it(tmp_path):
    with listening(tmp_path) as events:
        (tmp_path / "new").mkdir()
        assert events.wait(SOON_S)
        events.watch([tmp_path, tmp_path / "new"])
        assert events.wait(SOON_S)  # whatever came into it meanwhile
        while events.wait(NOT_S):
            pass
        (tmp_path / "new" / "a.mp3").write_bytes(b"sound")
        assert events.wait(SOON_S)


def test_watching_the_same_folders_again_is_nothing(tmp_path):
    with listening(tmp_path) as events:
        events.watch([tmp_path])
        assert not events.wait(NOT_S)


def inotify_watches():
    """How many this process has."""
    places = [Path("/proc/self/fdinfo", name) for name in os.listdir("/proc/self/fdinfo")]  # noqa: PTH208
    texts = [place.read_text() for place in places if place.exists()]
    return sum(text.count("inotify wd") for text in texts)


@pytest.mark.skipif(sys.platform != "linux", reason="counts inotify's watches")
def test_links_out_of_the_folder_take_no_watches(tmp_path):
    before = inotify_watches()
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "in" / "link").symlink_to("../out")
    with listening(tmp_path / "in"):
        assert inotify_watches() == before + 1


def test_a_name_that_is_not_utf_8_is_told_and_listening_goes_on(tmp_path):
    with listening(tmp_path, pause_s=0.01) as events:
        Path(tmp_path, os.fsdecode(b"\xff.mp3")).write_bytes(b"sound")
        assert events.wait(SOON_S)
        while events.wait(NOT_S):
            pass
        assert events.why_not is None
        (tmp_path / "a.mp3").write_bytes(b"sound")
        assert events.wait(SOON_S)


def test_a_folder_whose_name_is_not_utf_8_is_left_out_and_that_is_said(tmp_path):
    strange = Path(tmp_path, os.fsdecode(b"\xff"))
    strange.mkdir()
    with listening(tmp_path, strange) as events:
        assert events.why_not == f"{tmp_path}/\\xff has a name that is not UTF-8"
        (tmp_path / "a.mp3").write_bytes(b"sound")
        assert events.wait(SOON_S)


def test_a_folder_that_vanishes_and_comes_back_is_listened_to_again(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    with listening(root) as events:
        root.rename(tmp_path / "away")
        assert events.wait(SOON_S)
        root.mkdir()
        events.watch([root])  # the next look found the same folders
        assert events.wait(SOON_S)
        while events.wait(NOT_S):
            pass
        (root / "a.mp3").write_bytes(b"sound")
        assert events.wait(SOON_S)


def test_a_folder_that_is_missing_and_back_at_the_next_look_is_listened_to_again(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    with listening(root) as events:
        root.rmdir()
        events.watch([])
        assert events.wait(SOON_S)
        while events.wait(NOT_S):
            pass
        assert events.why_not == "no folder is there"
        root.mkdir()
        events.watch([root])
        assert events.wait(SOON_S)
        while events.wait(NOT_S):
            pass
        assert events.why_not is None
        (root / "a.mp3").write_bytes(b"sound")
        assert events.wait(SOON_S)


def test_a_folder_that_went_away_before_it_could_be_watched_does_not_disturb_others(tmp_path):
    with listening(tmp_path, tmp_path / "gone") as events:
        (tmp_path / "a.mp3").write_bytes(b"sound")
        assert events.wait(SOON_S)


def test_a_network_file_system_is_named_and_left_to_looks(tmp_path):
    (tmp_path / "nas").mkdir()
    table = tmp_path / "mountinfo"
    place = os.path.realpath(tmp_path / "nas")
    table.write_text(f"1 1 0:1 / / rw - ext4 x rw\n2 1 0:2 / {place} rw - nfs4 nas:/ rw\n")
    with listening(tmp_path, tmp_path / "nas", mounts=table) as events:
        assert events.why_not == (
            f"{tmp_path}/nas lies on nfs4, where changes by others are not told"
        )
        (tmp_path / "nas" / "a.mp3").write_bytes(b"sound")
        assert not events.wait(NOT_S)


def test_too_many_folders_are_left_to_looks(tmp_path):
    (tmp_path / "a").mkdir()
    events = Events(EventOptions(most_folders=1))
    events.watch([tmp_path, tmp_path / "a"])
    wait_until(lambda: events.why_not == "2 folders are too many to listen to")
    events.close()


def wait_until(is_so):
    end_s = time.monotonic() + SOON_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_many_files_at_once_are_told(tmp_path):
    with listening(tmp_path) as events:
        for number in range(20_000):  # more than inotify keeps, unless the thread is quick
            (tmp_path / f"{number}.mp3").touch()
        assert events.wait(SOON_S)
        while events.wait(NOT_S):
            pass
        (tmp_path / "one more.mp3").touch()
        assert events.wait(SOON_S)


def test_closing_is_prompt_and_lets_go_whoever_waits(tmp_path):
    before = threading.active_count()
    with listening(tmp_path) as events:
        closer = threading.Timer(0.05, events.close)
        closer.start()
        began_s = time.monotonic()
        assert not events.wait(60)
        closer.join()
        assert time.monotonic() - began_s < SOON_S
        assert not events.wait(60)
        events.watch([tmp_path / "other"])
        events.close()
    assert threading.active_count() == before


def test_what_was_never_started_can_be_closed():
    Events().close()


LIMITED = """
import sys, time
from pathlib import Path
from workers.watch.events import EventOptions, Events

limit, folder = Path("/proc/sys/user", sys.argv[1]), Path(sys.argv[2])
was = limit.read_text()
limit.write_text(sys.argv[3])
events = Events(EventOptions(retry_s=0.05))
events.watch([folder, *folder.iterdir()])
end_s = time.monotonic() + 10
while events.why_not is None and time.monotonic() < end_s:
    time.sleep(0.01)
print(events.why_not, events.wait(0))
limit.write_text(was)
print(events.wait(10), events.why_not)
while events.wait(0.4):
    pass
next(folder.iterdir()).joinpath("a.mp3").touch()
print(events.wait(10))
events.close()
"""


def in_a_namespace(*arguments):
    """Output of a script that is root in a world of its own; skipped where that is not allowed."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no user namespaces here")
    command = [*unshare, sys.executable, "-c", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("watches", 2, "no inotify watches are left: raise fs.inotify.max_user_watches"),
        ("instances", 0, "no inotify instance is left: raise fs.inotify.max_user_instances"),
    ],
)
def test_when_inotify_has_reached_its_limit_that_is_said_and_tried_again(
    tmp_path, limit, value, reason
):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    said = in_a_namespace(LIMITED, f"max_inotify_{limit}", tmp_path, value)
    assert said == [f"{reason} False", "True None", "True"]


MOUNTED = """
import subprocess, sys
from pathlib import Path
from workers.watch.events import EventOptions, Events

folder = Path(sys.argv[1])
mount = ["mount", "-t", "tmpfs", "none", str(folder)]
subprocess.run(mount, check=True)
events = Events(EventOptions(renew_s=0.5))
events.watch([folder])
print(events.wait(10))
subprocess.run(["umount", str(folder)], check=True)
subprocess.run(mount, check=True)
print(events.wait(10))
(folder / "a.mp3").touch()
print(events.wait(10))
events.close()
subprocess.run(["umount", str(folder)], check=True)
"""


def test_a_file_system_that_was_unmounted_is_listened_to_again_when_the_watch_is_renewed(tmp_path):
    assert in_a_namespace(MOUNTED, tmp_path) == ["True"] * 3
