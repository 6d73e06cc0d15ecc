"""Whether something happened in watched folders, so that the next look comes sooner.

Goes in: the folders that the last look went through. Comes out: yes or no, and why there may be
nothing to hear. Does not know: what happened. Looks are the truth; this may miss anything.

Each folder is watched by itself. Asked to watch a tree, watchfiles 1.3 follows links out of it,
lets no other thread run until it has been everywhere, and stops at the first unreadable folder.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

from pipeline.source import display
from workers.watch.mounts import MOUNTS, Mounts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from watchfiles._rust_notify import RustNotify

GATHER_MS = 200  # at most, from the first event until it is told
STEP_MS = 50  # how often the thread looks whether there are events
ADDED, DELETED = 1, 3  # watchfiles.Change; a rename is one of each

_LIMITS = (  # what notify says, and what that means; inotify(7)
    ("watch limit", "no inotify watches are left: raise fs.inotify.max_user_watches"),
    ("Too many open files", "no inotify instance is left: raise fs.inotify.max_user_instances"),
)


@dataclass(frozen=True, slots=True)
class EventOptions:
    """How hard is tried."""

    most_folders: int = 50_000  # other threads stand still for 10 µs a folder
    renew_s: float = 300.0  # a watch can end without a word, as when a folder is unmounted
    retry_s: float = 30.0  # after a failure
    pause_s: float = 2.0  # after a name that is not UTF-8, which ends a watch of watchfiles 1.3
    mounts: Path = MOUNTS


class Events:
    """Listens in a thread of its own; nothing that goes wrong there is raised."""

    def __init__(self, options: EventOptions | None = None) -> None:
        self._options = options or EventOptions()
        self._happened = Event()
        self._again = Event()  # what is listened to has to change, or nothing is any more
        self._folders: frozenset[str] = frozenset()
        self._is_stale = False  # a folder that is listened to was moved, and may be back
        self._is_closed = False
        self._left_out: str | None = None
        self._failed: str | None = None
        self._thread: Thread | None = None

    @property
    def why_not(self) -> str | None:
        """Why some or all changes are not heard of, so that looks should come more often."""
        return self._failed or self._left_out

    def watch(self, folders: Iterable[Path]) -> None:
        """From now on listen in these folders, not in those below them; returns at once.

        Call it after every look: it does nothing when there is nothing to do. What happened before
        a folder was listened to is not told; therefore beginning to listen counts as an event.
        """
        wanted = frozenset(map(os.path.abspath, folders))
        if self._is_closed or (wanted == self._folders and not self._is_stale):
            return
        self._folders = wanted
        self._is_stale = False
        self._again.set()
        if self._thread is None:
            self._thread = Thread(target=self._keep, name="events", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Whether something happened since it was last asked, or does within the time."""
        if not self._happened.wait(timeout_s) or self._is_closed:
            return False
        self._happened.clear()
        return True

    def close(self, within_s: float = 2.0) -> None:
        """End listening; whoever waits is let go."""
        self._is_closed = True
        self._again.set()
        self._happened.set()
        if self._thread:
            self._thread.join(within_s)

    def _keep(self) -> None:
        while True:
            self._again.clear()
            if self._is_closed:  # looked at after clearing, so that no end is missed
                return
            try:
                pause_s = self._listen(self._folders)
            except BaseException as error:  # noqa: BLE001  - a panic in Rust is no Exception
                self._failed = _in_words(error)
                pause_s = self._options.retry_s
            self._again.wait(pause_s)

    def _listen(self, wanted: frozenset[str]) -> float:
        """Listen until that has to begin anew; seconds until then. Raises what watchfiles does."""
        from watchfiles._rust_notify import RustNotify

        folders, self._left_out = _told_of(wanted, Mounts(self._options.mounts))
        if len(folders) > self._options.most_folders:
            self._failed = f"{len(folders)} folders are too many to listen to"
            return self._options.retry_s
        # not polling, not recursive, and no error is passed over
        with RustNotify(folders, False, False, 0, False, False) as notify:  # noqa: FBT003
            self._failed = None
            self._happened.set()
            return self._hear(notify, frozenset(folders))

    def _hear(self, notify: RustNotify, folders: frozenset[str]) -> float:
        end_s = time.monotonic() + self._options.renew_s
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                changes = notify.watch(GATHER_MS, STEP_MS, int(left_s * 1000) + 1, self._again)
            except RuntimeError:  # WatchfilesRustInternalError: something happened, but what?
                self._happened.set()
                return self._options.pause_s
            if changes == "stop":
                break
            if not isinstance(changes, str):
                if any(path in folders for kind, path in changes if kind in {ADDED, DELETED}):
                    self._is_stale = True
                self._happened.set()
        return 0.0


def _told_of(wanted: frozenset[str], mounts: Mounts) -> tuple[list[str], str | None]:
    """The folders that can be listened to, and why one cannot."""
    folders: list[str] = []
    why_not = None if wanted else "no folder is there"
    for folder in wanted:
        kind = mounts.remote(folder)
        if kind:
            why_not = f"{display(folder)} lies on {kind}, where changes by others are not told"
        elif not _is_utf_8(folder):
            why_not = f"{display(folder)} has a name that is not UTF-8"
        elif os.path.isdir(folder):  # noqa: PTH112  - it may be gone since the look
            folders.append(folder)
    return folders, why_not


def _is_utf_8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _in_words(error: BaseException) -> str:
    text = str(error)
    for said, meaning in _LIMITS:
        if said in text:
            return meaning
    return f"listening failed ({display(text)[:200]})"
