"""Small disks that fill up, or turn read-only.

Goes in: a folder. Comes out: a disk of its own there; without the right to mount, the test is
skipped. Does not know: what is written to it.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted tmpfs."""

    folder: Path

    @property
    def _filler(self):
        return self.folder / "filler"

    def fill(self):
        """Not a byte is left."""
        with self._filler.open("ab", buffering=0) as file:
            for size_bytes in (BLOCK_BYTES, 1):
                try:
                    while file.write(b"x" * size_bytes):
                        pass
                except OSError:
                    continue

    def free(self):
        self._filler.unlink()

    def make(self, mode):
        """Read-only (ro) or writable (rw)."""
        subprocess.run(["mount", "-o", f"remount,{mode}", self.folder], check=True)


@contextmanager
def mounted(folder, megabytes):
    """A disk of this size there, until the `with` ends."""
    folder.mkdir(exist_ok=True)
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if tried.returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
