"""What a living process holds: memory and descriptors, over time.

Goes in: the number of a process. Comes out: readings, and whether they grow. Does not know: what
the process does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
DESCRIPTORS_MORE = 4  # a connection or a child may be on its way
BYTES_MORE = 6e6


@dataclass(frozen=True, slots=True)
class Reading:
    """At one moment."""

    resident_bytes: int
    descriptors: int


@dataclass(slots=True)
class Gauge:
    """Readings of one process."""

    name: str
    pid: int
    readings: list[Reading] = field(default_factory=list)

    def read(self):
        """One more; a process that ended gives none."""
        folder = Path(f"/proc/{self.pid}")
        try:
            pages = int((folder / "statm").read_text().split()[1])
            descriptors = len(list((folder / "fd").iterdir()))
        except OSError:
            return
        self.readings.append(Reading(pages * PAGE_BYTES, descriptors))

    @property
    def early(self):
        """The middle of the second quarter: all that is loaded once is loaded by then."""
        return _middle(self.readings[len(self.readings) // 4 : len(self.readings) // 2])

    @property
    def late(self):
        """The middle of the last quarter."""
        return _middle(self.readings[len(self.readings) * 3 // 4 :])

    def ensure_flat(self, expected_bytes=0.0):
        """AssertionError where it grew, by more than is expected of it."""
        early, late = self.early, self.late
        grown_bytes = late.resident_bytes - early.resident_bytes - expected_bytes
        assert grown_bytes < BYTES_MORE, f"{self.name} grew by {grown_bytes / 1e6:.1f} MB"
        more = late.descriptors - early.descriptors
        assert more <= DESCRIPTORS_MORE, f"{self.name} has {more} more descriptors open"

    def line(self):
        """For a person."""
        early, late = self.early, self.late
        return (
            f"{self.name}: {early.resident_bytes / 1e6:.1f} MB and {early.descriptors} descriptors "
            f"early, {late.resident_bytes / 1e6:.1f} MB and {late.descriptors} late "
            f"({len(self.readings)} readings)"
        )


def _middle(readings):
    return Reading(
        int(median(one.resident_bytes for one in readings)),
        int(median(one.descriptors for one in readings)),
    )
