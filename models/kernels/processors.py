"""What processors have for products of bytes, and which of it this one has.

Goes in: this processor. Comes out: the instructions that are used here. Does not know: how code
for them is made.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from dataclasses import dataclass
from functools import cache
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
    multiplies: AbstractSet[str]  # "bytes", else widened to 16 bits; "bfloat16", else to float32
    zero: int = 128  # the byte that stands for zero on the left of a product


_AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"})
_VNNI = _AVX512 | {"avx512vnni"}
_AVX2 = frozenset({"avx2", "fma"})
# x86 multiplies unsigned bytes with signed ones, Arm signed ones. Without VNNI x86 does so, too,
# but its sums saturate. With six rows, 29 of 32 registers are in use, and none is left to widen.
INSTRUCTIONS = (  # from the best down
    Instructions("AVX-512 VNNI and BF16", _VNNI | {"avx512bf16"}, 16, 6, 4, {"bytes", "bfloat16"}),
    Instructions("AVX-512 VNNI", _VNNI, 16, 4, 4, {"bytes"}),
    Instructions("AVX-VNNI", _AVX2 | {"avxvnni"}, 8, 4, 2, {"bytes"}),
    Instructions("AVX-512", _AVX512, 16, 4, 4, set()),
    Instructions("AVX2", _AVX2, 8, 4, 2, set()),
    Instructions("Arm's dot products", {"dotprod"}, 4, 4, 4, {"bytes"}, zero=0),
)
IS_ARM = platform.machine() in ("aarch64", "arm64")
_HWCAP, _DOT_PRODUCTS = 16, 1 << 20  # Linux: AT_HWCAP of auxv.h, HWCAP_ASIMDDP of asm/hwcap.h


@cache
def instructions() -> Instructions | None:
    """The best of the table that there is here; None: this processor has none of them."""
    here = _arm_features() if IS_ARM else _x86_features()
    return next((row for row in INSTRUCTIONS if row.needs <= here), None)


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
    found = instructions()
    if found is None:
        raise ImportError("this processor is not known to the kernels")
    return found


CHOSEN = _chosen()
