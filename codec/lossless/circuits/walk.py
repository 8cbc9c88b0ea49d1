"""The pre-order walk: every conditional p(x_i | x sent before) in O(|circuit|) per record.

Visiting variable i after its parent p, with alpha_p(a) ~ p(z_p = a, everything sent so far):

    pred(z)  = sum_a alpha_p(a) T_i[a, z]                        one matrix product
    p(x)     = sum_z w(z) E_i[x, z],  w = pred, normalised
    alpha_i  = pred * E_i[x],  u_i = E_i[x]
    m(a)     = sum_z T_i[a, z] u_i(z);  alpha_p *= m;  u_p *= m  when subtree i ends, not the last

Each edge is crossed once down and at most once up, against O(log D) evaluations of a balanced tree
in the paper and one per bisection step when decoding (``balanced.py`` counts both).

Everything is integer arithmetic in float64. With M states, alpha and u stay below 2^B, where
B = min(30, 37 - ceil(log2 M)): sums of M products with transitions below 2^16 stay below 2^53, so
they are exact in any order of summation, with or without fused multiply-add.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.integer import LEAF_BITS, WEIGHT_BITS, IntegerCircuit

Exact = NDArray[np.float64]
Coder = Callable[[int, Exact, NDArray[np.float32]], NDArray[np.int64]]

TOTAL = float(1 << (WEIGHT_BITS + LEAF_BITS))
PRODUCT_BITS = 26  # of the factors when two vectors are multiplied


def message_bits(states: int) -> int:
    """B: alpha and u are integers below 2^B."""
    return min(30, 37 - max(0, int(states - 1).bit_length()))


def walk(circuit: IntegerCircuit, count: int, code: Coder) -> None:
    """Visit all variables of ``count`` records at once.

    ``code(variable, weights [N, M], freqs [size, M])`` is told the mixture weights, integers that
    sum to 2^14 in every row, and returns the symbols ``[N]``: an encoder those it has written with
    this distribution, a decoder those it has read.
    """
    bits = message_bits(circuit.states)
    alpha: dict[int, Exact] = {}
    below: dict[int, Exact] = {}
    for visit in circuit.visits:
        node = visit.node
        table = circuit.transitions[node].astype(np.float64) if visit.parent >= 0 else None
        if table is None:
            pred = np.repeat(circuit.prior[None], count, axis=0)
        else:
            pred = alpha[visit.parent] @ table
        _reduce(pred, bits)
        leaf = circuit.freqs[circuit.starts[node] : circuit.starts[node + 1]]
        symbols = code(node, mixture_weights(pred), leaf)
        emitted = leaf.take(symbols, axis=0).astype(np.float64)  # [N, M]
        if visit.keep:
            below[node] = emitted
            pred = pred * emitted
        else:
            pred *= emitted
        _reduce(pred, bits)
        alpha[node] = pred
        for child, parent, follows, sends in visit.ups:
            message = below.pop(child) @ circuit.transitions[child].T.astype(np.float64)
            _reduce(message, PRODUCT_BITS)
            if sends:
                below[parent] = _times(below[parent], message, bits)
            if follows:
                alpha[parent] = _times(alpha[parent], message, bits)


def mixture_weights(pred: Exact) -> Exact:
    """Integers proportional to ``pred`` ``[N, M]`` that sum to 2^14: rounded down, the rest to the
    largest. Two IEEE operations on exact numbers, so equal everywhere."""
    states = pred.shape[1]
    scale = float(1 << WEIGHT_BITS)
    if states == 1:
        return np.full_like(pred, scale)
    weights = pred * (scale / pred.sum(axis=1))[:, None]
    np.floor(weights, out=weights)
    weights[np.arange(len(pred)), pred.argmax(axis=1)] += scale - weights.sum(axis=1)
    return weights


def intervals(
    weights: Exact,
    freqs: NDArray[np.float32],
    cumulative: NDArray[np.float32],
    symbols: NDArray[np.int64],
) -> tuple[Exact, Exact]:
    """``(starts, widths)`` of symbols ``[N]`` in units of 2^-32, float64 integers."""
    widths = np.einsum("nm,nm->n", weights, freqs.take(symbols, axis=0).astype(np.float64))
    starts = np.zeros(len(symbols))
    later = np.flatnonzero(symbols)
    if later.size:
        sums = cumulative.take(symbols[later], axis=0).astype(np.float64)
        starts[later] = np.einsum("nm,nm->n", weights[later], sums)
    return starts, widths


def find(
    weights: Exact,
    freqs: NDArray[np.float32],
    cumulative: NDArray[np.float32],
    slots: Exact,
) -> tuple[NDArray[np.int64], Exact, Exact]:
    """``(symbols, starts, widths)`` of the intervals that hold ``slots`` ``[N]``.

    Symbol 0 is tried first: it is the background of digits and the most frequent entry of a
    dictionary. One matrix product gives the cumulative distribution of the other records.
    """
    widths = weights @ freqs[0].astype(np.float64)
    symbols = np.zeros(len(slots), np.int64)
    starts = np.zeros(len(slots))
    rest = np.flatnonzero(slots >= widths)
    if rest.size:
        table = cumulative.T.astype(np.float64)  # [M, size]
        for part in np.array_split(rest, -(-rest.size * len(freqs) // 2**20)):
            sums = weights[part] @ table
            found = (sums <= slots[part, None]).sum(axis=1) - 1
            sums = np.concatenate([sums, np.full((len(part), 1), TOTAL)], axis=1)
            rows = np.arange(len(part))
            symbols[part], starts[part] = found, sums[rows, found]
            widths[part] = sums[rows, found + 1] - sums[rows, found]
    return symbols, starts, widths


def _reduce(values: Exact, bits: int) -> None:
    """Scale every row by a power of two so that its largest entry has ``bits`` bits; round down."""
    exponent = np.frexp(values.max(axis=1))[1]
    values *= np.ldexp(1.0, bits - exponent)[:, None]
    np.floor(values, out=values)


def _times(values: Exact, message: Exact, bits: int) -> Exact:
    """Product of two vectors per record, reduced; both factors are brought to 26 bits."""
    product = values.copy()
    _reduce(product, PRODUCT_BITS)
    product *= message
    _reduce(product, bits)
    return product
