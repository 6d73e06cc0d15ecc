"""A place where threads in compiled code wait for each other, for numba's compiler.

Goes in: the address of a counter. Comes out: nothing, when all have come. Does not know: what the
threads do between two waits.

A decoder's step has about a hundred waits of some microseconds; Python's own barrier takes longer
than the work between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# numba and its llvmlite: nothing imports this file but what compiles
import numba  # noqa: TID253  - see above
from llvmlite import ir
from numba import types  # noqa: TID253  - see above
from numba.core import cgutils  # noqa: TID253  - see above
from numba.extending import intrinsic  # noqa: TID253  - see above

from models.kernels.processors import IS_ARM

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 4000  # looks at the counter, some 50 µs, before the processor is offered to others
_INT = ir.IntType(64)
_YIELD = ir.Constant(ir.IntType(32), 1)  # of Arm's hints
_PAUSE: Any = ("llvm.aarch64.hint", [_YIELD]) if IS_ARM else ("llvm.x86.sse2.pause", [])


def _arrive(_typing: Any, address: Any) -> Any:
    """Add one to the counter; returns what it was."""

    def codegen(_context: Any, build: ir.IRBuilder, _signature: Any, args: Sequence[Any]) -> Any:
        counter = build.inttoptr(args[0], _INT.as_pointer())
        return build.atomic_rmw("add", counter, _INT(1), "seq_cst")

    return types.int64(address), codegen


def _arrived(_typing: Any, address: Any) -> Any:
    """The counter, after a short pause for the other thread of the same core."""

    def codegen(_context: Any, build: ir.IRBuilder, _signature: Any, args: Sequence[Any]) -> Any:
        name, hints = _PAUSE
        kind = ir.FunctionType(ir.VoidType(), [hint.type for hint in hints])
        pause: Any = cgutils.get_or_insert_function(build.module, kind, name)  # type: ignore[no-untyped-call]
        build.call(pause, hints)
        counter = build.inttoptr(args[0], _INT.as_pointer())
        return build.load_atomic(counter, "seq_cst", align=8)

    return types.int64(address), codegen


arrive: Any = intrinsic(_arrive)
arrived: Any = intrinsic(_arrived)
give_way: Any = types.ExternalFunction("sched_yield", types.int32())


@numba.njit(nogil=True)
def meet(counter: Any, threads: Any) -> None:
    """Wait until all have called it as often. `counter`: the address of an int64, zero at first."""
    goal = (arrive(counter) // threads + 1) * threads
    looks = 0
    while arrived(counter) < goal:
        looks += 1
        if looks > _PATIENCE:
            give_way()
