from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.memory import Gpu, _Torch, look
from models.nvml import NvmlError
from models.ram import System

GIB = 2**30


@dataclass
class Device:
    """A GPU or a MIG device; what is an NvmlError is raised when it is asked for."""

    uuid: Any
    name: Any = "NVIDIA A100"
    memory: Any = (40 * GIB, 30 * GIB)
    capability: Any = (8, 0)
    slots: Any = None  # MIG devices, with NvmlErrors for empty slots; None: MIG is off
    handle: Any = None  # an NvmlError, for one that is lost


@dataclass
class FakeNvml:
    """NVML with the devices that it is given; remembers whether it was let go of."""

    devices: list[Device] = field(default_factory=list)
    driver: NvmlError | None = None
    calls: list[str] = field(default_factory=list)

    def open(self):
        self.calls.append("open")
        tell(self.driver)

    def close(self):
        self.calls.append("close")

    def count(self):
        return len(self.devices)

    def gpu(self, index):
        tell(self.devices[index].handle)
        return self.devices[index]

    def mig_slots(self, gpu):
        slots = tell(gpu.slots)
        return None if slots is None else len(slots)

    def mig(self, gpu, slot):
        return tell(gpu.slots[slot])

    def uuid(self, device):
        return tell(device.uuid)

    def name(self, device):
        return tell(device.name)

    def memory(self, device):
        return tell(device.memory)

    def capability(self, gpu):
        return tell(gpu.capability)


def tell(answer):
    if isinstance(answer, NvmlError):
        raise answer
    return answer


@dataclass
class FakeTorch:
    """A torch of any kind; remembers whether it was made to take memory on a GPU."""

    built_for: str = "cuda"
    usable: bool = True
    own: Any = ()  # its own account of the GPUs, or the error that it raises
    metal_bytes: int | None = None
    int8: bool = True
    contexts: int = 0

    def build(self):
        return self.built_for

    def works(self):
        return self.usable

    def gpus(self):
        self.contexts += 1
        if isinstance(self.own, Exception):
            raise self.own
        return self.own

    def mps_bytes(self):
        return self.metal_bytes

    def cpu_int8(self):
        return self.int8


SILENT = FakeNvml(driver=NvmlError("NVML Shared Library Not Found"))
OWN = (Gpu(0, "Radeon", 16 * GIB, 15 * GIB, (11, 0)),)


@pytest.fixture
def machine(tmp_path):
    """A computer with 32 GiB, 20 of them available, and these GPUs."""
    (tmp_path / "proc").mkdir()
    text = f"MemTotal: {32 * 2**20} kB\nMemAvailable: {20 * 2**20} kB\n"
    (tmp_path / "proc/meminfo").write_text(text)

    def look_at(nvml, devices=None, visible=None):
        return look(visible, tmp_path, nvml, devices or FakeTorch(), System(0))

    return look_at


def two():
    return FakeNvml([
        Device("GPU-aaaa", "NVIDIA A100"),
        Device("GPU-bbbb", "Tesla P40", (24 * GIB, GIB), (6, 1)),
    ])  # fmt: skip


def test_ram_and_gpus_are_told_together(machine):
    found = machine(two())
    assert (found.ram_total_bytes, found.ram_free_bytes) == (32 * GIB, 20 * GIB)
    assert found.ram_reason == "MemAvailable of this machine"
    assert found.gpus == (
        Gpu(0, "NVIDIA A100", 40 * GIB, 30 * GIB, (8, 0)),
        Gpu(1, "Tesla P40", 24 * GIB, GIB, (6, 1)),
    )
    assert found.cpu_int8
    assert found.notes == ()


def test_a_gpu_has_torchs_name():
    assert Gpu(1, "x", 1, 1, (8, 0)).device == "cuda:1"
    assert Gpu(0, "x", 1, 1, None, "mps").device == "mps"


def test_looking_takes_no_memory_on_a_gpu_and_lets_go_of_nvml(machine):
    nvml, devices = two(), FakeTorch()
    machine(nvml, devices)
    assert devices.contexts == 0
    assert nvml.calls == ["open", "close"]


