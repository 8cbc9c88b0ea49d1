"""The pre-order walk: every conditional p(x_i | x sent before) in O(|circuit|) per record.

Visiting variable i after its parent p, with alpha_p(a) ~ p(z_p = a, everything sent so far):

    pred(z)  = sum_a alpha_p(a) T_i[a, z]                        one matrix product
    p(x)     = sum_z w(z) E_i[x, z],  w = pred, normalised
    alpha_i  = pred * E_i[x],  u_i = E_i[x]
    m(a)     = sum_z T_i[a, z] u_i(z);  alpha_p *= m;  u_p *= m  when subtree i ends, not the last

Each edge is crossed once down and at most once up, against O(log D) evaluations of a balanced tree
in the paper and one per bisection step when decoding (``integer.cost`` counts both).

Everything is integer arithmetic in float64. With M states, alpha and u stay below 2^B, where
B = min(30, 37 - ceil(log2 M)): sums of M products with transitions below 2^16 stay below 2^53, so
they are exact in any order of summation, with or without fused multiply-add.

The loops go from variable to variable, and at each over the records of a batch, whose lanes share
the words of the stream in this order. Messages are kept for the path from the root only, in rows
numbered by depth.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.circuits.integer import LEAF_BITS, WEIGHT_BITS, IntegerCircuit
from laconic.entropy.jit import jit, jit_fused
from laconic.entropy.lanes import ENDED, LaneDecoder
from laconic.formats.errors import FormatError

Exact = NDArray[np.float64]
Ints = NDArray[np.int64]

TOTAL = float(1 << (WEIGHT_BITS + LEAF_BITS))
PRODUCT_BITS = 26  # of the factors when two vectors are multiplied
BATCH = 256  # records that the encoder walks at once
_SCALE = float(1 << WEIGHT_BITS)
_WORD, _MASK, _LOW = np.uint64(32), np.uint64((1 << 32) - 1), np.uint64(1 << 32)


class Plan(NamedTuple):
    """The visits of a circuit as arrays, and its tables."""

    node: Ints  # [V], the variable of each visit
    depth: Ints  # [V]
    keep: NDArray[np.bool_]  # [V], whether its subtree's likelihood will be sent up
    ups: Ints  # [V + 1], where the messages up after each visit begin
    child: Ints  # of each message: the variable that sends
    above: Ints  # the depth of the one that receives
    follows: NDArray[np.bool_]  # something follows below the receiver
    sends: NDArray[np.bool_]  # the receiver sends up itself
    starts: Ints  # [D + 1], first row of each variable in freqs and cumulative
    prior: Exact  # [M]
    transitions: NDArray[np.float32]  # [D, M, M]
    freqs: NDArray[np.float32]  # [sum of sizes, M]
    cumulative: NDArray[np.float32]
    bits: int


class Room(NamedTuple):
    """Messages of a batch of records."""

    alpha: Exact  # [N, depths, M]
    below: Exact
    weights: Exact  # [M]
    message: Exact  # [1, 1, M]


def message_bits(states: int) -> int:
    """B: alpha and u are integers below 2^B."""
    return min(30, 37 - max(0, int(states - 1).bit_length()))


def plan_of(circuit: IntegerCircuit) -> Plan:
    """The plan of a circuit, made once and kept with it."""
    kept = vars(circuit)
    if "plan" not in kept:
        kept["plan"] = _made(circuit)
    plan: Plan = kept["plan"]
    return plan


def _made(circuit: IntegerCircuit) -> Plan:
    visits, depth = circuit.visits, dict[int, int]()
    for visit in visits:
        depth[visit.node] = depth[visit.parent] + 1 if visit.parent >= 0 else 0
    ups = [up for visit in visits for up in visit.ups]
    return Plan(
        np.array([v.node for v in visits], np.int64),
        np.array([depth[v.node] for v in visits], np.int64),
        np.array([v.keep for v in visits], np.bool_),
        np.cumsum([0, *(len(v.ups) for v in visits)]).astype(np.int64),
        np.array([child for child, _, _, _ in ups], np.int64),
        np.array([depth[parent] for _, parent, _, _ in ups], np.int64),
        np.array([follows for _, _, follows, _ in ups], np.bool_),
        np.array([sends for _, _, _, sends in ups], np.bool_),
        circuit.starts,
        circuit.prior,
        np.ascontiguousarray(circuit.transitions),
        np.ascontiguousarray(circuit.freqs),
        circuit.cumulative,
        message_bits(circuit.states),
    )


def _room(plan: Plan, count: int) -> Room:
    shape = (count, int(plan.depth.max()) + 1, plan.prior.size)
    vector = np.zeros((1, 1, shape[2]))
    return Room(np.zeros(shape), np.zeros(shape), vector[0, 0].copy(), vector)


def intervals(
    plan: Plan,
    symbols: NDArray[np.integer],
    starts: NDArray[np.uint32],
    widths: NDArray[np.uint32],
) -> None:
    """Intervals in units of 2^-32 of records ``[N, D]``, written into ``[N, steps >= D]`` in the
    order of the visits; the widths less 1."""
    room = _room(plan, min(BATCH, len(symbols)))
    for first in range(0, len(symbols), BATCH):
        part = slice(first, first + BATCH)
        records = np.ascontiguousarray(symbols[part], dtype=np.int64)
        _intervals(plan, room, records, starts[part], widths[part])


def read(plan: Plan, decoder: LaneDecoder, count: int) -> Ints:
    """Symbols ``[count, D]`` of one record in each of the first lanes; raises ``FormatError``."""
    symbols = np.zeros((count, plan.starts.size - 1), np.int64)
    room = _room(plan, count)
    decoder.next = _read(plan, room, decoder.states, decoder.words, decoder.next, symbols)
    if decoder.next < 0:
        raise FormatError(ENDED)
    return symbols


@jit_fused
def _dot(weights: Exact, table: NDArray[np.float32], row: int) -> float:
    total = 0.0
    for z in range(weights.size):
        total += weights[z] * np.float64(table[row, z])
    return total


@jit_fused
def _down(alpha: Exact, n: int, depth: int, transitions: NDArray[Any], node: int) -> None:
    """pred(z) = sum_a alpha(a) T[a, z], into the row below."""
    states = alpha.shape[2]
    for z in range(states):
        alpha[n, depth, z] = 0.0
    for a in range(0, states - 1, 2):
        one, two = alpha[n, depth - 1, a], alpha[n, depth - 1, a + 1]
        for z in range(states):
            alpha[n, depth, z] += one * np.float64(transitions[node, a, z]) + two * np.float64(
                transitions[node, a + 1, z]
            )
    if states & 1:
        one = alpha[n, depth - 1, states - 1]
        for z in range(states):
            alpha[n, depth, z] += one * np.float64(transitions[node, states - 1, z])


@jit_fused
def _up(
    below: Exact, n: int, depth: int, transitions: NDArray[Any], node: int, message: Exact
) -> None:
    """m(a) = sum_z T[a, z] u(z)."""
    states = message.shape[2]
    for a in range(states):
        total = 0.0
        for z in range(states):
            total += np.float64(transitions[node, a, z]) * below[n, depth, z]
        message[0, 0, a] = total


@jit
def _reduce(values: Exact, n: int, depth: int, bits: int) -> None:
    """Scale by a power of two so that the largest entry has that many bits; round down."""
    top = 0.0
    for z in range(values.shape[2]):
        top = max(top, values[n, depth, z])
    factor = math.ldexp(1.0, bits - math.frexp(top)[1])
    for z in range(values.shape[2]):
        values[n, depth, z] = np.floor(values[n, depth, z] * factor)


@jit
def _times(values: Exact, n: int, depth: int, message: Exact, bits: int) -> None:
    """Multiply by a vector of 26 bits and reduce; the factor is brought to 26 bits first."""
    _reduce(values, n, depth, PRODUCT_BITS)
    for z in range(values.shape[2]):
        values[n, depth, z] *= message[0, 0, z]
    _reduce(values, n, depth, bits)


@jit
def _expect(
    alpha: Exact, n: int, depth: int, node: int, prior: Exact, transitions: NDArray[Any],
    bits: int, weights: Exact,
) -> None:  # fmt: skip
    """The prediction of a variable in its row of alpha, and the mixture weights: integers that sum
    to 2^14, rounded down, the rest to the largest."""
    if depth:
        _down(alpha, n, depth, transitions, node)
    else:
        for z in range(prior.size):
            alpha[n, 0, z] = prior[z]
    _reduce(alpha, n, depth, bits)
    total, largest = 0.0, 0
    for z in range(prior.size):
        total += alpha[n, depth, z]
        if alpha[n, depth, z] > alpha[n, depth, largest]:
            largest = z
    share, rest = _SCALE / total, _SCALE
    for z in range(prior.size):
        weights[z] = np.floor(alpha[n, depth, z] * share)
        rest -= weights[z]
    weights[largest] += rest


@jit
def _learn(
    alpha: Exact, below: Exact, n: int, depth: int, freqs: NDArray[Any], row: int, keep: bool,
    bits: int,
) -> None:  # fmt: skip
    """Go on knowing the symbol in that row of the leaves."""
    for z in range(alpha.shape[2]):
        emitted = np.float64(freqs[row, z])
        alpha[n, depth, z] *= emitted
        if keep:
            below[n, depth, z] = emitted
    _reduce(alpha, n, depth, bits)


@jit
def _send(
    alpha: Exact, below: Exact, n: int, above: int, child: int, transitions: NDArray[Any],
    follows: bool, sends: bool, bits: int, message: Exact,
) -> None:  # fmt: skip
    """Send the likelihood of a finished subtree up to its parent in the row `above`."""
    _up(below, n, above + 1, transitions, child, message)
    _reduce(message, 0, 0, PRODUCT_BITS)
    if sends:
        _times(below, n, above, message, bits)
    if follows:
        _times(alpha, n, above, message, bits)


@jit
def _intervals(
    plan: Plan, room: Room, symbols: Ints, starts: NDArray[Any], widths: NDArray[Any]
) -> None:
    nodes, depths, keep, ups, child = plan.node, plan.depth, plan.keep, plan.ups, plan.child
    above, follows, sends, firsts, bits = (
        plan.above, plan.follows, plan.sends, plan.starts, plan.bits
    )  # fmt: skip
    prior, tables, freqs, cumulative = plan.prior, plan.transitions, plan.freqs, plan.cumulative
    alpha, below, weights, message = room.alpha, room.below, room.weights, room.message
    for visit in range(nodes.size):
        node, depth = nodes[visit], depths[visit]
        for n in range(symbols.shape[0]):
            _expect(alpha, n, depth, node, prior, tables, bits, weights)
            row = firsts[node] + symbols[n, node]
            starts[n, visit] = np.uint32(_dot(weights, cumulative, row))
            widths[n, visit] = np.uint32(_dot(weights, freqs, row) - 1.0)
            _learn(alpha, below, n, depth, freqs, row, keep[visit], bits)
            for up in range(ups[visit], ups[visit + 1]):
                _send(
                    alpha, below, n, above[up], child[up], tables, follows[up], sends[up], bits,
                    message,
                )  # fmt: skip


@jit
def _read(
    plan: Plan, room: Room, states: NDArray[Any], words: NDArray[Any], place: int, symbols: Ints
) -> int:
    """Fill the symbols; returns where the words not yet read begin, -1 if there are too few.

    Symbol 0 is tried first: it is the background of digits and the most frequent entry of a
    dictionary. The others are found by bisection.
    """
    nodes, depths, keep, ups, child = plan.node, plan.depth, plan.keep, plan.ups, plan.child
    above, follows, sends, firsts, bits = (
        plan.above, plan.follows, plan.sends, plan.starts, plan.bits
    )  # fmt: skip
    prior, tables, freqs, cumulative = plan.prior, plan.transitions, plan.freqs, plan.cumulative
    alpha, below, weights, message = room.alpha, room.below, room.weights, room.message
    for visit in range(nodes.size):
        node, depth = nodes[visit], depths[visit]
        first, last = firsts[node], firsts[node + 1]
        for n in range(symbols.shape[0]):
            _expect(alpha, n, depth, node, prior, tables, bits, weights)
            slot = states[n] & _MASK
            number = np.float64(slot)
            low, high = first, last
            start, end = 0.0, _dot(weights, freqs, first)
            if number >= end:
                low, start, end = first + 1, end, TOTAL
                while high - low > 1:
                    middle = (low + high) >> 1
                    edge = _dot(weights, cumulative, middle)
                    if edge <= number:
                        low, start = middle, edge
                    else:
                        high, end = middle, edge
            state = (states[n] >> _WORD) * np.uint64(end - start) + slot - np.uint64(start)
            if state < _LOW:
                if place >= words.size:
                    return -1
                state = state << _WORD | words[place]
                place += 1
            states[n] = state
            symbols[n, node] = low - first
            _learn(alpha, below, n, depth, freqs, low, keep[visit], bits)
            for up in range(ups[visit], ups[visit + 1]):
                _send(
                    alpha, below, n, above[up], child[up], tables, follows[up], sends[up], bits,
                    message,
                )  # fmt: skip
    return place
