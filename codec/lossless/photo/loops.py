"""The compiled loops of the codec: one sample after the other, from its neighbours to its bits.

Samples are visited along a wavefront (`wave`), so that a front's samples can share the lanes of the
coder (`rans`). For each: what the network sees (`context`), the network itself (`network`), the
mixture of its outputs (`mixture`), and the interval that the coder gets.

Everything is exact: sums are of integers, in float below 2^24 or 2^53, whose order does not matter;
the rest is one IEEE operation after the other, never contracted. Layers skip inputs that are zero:
half of the activations of the first hidden layer and four fifths of the second are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.config import (
    HIDDEN_BITS,
    HIDDEN_LIMIT,
    INPUT_BITS,
    OUTPUT_BITS,
    WEIGHT_BITS,
)
from laconic.codec.lossless.photo.context import (
    AROUND,
    FLOOR,
    HIGH,
    INPUTS,
    LAG,
    LOW,
    NEAR,
    OWN,
    ROUND,
    SCALES,
    SLOPE,
    scale_table,
)
from laconic.codec.lossless.photo.mixture import (
    LEAF_BITS,
    LEAF_REACH,
    LEAF_STEPS,
    LOG_SCALE_LOW,
    LOG_SCALE_STEPS,
    MIXTURE_BITS,
    WEIGHT_STEPS,
)
from laconic.entropy.jit import jit, jit_fused

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int32]
F = np.float32
D = np.float64

PRECISION = 24  # of the coder: intervals are in units of 2^-24
ROWS = 8  # of weights that are added at a time
WIDE = 32  # columns are padded to a multiple of it, for the vectors of any machine
RAGGED, EARLY, STATE, SHORT = 1, 2, 3, 4  # how a damaged stream is found out
OWN_MOST = len(OWN[0])
_OWN_COUNT = tuple(len(offsets) for offsets in OWN)
_OWN_Y, _OWN_X = (np.array([o[i] for o in OWN[0]], np.int64) for i in (0, 1))
_AROUND_Y, _AROUND_X = (np.array([o[i] for o in AROUND], np.int64) for i in (0, 1))
_AROUND_COUNT = len(AROUND)
_REACH_UP, _REACH_LEFT, _REACH_RIGHT = 3, 4, 3  # of OWN
_REACH = 2  # of AROUND
_ZERO, _ONE, _HALF, _FOUR = F(0), F(1), F(0.5), F(4)
_FLOOR, _LOW, _HIGH = F(FLOOR), F(LOW), F(HIGH)
_MIDDLE = F(128)
_GAIN = (ROUND / 2 / scale_table()).astype(F)  # of differences in half levels
_WORD, _MASK32, _LEAST = np.uint64(32), np.uint64((1 << 32) - 1), np.uint64(1 << 32)
_SLOT, _SHIFT = np.uint64((1 << PRECISION) - 1), np.uint64(PRECISION)
_TOTAL = float(1 << PRECISION)
_SHARE = D(2.0 ** -(LEAF_BITS + MIXTURE_BITS))
_WEIGHT_STEP, _ONE_WEIGHT = F(WEIGHT_STEPS * 2.0**-OUTPUT_BITS), D(1 << MIXTURE_BITS)
_SCALE_STEP = F(LOG_SCALE_STEPS * 2.0**-OUTPUT_BITS)
_SCALE_FIRST = F(LOG_SCALE_LOW * LOG_SCALE_STEPS)
_CENTRE = D(LEAF_REACH * LEAF_STEPS)
_SCALE = scale_table() * -(2.0**-OUTPUT_BITS)
_PER_SCALE = LEAF_STEPS * 2.0**-20 / scale_table()
_FIRST, _SECOND = F(2.0 ** (HIDDEN_BITS - INPUT_BITS - WEIGHT_BITS)), F(2.0**-WEIGHT_BITS)
_TOP = F(HIDDEN_LIMIT)


class Circuit(NamedTuple):
    """The networks of all planes and the tables of the mixture, as the loops want them.

    Weights are transposed, so that the sum over a layer's inputs adds rows, and padded with zeros.
    The rows of `w3` are the hidden units, then the inputs.
    """

    sizes: NDArray[np.int64]  # [3, 4]: inputs, hidden units, hidden units, outputs
    w1: Floats  # [3, inputs, hidden units]
    b1: Floats  # [3, hidden units]
    w2: Floats
    b2: Floats
    w3: Floats
    b3: Floats
    weight: Doubles
    inverse: Doubles
    leaf: Doubles
    rise: Doubles


class Scratch(NamedTuple):
    """Numbers of one sample."""

    near: Floats
    around: Floats
    row: Floats
    number: Floats  # [1], and its bits
    bits: Integers
    hidden: Floats
    active: NDArray[np.int64]
    value: Floats
    out: Floats
    weight: Doubles
    gain: Doubles
    origin: Doubles
    found: Doubles  # [2]: start and width


def scratch(circuit: Circuit) -> Scratch:
    """Room for one thread."""
    inputs, first, second, outputs = circuit.sizes.max(axis=0).tolist()
    room = max(inputs, first, second + inputs) + ROWS
    number = np.zeros(1, F)
    return Scratch(
        np.zeros(OWN_MOST, F),
        np.zeros(_AROUND_COUNT, F),
        np.zeros(inputs, F),
        number,
        number.view(np.int32),
        np.zeros(max(circuit.w1.shape[2], circuit.w2.shape[2]), F),
        np.zeros(room, np.int64),
        np.zeros(room, F),
        np.zeros(circuit.w3.shape[2], F),
        np.zeros(outputs // 3),
        np.zeros(outputs // 3),
        np.zeros(outputs // 3),
        np.zeros(2),
    )


@jit
def _look_back(
    values: Floats, plane: int, y: int, x: int, count: int, start: np.float32, near: Floats
) -> None:
    """The first `count` neighbours of OWN of a sample in the plane of values [C, H, W].

    Outside the picture the nearest of the samples coded before counts: in the first row W stands
    for what is above, at the left end of a row N for what is to the left, and the first sample sees
    `start`.
    """
    width = values.shape[2]
    if y >= _REACH_UP and _REACH_LEFT <= x < width - _REACH_RIGHT:
        for n in range(count):
            near[n] = values[plane, y + _OWN_Y[n], x + _OWN_X[n]]
        return
    for n in range(count):
        row = max(y + _OWN_Y[n], 0)
        column = min(max(x + _OWN_X[n], 0), width - 1)
        column = min(column, x + SLOPE * (y - row) - 1)  # what earlier steps have coded
        if column < 0:  # nothing to the left in this row: the sample above
            row, column = y - 1, 0
        near[n] = start if row < 0 else values[plane, row, column]


@jit
def _look_around(values: Floats, plane: int, y: int, x: int, around: Floats) -> None:
    """The neighbours of AROUND in the plane; outside it the nearest sample counts."""
    height, width = values.shape[1], values.shape[2]
    if _REACH <= y < height - _REACH and _REACH <= x < width - _REACH:
        for n in range(_AROUND_COUNT):
            around[n] = values[plane, y + _AROUND_Y[n], x + _AROUND_X[n]]
        return
    for n in range(_AROUND_COUNT):
        row = min(max(y + _AROUND_Y[n], 0), height - 1)
        column = min(max(x + _AROUND_X[n], 0), width - 1)
        around[n] = values[plane, row, column]


@jit
def _index(activity: np.float32, number: Floats, bits: Integers) -> int:
    """Index into `scale_table` of an activity in sixteenths of a level: exponent and three bits of
    the mantissa of the float32 itself."""
    number[0] = activity
    return min(max((int(bits[0]) >> 20) - ((127 + 3) << 3), 0), SCALES - 1)


@jit
def _clipped(value: np.float32) -> np.float32:
    return min(max(np.rint(value), _LOW), _HIGH)


@jit
def _see(
    plane: int, y: int, x: int, planes: Floats, lossy: Floats, bits: int, near: Floats,
    around: Floats, row: Floats, number: Floats, bits_of: Integers,
) -> tuple[np.float32, int]:  # fmt: skip
    """What the network of `plane` sees of a sample, into `row`.

    Returns the centre of the prediction in half levels and the index of the activity.
    """
    octaves = bits - 8
    shrink = F(1.0 / (1 << octaves))
    zero = 32 + 8 * octaves  # activities as inputs are zero in the middle of the usual ones
    count = _OWN_COUNT[plane]
    start = F(1 << (bits - 1)) if plane == 0 else _ZERO
    _look_back(planes, plane, y, x, count, start, near)
    base = near[0] + near[1]  # twice (W + N) / 2
    for n in range(count):
        row[n] = near[n] + near[n] - base
    activity = _FLOOR
    for n in range(NEAR):
        activity += abs(row[n])
    far = _ZERO
    logs = plane + (plane == 0)
    total = count + (_AROUND_COUNT - 1) * plane
    at = total + 1 + logs
    if plane == 0:
        for n in range(NEAR, count):
            far += abs(row[n])
        row[total + 1] = F(_index(far * _HALF + _FLOOR, number, bits_of) - zero) * _FOUR
    row[at] = base * (_HALF * shrink)
    if plane == 0:
        row[at] -= _MIDDLE
    centre = base
    for earlier in range(plane):
        _look_around(planes, earlier, y, x, around)
        here, nearest = around[0], _ZERO
        for n in range(1, _AROUND_COUNT):
            difference = around[n] - here
            if n < 5:
                nearest += abs(difference)
            row[count] = difference + difference
            count += 1
        activity += nearest * F(0.5 * (1 + earlier))
        index = _index(nearest * _FOUR + _FLOOR, number, bits_of)
        row[total + 1 + earlier] = F(index - zero) * _FOUR
        row[at + 1 + earlier] = here * shrink
        if earlier == 0:
            row[at + 1] -= _MIDDLE
            centre = base + (here + here)
    scale = _index(activity, number, bits_of)
    gain = _GAIN[scale]
    for n in range(total):
        row[n] *= gain
    row[total] = F(scale - zero) * _FOUR
    end = INPUTS[plane]
    if lossy.size:
        _look_around(lossy, plane, y, x, around)
        here, nearest = around[0], _ZERO
        row[end] = (here + here - base) * gain
        for n in range(1, _AROUND_COUNT):
            difference = around[n] - here
            if n < 5:
                nearest += abs(difference)
            row[end + n] = (difference + difference) * gain
        error = abs(near[0] - around[1]) + abs(near[1] - around[2])
        error += abs(near[2] - around[5]) + abs(near[3] - around[6])
        end += _AROUND_COUNT
        row[end] = F(_index(nearest * _FOUR + _FLOOR, number, bits_of) - zero) * _FOUR
        row[end + 1] = F(_index(error * _FOUR + _FLOOR, number, bits_of) - zero) * _FOUR
        end += 2
    for n in range(end):
        row[n] = _clipped(row[n])
    return centre, scale


@jit
def _gather(
    hidden: Floats, size: int, scale: np.float32, active: NDArray[Any], value: Floats
) -> int:
    """Activations of a layer's sums, limited and rounded down to ten bits, that are not zero, and
    their numbers; returns how many."""
    for n in range(size):
        hidden[n] = np.floor(min(max(hidden[n] * scale, _ZERO), _TOP))
    count = 0
    for n in range(size):
        active[count], value[count] = n, hidden[n]
        count += 1 if hidden[n] > _ZERO else 0
    return count


@jit
def _append(
    row: Floats, size: int, first: int, count: int, active: NDArray[Any], value: Floats
) -> int:
    """Append the inputs, whose weights are in the rows from `first` on."""
    for n in range(size):
        active[count + n], value[count + n] = first + n, row[n]
    return count + size


@jit_fused
def _add(
    weights: Floats, bias: Floats, plane: int, columns: int, count: int, active: NDArray[Any],
    value: Floats, out: Floats,
) -> None:  # fmt: skip
    """out = bias + the rows of the active inputs times their values."""
    for n in range(count, count + ROWS):
        active[n], value[n] = 0, _ZERO
    for n in range(columns):
        out[n] = bias[plane, n]
    for k in range(0, count, ROWS):
        v0, v1, v2, v3 = value[k], value[k + 1], value[k + 2], value[k + 3]
        v4, v5, v6, v7 = value[k + 4], value[k + 5], value[k + 6], value[k + 7]
        r0, r1 = weights[plane, active[k]], weights[plane, active[k + 1]]
        r2, r3 = weights[plane, active[k + 2]], weights[plane, active[k + 3]]
        r4, r5 = weights[plane, active[k + 4]], weights[plane, active[k + 5]]
        r6, r7 = weights[plane, active[k + 6]], weights[plane, active[k + 7]]
        for n in range(columns):
            out[n] += (
                v0 * r0[n] + v1 * r1[n] + v2 * r2[n] + v3 * r3[n]
                + v4 * r4[n] + v5 * r5[n] + v6 * r6[n] + v7 * r7[n]
            )  # fmt: skip


@jit
def _network(
    plane: int, sizes: NDArray[Any], w1: Floats, b1: Floats, w2: Floats, b2: Floats, w3: Floats,
    b3: Floats, row: Floats, hidden: Floats, active: NDArray[Any], value: Floats, out: Floats,
) -> None:  # fmt: skip
    """Inputs `row` to `out`."""
    inputs, first, second = sizes[plane, 0], sizes[plane, 1], sizes[plane, 2]
    count = _append(row, inputs, 0, 0, active, value)
    _add(w1, b1, plane, first, count, active, value, hidden)
    count = _gather(hidden, first, _FIRST, active, value)
    _add(w2, b2, plane, second, count, active, value, hidden)
    count = _gather(hidden, second, _SECOND, active, value)
    count = _append(row, inputs, second, count, active, value)
    _add(w3, b3, plane, b3.shape[1], count, active, value, out)


@jit
def _mix(
    base: np.float32, scale: int, parts: int, out: Floats, weights: Doubles, inverse: Doubles,
    weight: Doubles, gain: Doubles, origin: Doubles,
) -> None:  # fmt: skip
    """The distribution of a sample from `out`: `weight`, `gain` and `origin` of each part."""
    top = out[0]
    for k in range(1, parts):
        top = max(top, out[k])
    total = 0.0
    for k in range(parts):
        below = int((top - out[k]) * _WEIGHT_STEP)
        weight[k] = weights[min(max(below, 0), weights.size - 1)]
        total += weight[k]
    low = D(base) * 0.5 + 0.5
    for k in range(parts):
        weight[k] = np.floor(weight[k] * _ONE_WEIGHT / total)
        step = int(out[2 * parts + k] * _SCALE_STEP - _SCALE_FIRST)
        gain[k] = inverse[min(max(step, 0), inverse.size - 1)] * _PER_SCALE[scale]
        origin[k] = (D(out[parts + k]) * _SCALE[scale] - low) * gain[k] + _CENTRE


@jit
def _cumulative(
    level: int, levels: int, parts: int, weight: Doubles, gain: Doubles, origin: Doubles,
    leaf: Doubles, rise: Doubles,
) -> float:  # fmt: skip
    """C(level) for 0 < level < levels, an integer."""
    total, last = 0.0, leaf.size - 1
    for k in range(parts):
        place = gain[k] * D(level) + origin[k]
        if levels > 256:  # many levels lie between two entries of the table
            place = min(max(place, D(0)), D(last))
            index = int(place)
            height = np.floor((place - D(index)) * rise[index] + leaf[index])
        else:
            height = leaf[min(max(int(place + 0.5), 0), last)]
        total += height * weight[k]
    return np.floor(total * ((_TOTAL - D(levels)) * _SHARE)) + D(level)


@jit
def _find(
    slot: np.float64, levels: int, parts: int, weight: Doubles, gain: Doubles, origin: Doubles,
    leaf: Doubles, rise: Doubles, found: Doubles,
) -> int:  # fmt: skip
    """The sample whose interval holds `slot`; its start and width go to `found`.

    The search begins at the mean of the heaviest part and goes on in growing steps, then by
    bisection.
    """
    heaviest = 0
    for k in range(1, parts):
        if weight[k] > weight[heaviest]:
            heaviest = k
    guess = (_CENTRE - origin[heaviest]) / gain[heaviest]
    level = int(min(max(guess, 1.0), D(levels - 1)))
    step = int(min(max(LEAF_STEPS / gain[heaviest], 1.0), D(levels)))
    low, high, start, end = 0, levels, 0.0, _TOTAL
    while high - low > 1:
        edge = _cumulative(level, levels, parts, weight, gain, origin, leaf, rise)
        if edge <= slot:
            low, start = level, edge
            level = low + step
        else:
            high, end = level, edge
            level = high - step
        step += step
        if level <= low or level >= high:
            level = (low + high) >> 1
    found[0], found[1] = start, end - start
    return low


@jit
def draw(
    plane: int, ys: NDArray[Any], xs: NDArray[Any], planes: Floats, lossy: Floats, bits: int,
    inputs: Floats, bases: Floats, scales: NDArray[Any],
) -> None:  # fmt: skip
    """What the network sees of n samples: inputs [n, F], centres [n], activities [n]."""
    near, around = np.zeros(OWN_MOST, np.float32), np.zeros(_AROUND_COUNT, np.float32)
    row, number = np.zeros(inputs.shape[1], np.float32), np.zeros(1, np.float32)
    bits_of = number.view(np.int32)
    for n in range(ys.size):
        bases[n], scales[n] = _see(
            plane, ys[n], xs[n], planes, lossy, bits, near, around, row, number, bits_of
        )
        for k in range(row.size):
            inputs[n, k] = row[k]


@jit
def outputs(plane: int, inputs: Floats, c: Circuit, s: Scratch, out: Floats) -> None:
    """The network of `plane` of inputs [n, F], into out [n, 3 * K]."""
    sizes, w1, b1, w2, b2, w3, b3 = c.sizes, c.w1, c.b1, c.w2, c.b2, c.w3, c.b3
    row, hidden, active, value, sums = s.row, s.hidden, s.active, s.value, s.out
    for n in range(inputs.shape[0]):
        for k in range(inputs.shape[1]):
            row[k] = inputs[n, k]
        _network(plane, sizes, w1, b1, w2, b2, w3, b3, row, hidden, active, value, sums)
        for k in range(out.shape[1]):
            out[n, k] = sums[k]


@jit
def intervals(
    first: int, end: int, planes: Floats, lossy: Floats, bits: int, c: Circuit, s: Scratch,
    starts: NDArray[Any], widths: NDArray[Any],
) -> None:  # fmt: skip
    """Start and width of every sample of the steps `first` to `end`, in coding order."""
    channels, height, width = planes.shape
    sizes, w1, b1, w2, b2, w3, b3 = c.sizes, c.w1, c.b1, c.w2, c.b2, c.w3, c.b3
    weights, inverse, leaf, rise = c.weight, c.inverse, c.leaf, c.rise
    near, around, row, number, bits_of = s.near, s.around, s.row, s.number, s.bits
    hidden, active, value, out = s.hidden, s.active, s.value, s.out
    weight, gain, origin = s.weight, s.gain, s.origin
    levels, parts, place = 1 << bits, sizes[0, 3] // 3, 0
    for step in range(first, end):
        for plane in range(channels):
            at = step - LAG * plane
            for y in range(max(0, (at - width + SLOPE) // SLOPE), min(height, at // SLOPE + 1)):
                x = at - SLOPE * y
                base, scale = _see(
                    plane, y, x, planes, lossy, bits, near, around, row, number, bits_of
                )
                _network(plane, sizes, w1, b1, w2, b2, w3, b3, row, hidden, active, value, out)
                _mix(base, scale, parts, out, weights, inverse, weight, gain, origin)
                level = int(planes[plane, y, x])
                if plane:
                    level += int(planes[0, y, x])
                low, high = 0.0, _TOTAL
                if level > 0:
                    low = _cumulative(level, levels, parts, weight, gain, origin, leaf, rise)
                if level + 1 < levels:
                    high = _cumulative(level + 1, levels, parts, weight, gain, origin, leaf, rise)
                starts[place], widths[place] = np.uint32(low), np.uint32(high - low)
                place += 1


@jit
def decode(
    active: NDArray[Any], state: NDArray[Any], words: NDArray[Any], planes: Floats, lossy: Floats,
    bits: int, c: Circuit, s: Scratch,
) -> int:  # fmt: skip
    """Fill `planes` [C, H, W] from the lanes of a stream; 0, or what is wrong with it.

    Args:
        active: lanes in use at each step, and a last 0.
        state: of each lane.
        words: room for a word of each lane, then those of the stream.
    """
    channels, height, width = planes.shape
    sizes, w1, b1, w2, b2, w3, b3 = c.sizes, c.w1, c.b1, c.w2, c.b2, c.w3, c.b3
    weights, inverse, leaf, rise = c.weight, c.inverse, c.leaf, c.rise
    near, around, row, number, bits_of = s.near, s.around, s.row, s.number, s.bits
    hidden, rows, value, out = s.hidden, s.active, s.value, s.out
    weight, gain, origin, found = s.weight, s.gain, s.origin, s.found
    levels, parts, top = 1 << bits, sizes[0, 3] // 3, active[0]
    for step in range(active.size - 1):
        lane = 0
        for plane in range(channels):
            at = step - LAG * plane
            for y in range(max(0, (at - width + SLOPE) // SLOPE), min(height, at // SLOPE + 1)):
                x = at - SLOPE * y
                base, scale = _see(
                    plane, y, x, planes, lossy, bits, near, around, row, number, bits_of
                )
                _network(plane, sizes, w1, b1, w2, b2, w3, b3, row, hidden, rows, value, out)
                _mix(base, scale, parts, out, weights, inverse, weight, gain, origin)
                slot = state[lane] & _SLOT
                level = _find(D(slot), levels, parts, weight, gain, origin, leaf, rise, found)
                new = (state[lane] >> _SHIFT) * np.uint64(found[1])
                new += slot - np.uint64(found[0])
                if new < _LEAST:
                    if top >= words.size:
                        return EARLY
                    new = new << _WORD | np.uint64(words[top])
                    top += 1
                state[lane] = new
                lane += 1
                planes[plane, y, x] = F(level) - (planes[0, y, x] if plane else _ZERO)
        for lane in range(active[step + 1], active[step]):
            if state[lane] - _LEAST > _MASK32:
                return STATE
        ended = active[step] - active[step + 1]
        if ended:
            top -= ended
            if top < 0:
                return SHORT
            for n in range(ended):
                words[top + n] = np.uint32(state[active[step + 1] + n] - _LEAST)
    for n in range(top, words.size):
        if words[n]:
            return RAGGED
    return 0
