"""Products of small tiles in a processor's own instructions, for numba's compiler.

Goes in: addresses of rows and of a panel. Comes out: their product in memory, (ROWS, PANEL) float32
numbers that never left the registers until then. Does not know: layers, attention, Whisper.

    left (ROWS, 4·steps) bytes or (ROWS, 2·steps) bfloat16    rows as they lie, any stride
    panel (steps, PANEL, 4) bytes or (steps, PANEL, 2)        PANEL columns of the other matrix

Each step multiplies one 32-bit word of every row, four bytes or two bfloat16, with PANEL words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

# numba and its llvmlite: nothing imports this file but what compiles
from llvmlite import ir
from llvmlite.binding import initialize_native_asmparser
from numba import types  # noqa: TID253  - see above
from numba.core import cgutils  # noqa: TID253  - see above
from numba.extending import intrinsic  # noqa: TID253  - see above

from models.kernels.processors import CHOSEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_numba: Any = cgutils  # untyped
ROWS, _LANES, _COLUMNS = CHOSEN.rows, CHOSEN.lanes, CHOSEN.columns
PANEL = _LANES * _COLUMNS  # columns of the right-hand matrix in a tile
ZERO = CHOSEN.zero  # the byte on the left that stands for zero


class Tile(NamedTuple):
    """Where the operands of one tile lie: addresses, and strides in bytes."""

    left: int
    left_stride: int
    panel: int
    steps: int
    out: int  # (ROWS, PANEL) float32
    out_stride: int


class Columns(NamedTuple):
    """Addresses of what belongs to each column of a tile of bytes, (PANEL,) each."""

    start: int  # int32, where the sums begin
    scale: int  # float32
    bias: int  # float32


# ── LLVM's code, written once for the registers of the chosen instructions ──────────────────


class _BFloat(ir.types.Type):  # type: ignore[misc]  # untyped library; it lacks LLVM's bfloat
    intrinsic_name = "bf16"

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_INT, _WORD, _FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
_WORDS, _FLOATS = ir.VectorType(_WORD, _LANES), ir.VectorType(_FLOAT, _LANES)
_BYTES = ir.VectorType(ir.IntType(8), 4 * _LANES)
_SHORTS = ir.VectorType(ir.IntType(16), 2 * _LANES)
_EIGHT = ir.Constant(_SHORTS, [8] * 2 * _LANES)
_LOW = ir.Constant(_SHORTS, [0xFF] * 2 * _LANES)
_PAIRS = ir.VectorType(_BFloat(), 2 * _LANES)
_REGISTER_BYTES = 4 * _LANES


def _int8_tile(_typing: Any, tile: Any, columns: Any, row_scale: Any, residual: Any) -> Any:
    """Out = (start + left · panel) · row scale · column scale + bias, plus out where residual.

    Zero is the byte ZERO on the left, 0 in the panel. row_scale: the address of (ROWS,) float32.
    """

    def codegen(context: Any, build: ir.IRBuilder, _signature: Any, args: Sequence[Any]) -> Any:
        place = Tile(*_numba.unpack_tuple(build, args[0]))
        column = Columns(*_numba.unpack_tuple(build, args[1]))
        starts = [_load(build, column.start, _WORDS, c) for c in range(_COLUMNS)]
        sums = _accumulate(build, _DOTS[CHOSEN.bytes_by], place, starts)
        scales = [_load(build, column.scale, _FLOATS, c) for c in range(_COLUMNS)]
        biases = [_load(build, column.bias, _FLOATS, c) for c in range(_COLUMNS)]
        nothing = ir.Constant(_FLOATS, [0.0] * _LANES)
        for r, c in _cells():
            scale = _splat(build, _load(build, build.add(args[2], _INT(4 * r)), _FLOAT), _FLOATS)
            number = build.sitofp(sums[r, c], _FLOATS)
            number = build.fmul(number, build.fmul(scale, scales[c]))
            number = build.fadd(number, biases[c])
            row = _row(build, place.out, place.out_stride, r)
            before = build.select(args[3], _load(build, row, _FLOATS, c), nothing)
            _store(build, build.fadd(number, before), row, c)
        return context.get_dummy_value()

    return types.void(tile, columns, row_scale, residual), codegen


def _bfloat16_tile(_typing: Any, tile: Any) -> Any:
    """Out = left · panel."""

    def codegen(context: Any, build: ir.IRBuilder, _signature: Any, args: Sequence[Any]) -> Any:
        place = Tile(*_numba.unpack_tuple(build, args[0]))
        starts = [ir.Constant(_FLOATS, [0.0] * _LANES)] * _COLUMNS
        sums = _accumulate(build, _DOTS[CHOSEN.bfloat16_by], place, starts)
        for r, c in _cells():
            _store(build, sums[r, c], _row(build, place.out, place.out_stride, r), c)
        return context.get_dummy_value()

    return types.void(tile), codegen


# Inside compiled code: int8_tile(Tile, Columns, row_scale, residual), bfloat16_tile(Tile).
int8_tile: Any = intrinsic(_int8_tile)
bfloat16_tile: Any = intrinsic(_bfloat16_tile)


def _accumulate(
    build: ir.IRBuilder, dot: Callable[..., Any], place: Tile, starts: Sequence[Any]
) -> dict[tuple[int, int], Any]:
    """The loop over the steps, with every sum of the tile in a register: sums[row, column]."""
    rows = [_row(build, place.left, place.left_stride, r) for r in range(ROWS)]
    before = build.block
    loop, done = build.append_basic_block("step"), build.append_basic_block("done")
    build.branch(loop)
    build.position_at_end(loop)
    step = build.phi(_INT)
    sums = {(r, c): build.phi(starts[c].type) for r, c in _cells()}
    panel = build.add(place.panel, build.mul(step, _INT(_REGISTER_BYTES * _COLUMNS)))
    right = [_load(build, panel, _WORDS, c) for c in range(_COLUMNS)]
    offset = build.mul(step, _INT(4))
    left = [_splat(build, _load(build, build.add(row, offset), _WORD), _WORDS) for row in rows]
    added = {(r, c): dot(build, sums[r, c], left[r], right[c]) for r, c in _cells()}
    following = build.add(step, _INT(1))
    step.add_incoming(_INT(0), before)
    step.add_incoming(following, loop)
    for r, c in _cells():
        sums[r, c].add_incoming(starts[c], before)
        sums[r, c].add_incoming(added[r, c], loop)
    build.cbranch(build.icmp_unsigned("<", following, place.steps), loop, done)
    build.position_at_end(done)
    return added


# Each takes int32 sums, words of the left and words of the panel; of each word, four bytes count.


def _vpdpbusd(build: ir.IRBuilder, sums: Any, left: Any, right: Any) -> Any:
    name = f"llvm.x86.avx512.vpdpbusd.{32 * _LANES}"
    return _call(build, name, sums, build.bitcast(left, _BYTES), build.bitcast(right, _BYTES))


def _vpmaddwd(build: ir.IRBuilder, sums: Any, left: Any, right: Any) -> Any:
    """Widened to 16 bits, the odd bytes and the even ones."""
    name = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[_LANES]
    unsigned, signed = build.bitcast(left, _SHORTS), build.bitcast(right, _SHORTS)
    odd = build.lshr(unsigned, _EIGHT), build.ashr(signed, _EIGHT)
    even = build.and_(unsigned, _LOW), build.ashr(build.shl(signed, _EIGHT), _EIGHT)
    for pair in (odd, even):
        sums = build.add(sums, _call(build, name, *pair, gives=_WORDS))
    return sums


def _sdot(build: ir.IRBuilder, sums: Any, left: Any, right: Any) -> Any:
    """As text: LLVM may not know of a processor that it has this."""
    text = ".arch_extension dotprod\nsdot $0.4s, $2.16b, $3.16b"
    operands = sums, build.bitcast(left, _BYTES), build.bitcast(right, _BYTES)
    kind = ir.FunctionType(_WORDS, [operand.type for operand in operands])
    return build.asm(kind, text, "=w,0,w,w", operands, side_effect=False)


# These take float32 sums; of each word, two bfloat16 count.


def _vdpbf16ps(build: ir.IRBuilder, sums: Any, left: Any, right: Any) -> Any:
    name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * _LANES}"
    return _call(build, name, sums, build.bitcast(left, _PAIRS), build.bitcast(right, _PAIRS))


def _fma(build: ir.IRBuilder, sums: Any, left: Any, right: Any) -> Any:
    """Widened to float32, the first and the second ones."""
    for widen in (_low_half, _high_half):
        sums = _call(build, f"llvm.fma.v{_LANES}f32", widen(build, left), widen(build, right), sums)
    return sums


_DOTS: dict[str, Callable[..., Any]] = {
    "vpdpbusd": _vpdpbusd,
    "vpmaddwd": _vpmaddwd,
    "sdot": _sdot,
    "vdpbf16ps": _vdpbf16ps,
    "fma": _fma,
}
if CHOSEN.bytes_by == "sdot":
    initialize_native_asmparser()


def _low_half(build: ir.IRBuilder, words: Any) -> Any:
    """The first bfloat16 of each word as float32."""
    return build.bitcast(build.shl(words, ir.Constant(_WORDS, [16] * _LANES)), _FLOATS)


def _high_half(build: ir.IRBuilder, words: Any) -> Any:
    mask = ir.Constant(_WORDS, [0xFFFF0000] * _LANES)
    return build.bitcast(build.and_(words, mask), _FLOATS)


def _cells() -> list[tuple[int, int]]:
    return [(r, c) for r in range(ROWS) for c in range(_COLUMNS)]


def _row(build: ir.IRBuilder, address: Any, stride: Any, r: int) -> Any:
    return build.add(address, build.mul(stride, _INT(r)))


def _load(build: ir.IRBuilder, address: Any, kind: Any, register: int = 0) -> Any:
    return build.load(_pointer(build, address, kind, register), align=4)


def _store(build: ir.IRBuilder, value: Any, address: Any, register: int) -> None:
    build.store(value, _pointer(build, address, value.type, register), align=4)


def _pointer(build: ir.IRBuilder, address: Any, kind: Any, register: int) -> Any:
    place = build.add(address, _INT(_REGISTER_BYTES * register))
    return build.inttoptr(place, kind.as_pointer())


def _splat(build: ir.IRBuilder, word: Any, kind: Any) -> Any:
    """A register with the same word in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = build.insert_element(undefined, word, _WORD(0))
    return build.shuffle_vector(first, undefined, ir.Constant(_WORDS, [0] * _LANES))


def _call(build: ir.IRBuilder, name: str, *args: Any, gives: Any = None) -> Any:
    """An LLVM intrinsic of vectors; it returns what its first operand is, unless told."""
    kind = ir.FunctionType(gives or args[0].type, [arg.type for arg in args])
    return build.call(_numba.get_or_insert_function(build.module, kind, name), args)