def test_ordinals_are_counted_after_cuda_visible_devices(machine):
    found = machine(two(), visible="1,0")
    assert [(gpu.device, gpu.name) for gpu in found.gpus] == [
        ("cuda:0", "Tesla P40"),
        ("cuda:1", "NVIDIA A100"),
    ]
    found = machine(two(), visible="GPU-b")
    assert [(gpu.device, gpu.name) for gpu in found.gpus] == [("cuda:0", "Tesla P40")]
    assert found.notes == ("CUDA_VISIBLE_DEVICES=GPU-b hides GPU 0 (NVIDIA A100).",)


def test_hidden_gpus_are_not_asked_for_by_another_way(machine):
    devices = FakeTorch(own=OWN)
    assert machine(two(), devices, visible="").gpus == ()
    assert devices.contexts == 0


def test_of_a_gpu_that_is_cut_into_mig_devices_the_first_is_offered(machine):
    parts = [
        NvmlError("Not Found"),
        Device("MIG-1", "NVIDIA A100 MIG 1g.5gb", (5 * GIB, 4 * GIB), NvmlError("Not Supported")),
        Device("MIG-2", "NVIDIA A100 MIG 2g.10gb", (10 * GIB, 9 * GIB)),
    ]
    nvml = FakeNvml([Device("GPU-a", memory=NvmlError("No Permission"), slots=parts)])
    found = machine(nvml)
    assert found.gpus == (Gpu(0, "NVIDIA A100 MIG 1g.5gb", 5 * GIB, 4 * GIB, (8, 0)),)
    assert "one MIG device" in found.notes[0]
    assert machine(nvml, visible="MIG-2").gpus[0].total_bytes == 10 * GIB


def test_a_gpu_that_knows_nothing_of_mig_is_whole(machine):
    assert machine(FakeNvml([Device("GPU-a", slots=NvmlError("Not Supported"))])).gpus


@pytest.mark.parametrize("what", ["handle", "name", "uuid", "memory", "capability"])
def test_a_gpu_that_does_not_answer_is_left_out_and_keeps_its_number(machine, what):
    nvml = two()
    setattr(nvml.devices[0], what, NvmlError("GPU is lost"))
    found = machine(nvml)
    assert [(gpu.index, gpu.name) for gpu in found.gpus] == [(1, "Tesla P40")]
    assert found.notes == ("GPU 0 cannot be used, NVML says: GPU is lost.",)
    assert nvml.calls == ["open", "close"]


def test_a_missing_driver_is_told(machine):
    found = machine(SILENT, FakeTorch(usable=False))
    assert found.gpus == ()
    assert found.notes == ("No NVIDIA driver answers (NVML Shared Library Not Found).",)


def test_notes_on_ram_and_on_gpus_are_both_told(tmp_path):
    found = look("1", tmp_path, two(), FakeTorch(), System(0))
    assert len(found.notes) == 2
    assert "free memory" in found.notes[0]
    assert "hides GPU 0" in found.notes[1]


def test_where_nvml_is_silent_torch_is_asked(machine):
    found = machine(SILENT, FakeTorch(own=OWN))
    assert found.gpus == OWN
    assert "as torch tells it" in found.notes[-1]


def test_where_nvml_knows_no_memory_torch_is_asked(machine):
    nvml = FakeNvml([Device("GPU-a", "NVIDIA GB10", NvmlError("Not Supported"))])
    assert machine(nvml, FakeTorch(own=OWN)).gpus == OWN


def test_a_torch_for_rocm_does_not_care_for_nvidia(machine):
    nvml = two()
    assert machine(nvml, FakeTorch("rocm", own=OWN)).gpus == OWN
    assert nvml.calls == []


def test_a_torch_that_cannot_tell_is_no_reason_to_stop(machine):
    error = torch.OutOfMemoryError("CUDA out of memory.\nA long story")
    found = machine(SILENT, FakeTorch(own=error))
    assert found.gpus == ()
    assert found.notes[-1] == "Torch sees a GPU, but not its memory: CUDA out of memory."


