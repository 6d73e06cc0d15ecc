"""Mount tables, as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.watch.mounts import network_filesystem

TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
28 27 0:50 / /mnt/nas rw,relatime shared:1 master:2 - nfs4 nas:/media rw,vers=4.2
29 28 0:51 / /mnt/nas/local rw - tmpfs tmpfs rw
30 27 0:52 / /mnt/with\040space rw - cifs //nas/media rw
31 27 0:53 / /mnt/sshfs rw - fuse.sshfs me@there:/ rw
32 27 0:54 / /mnt/host rw - 9p host rw
33 27 0:55 / /mnt/over rw - ext4 /dev/vdb rw
34 27 0:56 / /mnt/over rw - virtiofs shared rw
35 27 0:57 / /mnt/under rw - virtiofs shared rw
36 27 0:58 / /mnt/under rw - ext4 /dev/vdc rw
a line of some other kind
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", None),
        ("/home/me", None),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/films/a", "nfs4"),
        ("/mnt/nas/local/a", None),
        ("/mnt/nas2", None),
        ("/mnt/with space/a", "cifs"),
        ("/mnt/sshfs", "fuse.sshfs"),
        ("/mnt/host", "9p"),
        ("/mnt/over", "virtiofs"),
        ("/mnt/under", None),
        ("/mnt/home/../nas", "nfs4"),
    ],
)
def test_the_innermost_mount_on_top_decides(tmp_path, path, kind):
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert network_filesystem(Path(path), table) == kind


def test_links_are_followed_to_where_the_files_lie(tmp_path):
    place = os.path.realpath(tmp_path)
    table = tmp_path / "mountinfo"
    table.write_text(f"1 1 0:1 / / rw - ext4 x rw\n2 1 0:2 / {place}/nas rw - nfs nas:/ rw\n")
    (tmp_path / "link").symlink_to("nas")
    assert network_filesystem(tmp_path / "link", table) == "nfs"


def test_a_root_on_the_network_is_all_on_the_network(tmp_path):
    table = tmp_path / "mountinfo"
    table.write_text("1 1 0:1 / / rw - nfs x rw\n")
    assert network_filesystem(Path("/a"), table) == network_filesystem(Path("/"), table) == "nfs"


def test_without_a_table_nothing_is_known(tmp_path):
    assert network_filesystem(tmp_path, tmp_path / "none") is None


def test_this_machines_own_table_can_be_read():
    assert network_filesystem(Path("/proc")) is None
