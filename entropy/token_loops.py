"""The compiled loops of `token_grid`: prediction, adaptive counts and range coder of one stream.

The same arithmetic as `token_grid` and `short`, where it is explained, for a stream of
tokens in one call. Counts are kept in lists, one for each context.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.jit import jit
from laconic.entropy.short import BACK_OFF, DIGIT, LEAST, SCALE, SMALL, START, TOP

Ints = NDArray[np.int64]
SHARE = 16  # bits of the experts' weights
ROWS = 4  # of weights that are added at a time
_BACK_0, _BACK_1 = BACK_OFF
_SPREAD = (1 << SHARE) - LEAST * len(START)
_BELOW = (1 << DIGIT) - 1


class Net(NamedTuple):
    """The network of one stream; without one, `head` is of shape [0, V]."""

    table: NDArray[np.int32]  # [sum of V + 1, H], first layer of every neighbour's symbols
    reach: Ints  # [slots], where the neighbours lie in the grid
    offsets: Ints  # [slots], where each begins in the table
    place: NDArray[np.int32]  # [positions, H]
    head: NDArray[np.int8]  # [H, V]
    bias: NDArray[np.int32]  # [V]
    exponentials: Ints
    shifts: Ints  # [3]: of hidden units, of logits to steps of the exponentials, and of the stream
    #               in the grid


class Seen(NamedTuple):
    """Symbols seen in each context: of order 0 one for each position, of order 1 one for each
    position and symbol before (or none), after those."""

    weights: Ints  # [3], of the experts
    first: Ints  # of each context, its first entry or -1
    total: Ints  # of each context
    following: Ints  # of each entry, the next or -1
    symbol: Ints
    counts: Ints
    used: Ints  # [1], entries


def seen_of(positions: int, symbols: int, tokens: int) -> Seen:
    """Nothing seen, and room for that many tokens."""
    contexts, entries = positions * (symbols + 2), 2 * tokens
    none = np.zeros(entries, np.int64)
    return Seen(
        np.array(START, np.int64), np.full(contexts, -1), np.zeros(contexts, np.int64), none.copy(),
        none.copy(), none.copy(), np.zeros(1, np.int64),
    )  # fmt: skip


@jit
def _add(
    head: NDArray[Any], bias: NDArray[Any], active: Ints, value: Ints, count: int,
    out: NDArray[Any],
) -> None:  # fmt: skip
    """out = bias + the rows of the active hidden units times their values."""
    for n in range(count, count + ROWS):
        active[n], value[n] = 0, 0
    for n in range(out.size):
        out[n] = bias[n]
    for k in range(0, count, ROWS):
        v0, v1 = np.int32(value[k]), np.int32(value[k + 1])
        v2, v3 = np.int32(value[k + 2]), np.int32(value[k + 3])
        r0, r1 = head[active[k]], head[active[k + 1]]
        r2, r3 = head[active[k + 2]], head[active[k + 3]]
        for n in range(out.size):
            more = np.int32(v0 * np.int32(r0[n])) + np.int32(v1 * np.int32(r1[n]))
            more += np.int32(v2 * np.int32(r2[n])) + np.int32(v3 * np.int32(r3[n]))
            out[n] = np.int32(out[n] + more)


@jit
def predict(
    flat: Ints, at: int, position: int, net: Net, active: Ints, value: Ints, logits: NDArray[Any],
    base: Ints,
) -> None:  # fmt: skip
    """Base distribution of one token, of total about 2^SCALE."""
    count = 0
    for unit in range(net.place.shape[1]):
        total = int(net.place[position, unit])
        for slot in range(net.reach.size):
            total += int(net.table[flat[at + net.reach[slot]] + net.offsets[slot], unit])
        hidden = min(max(total >> net.shifts[0], 0), 127)
        if hidden:
            active[count], value[count] = unit, hidden
            count += 1
    _add(net.head, net.bias, active, value, count, logits)
    top, last, total = int(logits[0]), net.exponentials.size - 1, 0
    for n in range(logits.size):
        top = max(top, int(logits[n]))
    for n in range(logits.size):
        base[n] = net.exponentials[min((top - int(logits[n])) >> net.shifts[1], last)]
        total += base[n]
    # (w << SCALE) // total: the quotient of doubles rounds down to it, since both are exact and
    # total is below 2^33.
    for n in range(base.size):
        base[n] = int(np.float64(base[n] << SCALE) / np.float64(total))


@jit
def _mix(base: Ints, zero: int, one: int, seen: Seen, freqs: Ints) -> int:
    """Frequencies of the symbols, each at least 1; returns their sum."""
    all_0, all_1 = seen.total[zero] + _BACK_0, seen.total[one] + _BACK_1
    share = seen.weights[0] + seen.weights[1] * _BACK_0 // all_0
    share += seen.weights[2] * _BACK_1 // all_1
    for n in range(base.size):
        freqs[n] = (base[n] * share >> SHARE) + 1
    for order in range(2):
        unit = (
            (seen.weights[1] << SCALE) // all_0
            if order == 0
            else (seen.weights[2] << SCALE) // all_1
        )
        entry = seen.first[zero if order == 0 else one]
        while entry >= 0:
            freqs[seen.symbol[entry]] += seen.counts[entry] * unit >> SHARE
            entry = seen.following[entry]
    total = 0
    for n in range(base.size):
        total += freqs[n]
    return total


@jit
def _entry(context: int, symbol: int, seen: Seen) -> int:
    entry = seen.first[context]
    while entry >= 0 and seen.symbol[entry] != symbol:
        entry = seen.following[entry]
    return entry


@jit
def _count(context: int, symbol: int, entry: int, seen: Seen) -> None:
    if entry < 0:
        entry = seen.used[0]
        seen.used[0] += 1
        seen.symbol[entry], seen.following[entry] = symbol, seen.first[context]
        seen.first[context] = entry
    seen.counts[entry] += 1
    seen.total[context] += 1


@jit
def _learn(own: int, zero: int, one: int, symbol: int, seen: Seen) -> None:
    """Weigh the experts by their success and count the symbol."""
    entry_0, entry_1 = _entry(zero, symbol, seen), _entry(one, symbol, seen)
    count_0 = seen.counts[entry_0] if entry_0 >= 0 else 0
    count_1 = seen.counts[entry_1] if entry_1 >= 0 else 0
    success_0 = ((count_0 << SCALE) + own * _BACK_0) // (seen.total[zero] + _BACK_0) + 1
    success_1 = ((count_1 << SCALE) + own * _BACK_1) // (seen.total[one] + _BACK_1) + 1
    a = seen.weights[0] * (own + 1)
    b, c = seen.weights[1] * success_0, seen.weights[2] * success_1
    total = a + b + c
    seen.weights[0] = LEAST + a * _SPREAD // total
    seen.weights[1] = LEAST + b * _SPREAD // total
    seen.weights[2] = LEAST + c * _SPREAD // total
    _count(zero, symbol, entry_0, seen)
    _count(one, symbol, entry_1, seen)


@jit
def _push(state: Ints, data: NDArray[Any], start: int, width: int, total: int) -> None:
    unit = state[1] // total
    low, size = state[0] + unit * start, unit * width
    if low >= TOP:
        low -= TOP
        at = state[2] - 1
        while data[at] == 255:
            data[at] = 0
            at -= 1
        data[at] += 1
    while size < SMALL:
        data[state[2]] = low >> DIGIT
        state[2] += 1
        low = (low & _BELOW) << 8
        size <<= 8
    state[0], state[1] = low, size


@jit
def _pull(state: Ints, data: NDArray[Any], freqs: Ints, total: int) -> int:
    unit = state[1] // total
    slot = min(state[0] // unit, total - 1)
    symbol, start = 0, 0
    while start + freqs[symbol] <= slot:
        start += freqs[symbol]
        symbol += 1
    code, size = state[0] - unit * start, unit * freqs[symbol]
    code = min(code, size - 1)  # larger only where the data is damaged
    while size < SMALL:
        digit = int(data[state[2]]) if state[2] < data.size else 0
        code = code << 8 | digit
        size <<= 8
        state[2] += 1
    state[0], state[1] = code, size
    return symbol


@jit
def code(
    writing: bool, state: Ints, data: NDArray[Any], tokens: Ints, flat: Ints, origin: int,
    row: int, net: Net, seen: Seen, base: Ints,
) -> None:  # fmt: skip
    """Write or read the tokens [columns, positions] of one stream.

    Args:
        state: of the coder: low or code, range, and the place in `data`.
        flat: the grid of all streams, where tokens are put as they are coded; the place of the
            first in it is `origin`, and a column has `row` places. Of the stream itself, seen from
            the neighbours' stream, it is net.shifts[2] further on.
        base: [V], the base distribution where there is no network.
    """
    columns, positions = tokens.shape
    symbols = base.size
    units = net.place.shape[1]
    active, value = np.zeros(units + ROWS, np.int64), np.zeros(units + ROWS, np.int64)
    logits, freqs = np.zeros(symbols, np.int32), np.zeros(symbols, np.int64)
    for column in range(columns):
        for position in range(positions):
            at = origin + column * row + position
            if units:
                predict(flat, at, position, net, active, value, logits, base)
            before = tokens[column - 1, position] + 1 if column else 0
            one = positions + position * (symbols + 1) + before
            total = _mix(base, position, one, seen, freqs)
            if writing:
                symbol, start = tokens[column, position], 0
                for n in range(symbol):
                    start += freqs[n]
                _push(state, data, start, freqs[symbol], total)
            else:
                symbol = _pull(state, data, freqs, total)
                tokens[column, position] = symbol
            if units:
                flat[at + net.shifts[2]] = symbol
            _learn(base[symbol], position, one, symbol, seen)