def test_a_torch_without_cuda_uses_no_gpu_and_the_remedy_is_told(machine):
    found = machine(two(), FakeTorch("cpu", usable=False))
    assert found.gpus == ()
    assert "There is a GPU (NVIDIA A100, Tesla P40), but this torch has no CUDA" in found.notes[0]
    assert "https://pytorch.org/get-started/locally" in found.notes[0]


def test_a_driver_too_old_for_torch_is_told(machine):
    found = machine(two(), FakeTorch(usable=False))
    assert found.gpus == ()
    assert "Torch cannot use the GPU (NVIDIA A100, Tesla P40); update its driver" in found.notes[0]


def test_nothing_is_said_of_a_torch_whose_gpus_are_all_hidden(machine):
    notes = machine(FakeNvml([Device("GPU-a")]), FakeTorch(usable=False), visible="-1").notes
    assert notes == ("CUDA_VISIBLE_DEVICES=-1 hides GPU 0 (NVIDIA A100).",)


@pytest.mark.parametrize(
    ("metal", "total", "free"), [(24, 24, 20), (12, 12, 12), (48, 32, 20), (0, 0, 0)]
)
def test_apples_gpu_shares_the_ram_and_takes_what_metal_recommends(machine, metal, total, free):
    found = machine(SILENT, FakeTorch("cpu", metal_bytes=metal * GIB))
    assert found.gpus == (Gpu(0, "Apple GPU", total * GIB, free * GIB, None, "mps"),)
    assert found.notes == ()  # nobody misses NVIDIA's driver there


def test_a_processor_without_exact_int8_is_told(machine):
    assert not machine(SILENT, FakeTorch(int8=False)).cpu_int8


@given(total=st.integers(), free=st.integers())
def test_a_gpu_never_has_less_than_nothing_or_more_than_all(tmp_path_factory, total, free):
    nvml = FakeNvml([Device("GPU-a", memory=(total, free))])
    root = tmp_path_factory.getbasetemp()
    (gpu,) = look(None, root, nvml, FakeTorch(), System(0)).gpus
    assert 0 <= gpu.free_bytes <= gpu.total_bytes
    assert 0 <= total <= gpu.total_bytes or gpu.total_bytes == 0


def has_kernels():
    try:
        from models.kernels import tiles  # noqa: F401
    except ImportError:
        return False
    return True


def test_this_machine_can_be_looked_at():
    found = look()
    assert 0 < found.ram_free_bytes <= found.ram_total_bytes
    assert found.cpu_int8 is has_kernels()
    assert all(0 <= gpu.free_bytes <= gpu.total_bytes for gpu in found.gpus)
    assert len(found.gpus) <= torch.cuda.device_count() + torch.backends.mps.is_available()


def test_torch_gives_its_own_account():
    real = _Torch()
    assert (real.build() == "cpu") is (torch.version.cuda is None and torch.version.hip is None)
    assert real.works() is torch.cuda.is_available()
    assert len(real.gpus()) == torch.cuda.device_count()
    assert (real.mps_bytes() is not None) is torch.backends.mps.is_available()


def test_nvml_and_torch_agree_on_this_machines_gpus():
    real = _Torch()
    if real.build() != "cuda" or not real.works():
        pytest.skip("no GPU of NVIDIA's that torch can use")
    by_nvml, by_torch = look().gpus, real.gpus()
    assert [replace(gpu, free_bytes=0, total_bytes=0) for gpu in by_nvml] == [
        replace(gpu, free_bytes=0, total_bytes=0) for gpu in by_torch
    ]
    for one, other in zip(by_nvml, by_torch, strict=True):
        assert abs(one.total_bytes - other.total_bytes) < 2 * GIB  # NVML counts the reserve too
        assert abs(one.free_bytes - other.free_bytes) < 2 * GIB  # torch's context
