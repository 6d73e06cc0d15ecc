"""What processors have for products of bytes, and which of it this one has.

Goes in: this processor. Comes out: the instructions that are used here. Does not know: how code
for them is made.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

# numba: nothing imports this file but what compiles
from numba.core.registry import cpu_target  # noqa: TID253  - see above

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True, slots=True)
class Instructions:
    """What a processor has for this arithmetic, and the tile that fills its registers."""

    name: str
    needs: AbstractSet[str]  # LLVM's names of processor features
    lanes: int  # 32-bit words in a register
    rows: int  # in a tile
    columns: int  # registers side by side in a tile
    bytes_by: str  # the instruction that multiplies bytes: see tiles
    bfloat16_by: str  # and bfloat16
    zero: int = 128  # the byte that stands for zero on the left: x86 has it unsigned, Arm signed


_AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"})
_VNNI = _AVX512 | {"avx512vnni"}
_AVX2 = frozenset({"avx2", "fma"})
# Six rows take 29 of 32 registers. Where bfloat16 is widened for `fma`, a panel's words are there
# twice, as low and as high halves, and six would spill. Rows divide 12, which the steps build on.
INSTRUCTIONS = (  # from the best down
    Instructions(
        "AVX-512 VNNI and BF16", _VNNI | {"avx512bf16"}, 16, 6, 4, "vpdpbusd", "vdpbf16ps"
    ),
    Instructions("AVX-512 VNNI", _VNNI, 16, 4, 4, "vpdpbusd", "fma"),
    Instructions("AVX-VNNI", _AVX2 | {"avxvnni"}, 8, 4, 2, "vpdpbusd", "fma"),
    Instructions("AVX-512", _AVX512, 16, 4, 4, "vpmaddwd", "fma"),
    Instructions("AVX2", _AVX2, 8, 4, 2, "vpmaddwd", "fma"),
    Instructions("Arm DotProd", {"dotprod"}, 4, 4, 4, "sdot", "fma", zero=0),
)
IS_ARM = platform.machine() in ("aarch64", "arm64")
_HWCAP, _DOT_PRODUCTS = 16, 1 << 20  # Linux: AT_HWCAP of auxv.h, HWCAP_ASIMDDP of asm/hwcap.h


def _x86_features() -> set[str]:
    """Those that numba compiles for."""
    listed: str = cpu_target.target_context.codegen().magic_tuple()[2]
    return {feature[1:] for feature in listed.split(",") if feature.startswith("+")}


def _arm_features() -> set[str]:
    """Asked of the system, since LLVM lists none on a Mac, and on Linux not this one."""
    system = ctypes.CDLL(None)
    if sys.platform == "darwin":
        found = ctypes.c_int()
        size = ctypes.c_size_t(ctypes.sizeof(found))
        name = b"hw.optional.arm.FEAT_DotProd"
        failed = system.sysctlbyname(name, ctypes.byref(found), ctypes.byref(size), None, 0)
        return {"dotprod"} if found.value and not failed else set()
    system.getauxval.restype, system.getauxval.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    return {"dotprod"} if system.getauxval(_HWCAP) & _DOT_PRODUCTS else set()


def _chosen() -> Instructions:
    """The best of the table that there is here."""
    here = _arm_features() if IS_ARM else _x86_features()
    found = next((row for row in INSTRUCTIONS if row.needs <= here), None)
    if found is None:
        raise ImportError("this processor is not known to the kernels")
    return found


CHOSEN = _chosen()
