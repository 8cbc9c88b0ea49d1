"""The compiled loop of `context_mixing`, where it is explained: one part of a grid in one call.

Coder and decoder are the same code: `_decide` codes the bit that it is given, or returns what it
reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.jit import jit

Ints = NDArray[np.int64]

UNIT = 256  # of logits, per factor of two, and of expected magnitudes
REACH = 16 * UNIT - 1  # largest logit
ONE = 1 << 16  # of chances and weights
DECISIONS = 14  # of a magnitude; the rest is an Exp-Golomb code
KINDS = 4  # of decisions: more than 0, 1, 2, and the others
GROUPS = 16  # of tables
LEVELS = 13  # of a comparison of magnitudes with what was expected
SIGNS = 7  # of the sum of neighbours
INPUTS = 6
PLAIN = 512  # a table is plain where less than 1 in so many is not zero
WIDEST = 1 << 20  # magnitude in a table that is none
CROWD = 4096  # magnitudes are not told apart beyond this
# Visits, weighed by their uncertainty: those a context begins with, and those after which it no
# longer slows down.
FIRST, STEADY = ONE, 20 * ONE
PER_NAT = 94548  # 2^16 / ln 2
CAUTION = 45875  # 0.7 visits more in every step of a context, 1 for signs
LEARN = 15  # bits less of a weight's gradient
HALF = 1 << LEARN - 1
START = (ONE, *(ONE // 4,) * (INPUTS - 1))
# Comparisons: what is added to both sides, and levels per factor of two.
NARROW, MIDDLE, BROAD = (UNIT // 4, 532), (UNIT // 2, 710), (UNIT, 1065)

WRITE, READ = 0, 1
LOW, HIGH, CODE, POSITION, MODE, SIZE, OVERRUN, DAMAGED = range(8)  # places in a coder's state


def _logarithms() -> NDArray[np.int32]:
    """256 log2(x) of 0 .. 4095; 0 of 0."""
    values = np.arange(1 << 12, dtype=np.float64)
    values[0] = 1
    return np.rint(UNIT * np.log2(values)).astype(np.int32)


def _chances() -> NDArray[np.int32]:
    """2^16 / (1 + 2^(-x / 256)) of x = -4096 .. 4095, at least 4 from either end."""
    logits = np.arange(-REACH - 1, REACH + 1, dtype=np.float64)
    return np.clip(np.rint(ONE / (1 + np.exp2(-logits / UNIT))), 4, ONE - 4).astype(np.int32)


LOGARITHM = _logarithms()
CHANCE = _chances()


@jit
def _narrow(state: Ints, data: NDArray[np.uint8], low: int, high: int) -> None:
    """Go on with an interval, without the bytes that its ends have in common."""
    while (low ^ high) & 0xFF000000 == 0:
        position = int(state[POSITION])
        if state[MODE] == READ:
            byte = 0
            if position < state[SIZE]:
                byte = int(data[position])
            else:
                state[OVERRUN] += 1
            state[CODE] = (int(state[CODE]) << 8 & 0xFFFFFFFF) | byte
        else:
            data[position] = high >> 24
        state[POSITION] = position + 1
        low = low << 8 & 0xFFFFFFFF
        high = (high << 8 & 0xFFFFFFFF) | 255
    state[LOW] = low
    state[HIGH] = high


@jit
def _decide(state: Ints, data: NDArray[np.uint8], bit: int, chance: int) -> int:
    """Code a decision that is 1 with a chance in 2^-16: ``bit``, or what is read."""
    low, high = int(state[LOW]), int(state[HIGH])
    span = high - low
    middle = low + (span >> 16) * chance + ((span & 0xFFFF) * chance >> 16)
    if state[MODE] == READ:
        bit = 1 if state[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    _narrow(state, data, low, high)
    return bit


@jit
def _even(state: Ints, data: NDArray[np.uint8], value: int, count: int) -> int:
    """Code ``count`` equiprobable bits, the highest first."""
    found = 0
    for place in range(count - 1, -1, -1):
        found = 2 * found + _decide(state, data, value >> place & 1, 32768)
    return found


@jit
def _golomb(state: Ints, data: NDArray[np.uint8], value: int, most: int) -> int:
    """Exp-Golomb code of a number whose length is at most ``most`` bits; -1 where it is not."""
    length = 0
    while (value + 1) >> (length + 1):
        length += 1
    found = 0
    while found <= most and _decide(state, data, 1 if found < length else 0, 32768):
        found += 1
    if found > most:
        return -1
    rest = (value + 1) & ((1 << found) - 1)
    return (1 << found) - 1 + _even(state, data, rest, found)


@jit
def _log(value: int) -> int:
    found = 0
    while value >= 4096:
        value >>= 1
        found += 256
    return found + int(LOGARITHM[value])


@jit
def _compare(magnitude: int, expected: int, more: int, fine: int) -> int:
    """Level of a sum of magnitudes beside what was expected of it, both in 1/256."""
    distance = _log(magnitude + more) - _log(expected + more)
    return min(max((distance * fine + (LEVELS << 15)) >> 16, 0), LEVELS - 1)


@jit
def _correct(contexts: Ints, at: int, base: int, bit: int, caution: int) -> None:
    """Move a context's correction of the logit ``base`` by a step of Newton's method."""
    correction, visits = int(contexts[at, 0]), int(contexts[at, 1])
    chance = int(CHANCE[min(max(base + (correction >> 8), -REACH), REACH) + REACH + 1])
    visits += chance * (65536 - chance) >> 16
    correction += ((bit << 16) - chance) * PER_NAT // (visits + caution)
    contexts[at, 0] = min(max(correction, -1048576), 1048576)
    contexts[at, 1] = min(visits, STEADY)


@jit
def code_part(
    state: Ints, data: NDArray[np.uint8], symbols: Ints, indexes: Ints, cells: Ints, first: int,
    last: int, size: Ints, reach: Ints, near: Ints, band: Ints, seen: Any, learned: Any, how: Any,
) -> None:  # fmt: skip
    """Code the symbols of a part that are not plain, in place, and learn from them."""
    height, width = int(size[0]), int(size[1])
    level, mean, total = seen.level, seen.mean, seen.total
    single = GROUPS * KINDS * LEVELS
    n = 0
    for cell in cells:
        row, column = cell // width, cell % width
        for c in range(first, last):
            index, b = int(indexes[n]), int(band[c])
            expected = int(how.expected[index])
            if not how.plain[index]:
                # What the neighbours say.
                around, hoped, signed = 0, 0, 0
                for k in range(reach.shape[0]):
                    y, x = row + int(reach[k, 0]), column + int(reach[k, 1])
                    if 0 <= y < height and 0 <= x < width:
                        other, weight = int(level[y * width + x, c]), int(reach[k, 2])
                        around += weight * min(abs(other), CROWD)
                        signed += weight * min(max(other, -CROWD), CROWD)
                        hoped += weight * int(mean[y * width + x, c])
                own, own_hoped = 0, 0
                for k in range(near.shape[1]):
                    if near[c, k] >= 0:
                        own += min(abs(int(level[cell, near[c, k]])), CROWD)
                        own_hoped += int(mean[cell, near[c, k]])
                around, own = 256 * around, 256 * own
                whole, whole_hoped = int(total[cell, b, 0]), int(total[cell, b, 1])
                f = _compare(around, hoped, NARROW[0], NARROW[1])
                g = _compare(own, own_hoped, NARROW[0], NARROW[1])
                h = _compare(whole, whole_hoped, MIDDLE[0], MIDDLE[1])
                every = _compare(
                    around + own + whole, hoped + own_hoped + whole_hoped, BROAD[0], BROAD[1]
                )
                shift = int(how.shift[index])
                magnitude = abs(int(symbols[n]))
                found = 0
                while found < DECISIONS:
                    kind = min(found, KINDS - 1)
                    at = (int(how.group[index]) * KINDS + kind) * LEVELS
                    a0, a1, a2 = at + f, single + at + g, 2 * single + at + every
                    a3 = 3 * single + (kind * LEVELS + f) * LEVELS + h
                    a4 = c * KINDS + kind
                    base = int(how.logits[index, found])
                    x0 = int(learned.common[a0, 0]) >> 8
                    x1 = int(learned.common[a1, 0]) >> 8
                    x2 = int(learned.common[a2, 0]) >> 8
                    x3 = int(learned.common[a3, 0]) >> 8
                    x4 = int(learned.channel[a4, 0]) >> 8
                    w = b * KINDS + kind
                    weights = learned.weight
                    mixed = int(weights[w, 0]) * base + int(weights[w, 1]) * x0
                    mixed += int(weights[w, 2]) * x1 + int(weights[w, 3]) * x2
                    mixed += int(weights[w, 4]) * x3 + int(weights[w, 5]) * x4
                    mixed = min(max(mixed >> 16, -REACH), REACH)
                    chance = int(CHANCE[mixed + REACH + 1])
                    bit = _decide(state, data, 1 if magnitude >> shift > found else 0, chance)
                    error = (bit << 16) - chance
                    weights[w, 0] += (base * error + HALF) >> LEARN
                    weights[w, 1] += (x0 * error + HALF) >> LEARN
                    weights[w, 2] += (x1 * error + HALF) >> LEARN
                    weights[w, 3] += (x2 * error + HALF) >> LEARN
                    weights[w, 4] += (x3 * error + HALF) >> LEARN
                    weights[w, 5] += (x4 * error + HALF) >> LEARN
                    _correct(learned.common, a0, base, bit, CAUTION)
                    _correct(learned.common, a1, base, bit, CAUTION)
                    _correct(learned.common, a2, base, bit, CAUTION)
                    _correct(learned.common, a3, base, bit, CAUTION)
                    _correct(learned.channel, a4, base, bit, CAUTION)
                    if not bit:
                        break
                    found += 1
                if found == DECISIONS:
                    more = _golomb(
                        state, data, max((magnitude >> shift) - DECISIONS, 0), 30 - shift
                    )
                    if more < 0:
                        state[DAMAGED] = 1
                        return
                    found += more
                found = found << shift | _even(state, data, magnitude & ((1 << shift) - 1), shift)
                if found:
                    trend = (1024 * signed + 7 * (hoped + 64)) // (2 * (hoped + 64))
                    at = c * SIGNS + min(max(trend, 0), SIGNS - 1)
                    logit = min(max(int(learned.sign[at, 0]) >> 8, -REACH), REACH)
                    positive = _decide(
                        state, data, 1 if symbols[n] > 0 else 0, int(CHANCE[logit + REACH + 1])
                    )
                    _correct(learned.sign, at, 0, positive, 65536)
                    if not positive:
                        found = -found
                symbols[n] = found
            value = min(max(int(symbols[n]), -2147483647), 2147483647)
            level[cell, c] = value
            mean[cell, c] = expected
            total[cell, b, 0] += 256 * min(abs(value), CROWD)
            total[cell, b, 1] += expected
            n += 1
