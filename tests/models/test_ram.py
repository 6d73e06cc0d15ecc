from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.ram import System, ask_system, look_at_ram

MIB, GIB = 2**20, 2**30
ROOT = Path(__file__).parents[2]
QUIET = System(physical_bytes=0)
FILES = (
    "proc/meminfo",
    "proc/self/cgroup",
    "proc/self/status",
    "sys/fs/cgroup/memory.max",
    "sys/fs/cgroup/memory.high",
    "sys/fs/cgroup/memory.current",
    "sys/fs/cgroup/memory.stat",
    "sys/fs/cgroup/memory/memory.limit_in_bytes",
    "sys/fs/cgroup/memory/memory.usage_in_bytes",
    "sys/fs/cgroup/memory/memory.stat",
)
NO_LIMIT_V1 = "9223372036854771712"


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else str(text).encode())


def meminfo(total, available):
    lines = (
        f"MemTotal: {total // 1024} kB",
        "MemFree: 1 kB",
        f"MemAvailable: {available // 1024} kB",
    )
    return "\n".join(lines)


@pytest.fixture
def machine(tmp_path):
    """16 GiB, 10 of them available; further files as they are given."""

    def look(files=(), system=QUIET):
        write(tmp_path, {"proc/meminfo": meminfo(16 * GIB, 10 * GIB), **dict(files)})
        return look_at_ram(tmp_path, system)

    return look


def v2(folder, **numbers):
    """A group of cgroup v2, numbers by the file's name after "memory."."""
    stat = {name: numbers.pop(name, 0) for name in ("inactive_file", "active_file", "anon")}
    text = "".join(f"{name} {number}\n" for name, number in stat.items())
    files = {f"sys/fs/cgroup/{folder}memory.{name}": number for name, number in numbers.items()}
    return {**files, f"sys/fs/cgroup/{folder}memory.stat": text}


def test_page_cache_is_free_since_the_kernel_says_what_is_available(machine):
    ram = machine()
    assert (ram.total_bytes, ram.free_bytes) == (16 * GIB, 10 * GIB)
    assert ram.reason == "MemAvailable of this machine"
    assert ram.notes == ()


def test_an_ancient_kernel_does_not_say_so_and_it_is_added_up(tmp_path):
    text = "MemTotal: 4096 kB\nMemFree: 512 kB\nBuffers: 256 kB\nCached: 1024 kB\nSwapFree: 99 kB\n"
    write(tmp_path, {"proc/meminfo": text})
    assert look_at_ram(tmp_path, QUIET).free_bytes == 1792 * 1024


def test_without_proc_half_of_the_memory_is_assumed_and_said(tmp_path):
    ram = look_at_ram(tmp_path, System(physical_bytes=8 * GIB))
    assert (ram.total_bytes, ram.free_bytes) == (8 * GIB, 4 * GIB)
    assert "half" in ram.reason
    assert "half of it is assumed" in ram.notes[0]


def test_a_container_has_what_its_limit_leaves_and_cache_is_not_used(machine):
    ram = machine(
        v2("", max=4 * GIB, high="max", current=3 * GIB, inactive_file=GIB, active_file=GIB)
    )
    assert (ram.total_bytes, ram.free_bytes) == (4 * GIB, 3 * GIB)
    assert ram.reason == "the limit of this container (cgroup v2)"


def test_the_limit_that_throttles_counts_like_the_one_that_kills(machine):
    ram = machine(v2("", max=4 * GIB, high=2 * GIB, current=GIB))
    assert (ram.total_bytes, ram.free_bytes) == (2 * GIB, GIB)


def test_a_limit_above_the_machine_changes_nothing(machine):
    ram = machine(v2("", max=64 * GIB, high="max", current=GIB))
    assert (ram.total_bytes, ram.free_bytes) == (16 * GIB, 10 * GIB)
    assert ram.reason == "MemAvailable of this machine"


def test_a_full_machine_leaves_less_than_its_container_allows(machine):
    ram = machine(v2("", max=12 * GIB, high="max", current=GIB))
    assert (ram.total_bytes, ram.free_bytes) == (12 * GIB, 10 * GIB)
    assert ram.reason == "MemAvailable of this machine"


def test_the_limits_of_all_groups_above_count_with_what_their_others_use(machine):
    files = {"proc/self/cgroup": "0::/user.slice/job.scope\n"}
    files |= v2("user.slice/job.scope/", max="max", high="max", current=GIB)
    files |= v2("user.slice/", max=6 * GIB, high="max", current=5 * GIB, anon=5 * GIB)
    ram = machine(files)
    assert (ram.total_bytes, ram.free_bytes) == (6 * GIB, GIB)


def test_a_group_that_is_overdrawn_leaves_nothing(machine):
    assert machine(v2("", max=GIB, high="max", current=2 * GIB)).free_bytes == 0


@pytest.mark.parametrize("group", ["/docker/0123abc", "/../../elsewhere", "/", ""])
def test_inside_a_container_the_root_of_the_mount_is_its_own_group(machine, group):
    files = {"proc/self/cgroup": f"0::{group}\n"}
    ram = machine(files | v2("", max=2 * GIB, high="max", current=GIB))
    assert (ram.total_bytes, ram.free_bytes) == (2 * GIB, GIB)


