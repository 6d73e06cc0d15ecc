"""Which file systems do not tell of changes.

Goes in: a path. Comes out: the file system's name if changes by others are not told there.
Does not know: anything about systems other than Linux: there it says None.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)

# inotify(7): "Inotify reports only events that a user-space program triggers through the filesystem
# API. As a result, it does not catch remote events that occur on network filesystems."
# The same holds for folders that a virtual machine shares with its host (9p, virtiofs, vboxsf …),
# which is how Docker Desktop and WSL bind them, and for whatever is behind FUSE.
_REMOTE = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs"),
        *("glusterfs", "gfs2", "ocfs2", "orangefs", "coda", "ncpfs", "davfs"),
        *("9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs", "fakeowner"),
        *("fuse", "fuseblk"),
    )
)


def network_filesystem(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The kind of file system, such as nfs4, if it does not tell what others change."""
    return Mounts(mounts).remote(path)


class Mounts:
    """The mount table as it is now."""

    def __init__(self, mounts: Path = MOUNTS) -> None:
        try:
            lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            lines = []
        # the later of two on one place lies on top, and sorting is stable
        rows = [row for line in reversed(lines) if (row := _row(line))]
        self._rows = sorted(rows, key=lambda row: -len(row[0]))
        self._any_remote = any(_is_remote(kind) for _, kind in rows)

    def remote(self, path: Path | str) -> str | None:
        """The kind of the file system that the path lies on, if it is a remote one."""
        if not self._any_remote:
            return None
        real = os.path.realpath(path)
        for point, kind in self._rows:
            if real == point or real.startswith(point.rstrip("/") + "/"):
                return kind if _is_remote(kind) else None
        return None


def _row(line: str) -> tuple[str, str] | None:
    """Mount point and kind of `36 35 98:0 /a /mnt/b rw shared:1 - ext4 /dev/sda rw`."""
    before, _, after = line.partition(" - ")
    fields, kinds = before.split(" "), after.split(" ")
    if len(fields) < 5 or not kinds[0]:  # noqa: PLR2004  - the fifth is the mount point
        return None
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]), kinds[0]


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind.startswith("fuse.")
