"""How much RAM this process may still take.

Goes in: the files that Linux shows of itself. Comes out: total and free bytes, with the reason.
Does not know: GPUs, models.

Sources: proc(5); the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; setrlimit(2).
Every file is optional, and nothing in one raises.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = "([0-9]{1,19})"  # what 64 bits hold


@dataclass(frozen=True, slots=True)
class Ram:
    """0 <= free <= total."""

    total_bytes: int
    free_bytes: int
    reason: str  # what sets the free bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class System:
    """What the operating system says by calls rather than by files."""

    physical_bytes: int  # 0: it does not say
    address_space_bytes: int | None = None  # RLIMIT_AS, as `ulimit -v` sets it; None: no limit


@dataclass(frozen=True, slots=True)
class _Bound:
    """One thing that bounds the memory; the tightest counts."""

    total_bytes: int
    free_bytes: int
    reason: str


def look_at_ram(root: Path, system: System) -> Ram:
    """RAM of this machine, or of this container where that is less."""
    machine, notes = _machine(root, system)
    bounds = [machine, *_cgroups(root), *_address_space(root, system)]
    tightest = min(bounds, key=lambda bound: bound.free_bytes)
    total = min(bound.total_bytes for bound in bounds)
    return Ram(total, min(max(tightest.free_bytes, 0), total), tightest.reason, notes)


def ask_system() -> System:
    """This system's answers."""
    import resource

    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # a system without these names
        physical = 0
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return System(max(physical, 0), None if limit == resource.RLIM_INFINITY else limit)


def _machine(root: Path, system: System) -> tuple[_Bound, tuple[str, ...]]:
    """All of the machine's memory. Page cache counts as free."""
    kib = _numbers(root / "proc/meminfo")
    if "MemTotal" not in kib:
        half = system.physical_bytes // 2
        note = "This system does not tell its free memory (no /proc/meminfo); half of it is assumed"
        return _Bound(system.physical_bytes, half, "half of this machine's memory"), (f"{note}.",)
    if "MemAvailable" in kib:
        free, reason = kib["MemAvailable"], "MemAvailable of this machine"
    else:  # before Linux 3.14
        free = sum(kib.get(key, 0) for key in ("MemFree", "Buffers", "Cached"))
        reason = "free memory, buffers and page cache of this machine"
    return _Bound(kib["MemTotal"] * 1024, free * 1024, reason), ()


def _cgroups(root: Path) -> Iterator[_Bound]:
    """The limits of this process's groups and of all above them, of both versions.

    Systems that mix the versions have v1's memory at memory/ and v2 at unified/.
    """
    v1, v2 = _groups(root)
    mounts = root / "sys/fs/cgroup"
    for mount in (mounts, mounts / "unified"):
        for folder in _upwards(mount, v2):
            yield from _limits_v2(folder)
    for folder in _upwards(mounts / "memory", v1):
        yield from _limits_v1(folder)


def _groups(root: Path) -> tuple[str, str]:
    """This process's groups for memory, in v1 and in v2, from lines such as "4:memory:/a/b"."""
    v1 = v2 = "/"
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            v1 = path
        elif number == "0" and not controllers:
            v2 = path
    return v1, v2


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The group's folder and those above it, up to the mount.

    In a container the group may be named as its host sees it, or be outside ("/../x"); what the
    mount does not have is without limits, and its root then is the container's own group.
    """
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _limits_v2(folder: Path) -> Iterator[_Bound]:
    """memory.max kills; above memory.high the kernel slows the process down until it has less."""
    used = _number(folder / "memory.current") or 0
    pages = _numbers(folder / "memory.stat")
    cache = pages.get("inactive_file", 0) + pages.get("active_file", 0)
    for name in ("memory.max", "memory.high"):
        limit = _number(folder / name)  # "max" is no number
        if limit is not None:
            yield _container(limit, used, cache, "cgroup v2")


def _limits_v1(folder: Path) -> Iterator[_Bound]:
    """No limit is a number there that is larger than any memory."""
    used = _number(folder / "memory.usage_in_bytes") or 0
    pages = _numbers(folder / "memory.stat")
    cache = pages.get("total_inactive_file", 0) + pages.get("total_active_file", 0)
    limit = _number(folder / "memory.limit_in_bytes")
    if limit is not None:
        yield _container(limit, used, cache, "cgroup v1")


def _container(limit: int, used: int, cache: int, version: str) -> _Bound:
    free = limit - max(used - cache, 0)
    return _Bound(limit, free, f"the limit of this container ({version})")


def _address_space(root: Path, system: System) -> Iterator[_Bound]:
    limit = system.address_space_bytes
    if limit is not None:
        mapped = _numbers(root / "proc/self/status").get("VmSize", 0) * 1024
        yield _Bound(limit, limit - mapped, "the limit of this process (ulimit -v)")


def _number(path: Path) -> int | None:
    found = re.fullmatch(_NUMBER, _text(path).strip())
    return int(found[1]) if found else None


def _numbers(path: Path) -> dict[str, int]:
    """Lines such as "MemTotal:  1024 kB" or "inactive_file 4096"."""
    lines = re.findall(rf"^(\w+):?[ \t]+{_NUMBER}\b", _text(path), re.MULTILINE)
    return {name: int(number) for name, number in lines}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):  # ValueError: a NUL in a group's name
        return ""