@pytest.mark.parametrize("group", ["/docker/0123abc", "/"])
def test_version_1_has_other_names_for_the_same(machine, group):
    stat = f"inactive_file 1\ntotal_inactive_file {GIB}\ntotal_active_file {GIB // 2}\n"
    ram = machine({
        "proc/self/cgroup": f"9:cpu,cpuacct:{group}\n4:memory:{group}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 4 * GIB,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": 3 * GIB,
        "sys/fs/cgroup/memory/memory.stat": stat,
    })  # fmt: skip
    assert (ram.total_bytes, ram.free_bytes) == (4 * GIB, 5 * GIB // 2)
    assert ram.reason == "the limit of this container (cgroup v1)"


def test_version_1_writes_a_huge_number_for_no_limit(machine):
    ram = machine({
        "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
        "sys/fs/cgroup/memory/memory.usage_in_bytes": GIB,
    })  # fmt: skip
    assert (ram.total_bytes, ram.free_bytes) == (16 * GIB, 10 * GIB)


def test_what_lies_outside_the_mount_is_no_group(machine):
    files = {"proc/self/cgroup": "0::/../../elsewhere\n", "sys/elsewhere/memory.max": GIB}
    files |= v2("", max="max", high="max", current=GIB)
    assert machine(files).total_bytes == 16 * GIB


def test_mixed_versions_are_both_read_each_in_its_own_group(machine):
    files = {
        "proc/self/cgroup": "4:hugetlb,memory:/one\n1:name=memory_hog:/two\n0::/three\n",
        "sys/fs/cgroup/memory/one/memory.limit_in_bytes": 8 * GIB,
    }
    assert machine(files).total_bytes == 8 * GIB
    files |= {"sys/fs/cgroup/unified/three/memory.max": 4 * GIB}
    assert machine(files).total_bytes == 4 * GIB


def test_the_limit_of_the_process_leaves_what_it_has_not_mapped(machine):
    status = "Name:\tpython\nVmPeak:\t 9999999 kB\nVmSize:\t 1048576 kB\nVmRSS:\t 5 kB\n"
    ram = machine({"proc/self/status": status}, System(0, address_space_bytes=3 * GIB))
    assert (ram.total_bytes, ram.free_bytes) == (3 * GIB, 2 * GIB)
    assert ram.reason == "the limit of this process (ulimit -v)"


@given(
    total=st.integers(0, 2**50),
    available=st.integers(0, 2**50),
    limit=st.integers(0, 2**50),
    current=st.integers(0, 2**50),
    cache=st.integers(0, 2**50),
    space=st.none() | st.integers(0, 2**50),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_free_is_never_above_total_nor_above_what_any_limit_leaves(
    tmp_path, total, available, limit, current, cache, space
):
    files = v2("", max=limit, high="max", current=current, inactive_file=cache)
    write(tmp_path, {"proc/meminfo": meminfo(total, available), **files})
    ram = look_at_ram(tmp_path, System(0, space))
    assert 0 <= ram.free_bytes <= ram.total_bytes <= total
    assert ram.free_bytes <= available
    assert ram.free_bytes <= max(limit - max(current - cache, 0), 0)
    assert space is None or ram.free_bytes <= space


words = st.sampled_from(
    ["MemTotal:", "MemAvailable:", "VmSize:", "0::/a", "4:memory:/", "kB", "-1"]
)
garbage = st.binary(max_size=60) | st.lists(
    words | st.integers().map(str) | st.text(max_size=5), max_size=12
).map(lambda parts: " ".join(parts).encode("utf-8", "replace"))


@given(contents=st.lists(garbage, min_size=len(FILES), max_size=len(FILES)))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_in_the_files_never_raises(tmp_path, contents):
    write(tmp_path, dict(zip(FILES, contents, strict=True)))
    ram = look_at_ram(tmp_path, System(GIB, GIB))
    assert 0 <= ram.free_bytes <= ram.total_bytes


@pytest.mark.parametrize("text", [b"0::/a\0b\n", b"0::/" + b"x" * 5000, b"9" * 5000, b"\xff\xfe"])
def test_names_and_numbers_that_no_system_takes_never_raise(machine, text):
    ram = machine({"proc/self/cgroup": text, "sys/fs/cgroup/memory.max": text})
    assert ram.free_bytes == 10 * GIB


def test_folders_where_files_are_expected_never_raise(tmp_path):
    for name in FILES[:7]:
        (tmp_path / name).mkdir(parents=True)
    assert look_at_ram(tmp_path, QUIET).free_bytes == 0


def test_this_machine_has_memory():
    ram = look_at_ram(Path("/"), ask_system())
    assert 0 < ram.free_bytes <= ram.total_bytes


def test_a_limit_on_this_process_is_seen_for_real():
    script = "from pathlib import Path; from models.ram import *; "
    script += "print(look_at_ram(Path('/'), ask_system()))"

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (300 * MIB, 300 * MIB))

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, preexec_fn=limit
    )
    assert f"Ram(total_bytes={300 * MIB}, " in done.stdout.decode()
    assert "ulimit -v" in done.stdout.decode()
