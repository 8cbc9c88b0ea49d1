"""Products of integer matrices: the layers of the network, several samples at a time.

Ten-bit weights and activations fit in int16, so that one instruction multiplies sixteen of them and
adds neighbours into int32 (`vpmaddwd`, what 8-bit and 16-bit inference is made of): twice the rate
of float32. LLVM finds that instruction in no loop that numba can write down, so the innermost loop
is written here as LLVM's own instructions, for `ROWS` samples and `COLUMNS` outputs whose sums stay
in registers. On processors without AVX2 the same sums are spelt out for LLVM. Without numba NumPy
multiplies. All are exact, and equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.header import HIDDEN_LIMIT
from laconic.entropy.jit import written

ROWS, COLUMNS = 5, 16
_LANES = 8  # of a vector of int32
_VECTORS = COLUMNS // _LANES


def padded(count: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return -(-count // unit) * unit


def pack(matrices: list[NDArray[Any]]) -> NDArray[np.int16]:
    """Matrices [inputs, outputs] as :func:`layer` reads them, in one array
    [matrices, outputs / COLUMNS, inputs / 2, COLUMNS, 2], padded with zeros."""
    inputs = max(padded(m.shape[0], 2) for m in matrices)
    outputs = max(padded(m.shape[1], COLUMNS) for m in matrices)
    full = np.zeros((len(matrices), inputs, outputs), np.int16)
    for place, matrix in zip(full, matrices, strict=True):
        place[: matrix.shape[0], : matrix.shape[1]] = matrix
    cut = full.reshape(len(matrices), inputs // 2, 2, outputs // COLUMNS, COLUMNS)
    return _aligned(cut.transpose(0, 3, 1, 4, 2))


def _aligned(array: NDArray[np.int16]) -> NDArray[np.int16]:
    """A contiguous copy that begins at a multiple of 64 bytes."""
    room = np.empty(array.size + 32, np.int16)
    first = -room.ctypes.data % 64 // 2
    copy = room[first : first + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def _build(numba: Any) -> Any:
    """The compiled :func:`layer`."""
    global _tile
    _tile = _intrinsic(numba)
    return numba.njit(_layer, nogil=True)


@written(_build)
def layer(
    rows: NDArray[np.int16], first: int, count: int, weights: NDArray[np.int16], which: int,
    inputs: int, outputs: int, bias: NDArray[np.int32], shift: int, out: NDArray[Any],
) -> None:  # fmt: skip
    """A layer of `count` samples: out = rows W + bias.

    Args:
        rows: from column `first` on there are the inputs, and at least one column more if their
            number is odd; as many rows as the next multiple of ROWS has.
        weights: of :func:`pack`; `which` of the matrices.
        inputs, outputs: that are in use.
        bias: [matrices, outputs padded].
        shift: activations are sums divided by 2^shift, rounded down and limited ...
        out: ... if this is of int16; sums, if it is of float32. Outputs fill its first columns.
    """
    pairs, blocks = (inputs + 1) // 2, -(-outputs // COLUMNS)
    cut = weights[which, :blocks, :pairs].transpose(1, 3, 0, 2).reshape(2 * pairs, -1)
    sums = rows[:count, first : first + 2 * pairs].astype(np.float32) @ cut.astype(np.float32)
    sums += bias[which, : sums.shape[1]]
    if out.dtype == np.int16:
        sums = np.clip(sums.astype(np.int32) >> shift, 0, HIDDEN_LIMIT)
    out[:count, : sums.shape[1]] = sums


def _layer(
    rows: NDArray[Any], first: int, count: int, weights: NDArray[Any], which: int,
    inputs: int, outputs: int, bias: NDArray[Any], shift: int, out: NDArray[Any],
) -> None:  # fmt: skip
    blocks, pairs = weights.shape[1], weights.shape[2]
    stride, step, used = rows.shape[1], out.shape[1], (inputs + 1) // 2
    for row in range(0, count, ROWS):
        for block in range((outputs + COLUMNS - 1) // COLUMNS):
            _tile(
                rows, row * stride + first, stride, weights,
                (which * blocks + block) * pairs * 2 * COLUMNS, used, bias,
                which * bias.shape[1] + block * COLUMNS, shift, out,
                row * step + block * COLUMNS, step,
            )  # fmt: skip


_tile: Any = None


def _intrinsic(numba: Any) -> Any:
    """ROWS samples and COLUMNS outputs, from places in flattened arrays."""
    from llvmlite import binding, ir  # type: ignore[import-untyped]
    from numba.core import cgutils

    word, number, place = ir.IntType(16), ir.IntType(32), ir.IntType(64)
    pairs_of = ir.VectorType(word, 2 * _LANES)
    sums_of = ir.VectorType(number, _LANES)
    fast = bool(binding.get_host_cpu_features().get("avx2")) and not numba.config.CPU_NAME
    index = numba.types.intp

    def multiply(b: Any, x: Any, w: Any) -> Any:
        """Products of neighbours added."""
        if fast:
            kind = ir.FunctionType(sums_of, [pairs_of, pairs_of])
            name = "llvm.x86.avx2.pmadd.wd"
            return b.call(cgutils.get_or_insert_function(b.module, kind, name), [x, w])
        halves = []
        for odd in (0, 1):
            mask = ir.Constant(sums_of, [2 * n + odd for n in range(_LANES)])
            x2, w2 = (
                b.sext(b.shuffle_vector(v, ir.Constant(pairs_of, ir.Undefined), mask), sums_of)
                for v in (x, w)
            )
            halves.append(b.mul(x2, w2))
        return b.add(*halves)

    def spread(b: Any, value: Any) -> Any:
        """A number in all lanes."""
        empty = ir.Constant(sums_of, ir.Undefined)
        one = b.insert_element(empty, value, ir.Constant(number, 0))
        return b.shuffle_vector(one, empty, ir.Constant(sums_of, [0] * _LANES))

    def activate(b: Any, sums: Any, shift: Any) -> Any:
        """Sums to activations."""
        low, high = (ir.Constant(sums_of, [n] * _LANES) for n in (0, HIDDEN_LIMIT))
        value = b.ashr(sums, shift)
        value = b.select(b.icmp_signed("<", value, low), low, value)
        value = b.select(b.icmp_signed(">", value, high), high, value)
        return b.trunc(value, ir.VectorType(word, _LANES))

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        rows, at, stride, weights, wat, pairs, bias, bat, shift, out, oat, step = arguments
        kinds = signature.args

        def pointer(number: int, array: Any, offset: Any) -> Any:
            return b.gep(context.make_array(kinds[number])(context, b, array).data, [offset])

        def offset(base: Any, *terms: tuple[Any, int]) -> Any:
            total = ir.Constant(place, 0)
            for value, times in terms:
                total = b.add(total, b.mul(value, ir.Constant(place, times)))
            return b.gep(base, [total])

        def load(base: Any, kind: Any) -> Any:
            return b.load(b.bitcast(base, kind.as_pointer()), align=2)

        one = ir.Constant(place, 1)
        row, weight = pointer(0, rows, at), pointer(3, weights, wat)
        begin, target = pointer(6, bias, bat), pointer(9, out, oat)
        starts = [load(offset(begin, (one, _LANES * v)), sums_of) for v in range(_VECTORS)]
        shifts = spread(b, b.trunc(shift, number))
        entry = b.block
        loop, done = b.append_basic_block("pairs"), b.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        pair = b.phi(place)
        pair.add_incoming(ir.Constant(place, 0), entry)
        sums = [[b.phi(sums_of) for _ in range(_VECTORS)] for _ in range(ROWS)]
        columns = [
            load(offset(weight, (pair, 2 * COLUMNS), (one, 2 * _LANES * v)), pairs_of)
            for v in range(_VECTORS)
        ]
        for n, mine in enumerate(sums):
            both = load(offset(row, (stride, n), (pair, 2)), number)
            x = b.bitcast(spread(b, both), pairs_of)
            for v, total in enumerate(mine):
                total.add_incoming(starts[v], entry)
                mine[v] = b.add(total, multiply(b, x, columns[v]))
                total.add_incoming(mine[v], loop)
        after = b.add(pair, one)
        pair.add_incoming(after, loop)
        b.cbranch(b.icmp_signed("<", after, pairs), loop, done)
        b.position_at_end(done)
        for n, mine in enumerate(sums):
            for v, total in enumerate(mine):
                to = offset(target, (step, n), (one, _LANES * v))
                if kinds[9].dtype == numba.types.int16:
                    value = activate(b, total, shifts)
                else:
                    value = b.sitofp(total, ir.VectorType(ir.FloatType(), _LANES))
                b.store(value, b.bitcast(to, value.type.as_pointer()), align=2)
        return context.get_dummy_value()

    @numba.extending.intrinsic
    def tile(
        _typing: Any, rows: Any, at: Any, stride: Any, weights: Any, wat: Any, pairs: Any,
        bias: Any, bat: Any, shift: Any, out: Any, oat: Any, step: Any,
    ) -> Any:  # fmt: skip
        arguments = (
            rows, index, index, weights, index, index, bias, index, index, out, index, index,
        )  # fmt: skip
        return numba.types.void(*arguments), generate

    return tile
