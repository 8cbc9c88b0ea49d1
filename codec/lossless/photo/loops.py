"""The compiled loops of the codec: from the neighbours of samples to their bits.

Samples are visited along a wavefront, so that a front's samples share the lanes of the
coder (`wave`), the lanes of vectors and the products of matrices (`product`). For each: what the
network sees (`ends`), the network itself (`network`), the mixture of its outputs (`ends`),
and the interval that the coder gets. One loop encodes and decodes.

The last fronts are kept in a ring, [C, RING, H]: there neighbours of neighbouring samples of a
front are neighbours, which makes vectors of them. Samples near the border look into the planes.

Everything is exact: sums are of integers, below 2^24 in the network and 2^53 in the mixture, whose
order does not matter; the rest is one IEEE operation after the other, never contracted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.features import (
    AROUND,
    FLOOR,
    HIGH,
    INPUTS,
    LAG,
    LEAF_BITS,
    LEAF_REACH,
    LEAF_STEPS,
    LOG_SCALE_LOW,
    LOG_SCALE_STEPS,
    LOW,
    MIXTURE_BITS,
    NEAR,
    OWN,
    ROUND,
    SCALES,
    SLOPE,
    WEIGHT_STEPS,
    scale_table,
)
from laconic.codec.lossless.photo.header import HIDDEN_BITS, INPUT_BITS, OUTPUT_BITS, WEIGHT_BITS
from laconic.codec.lossless.photo.product import COLUMNS, ROWS, layer, padded
from laconic.entropy.jit import jit

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int32]
Shorts = NDArray[np.int16]
F = np.float32
D = np.float64

PRECISION = 24  # of the coder: intervals are in units of 2^-24
RING = 32  # fronts that a later one may look back at: 2 LAG + 2 SLOPE, and the next power of two
RAGGED, EARLY, STATE, SHORT = 1, 2, 3, 4  # how a damaged stream is found out
OWN_MOST = len(OWN[0])
_OWN_COUNT = tuple(len(offsets) for offsets in OWN)
_OWN_Y, _OWN_X = (np.array([o[i] for o in OWN[0]], np.int64) for i in (0, 1))
_AROUND_Y, _AROUND_X = (np.array([o[i] for o in AROUND], np.int64) for i in (0, 1))
_AROUND_COUNT = len(AROUND)
_OWN_STEP, _AROUND_STEP = _OWN_X + SLOPE * _OWN_Y, _AROUND_X + SLOPE * _AROUND_Y
_AHEAD = int(_AROUND_STEP.max()) + 1
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
_FIRST, _SECOND = INPUT_BITS + WEIGHT_BITS - HIDDEN_BITS, WEIGHT_BITS  # bits that a layer drops


class Circuit(NamedTuple):
    """The networks of all planes and the tables of the mixture, as the loops want them.

    Weights are as `product.pack` makes them. The rows of `w3` are hidden units, then inputs.
    """

    sizes: NDArray[np.int64]  # [3, 4]: inputs, hidden units, hidden units (padded), outputs
    w1: Shorts
    b1: Integers  # [3, hidden units]
    w2: Shorts
    b2: Integers
    w3: Shorts
    b3: Integers
    weight: Doubles
    inverse: Doubles
    leaf: Floats
    rise: Floats


class Scratch(NamedTuple):
    """What is known of the samples of a front while they are coded."""

    near: Floats
    around: Floats
    row: Floats
    number: Floats  # [1], and its bits
    bits: Integers
    ring: Floats
    lossy: Floats  # ring of the lossy image
    seen: Floats  # [inputs, n]
    sums: Floats  # [2, n], and their bits
    sums_bits: Integers
    base: Floats  # [n]
    centre: Floats  # [n]
    scale: NDArray[np.int64]  # [n]
    rows: Shorts  # [n, second hidden layer and inputs]
    hidden: Shorts  # [n, first hidden layer]
    out: Floats  # [n, outputs]
    weight: Doubles
    gain: Doubles
    origin: Doubles
    found: Doubles  # [2]: start and width


def scratch(circuit: Circuit, shape: tuple[int, ...]) -> Scratch:
    """Room for one thread and planes [C, H, W] of that shape."""
    channels, height, width = shape
    inputs, first, second, outputs = circuit.sizes.max(axis=0).tolist()
    number, room = np.zeros(1, F), padded(min(height, -(-width // SLOPE)), ROWS)
    sums = np.zeros((2, room), F)
    return Scratch(
        np.zeros(OWN_MOST, F),
        np.zeros(_AROUND_COUNT, F),
        np.zeros(inputs, F),
        number,
        number.view(np.int32),
        np.zeros((channels, RING, height), F),
        np.zeros((channels, RING, height), F),
        np.zeros((inputs, room), F),
        sums,
        sums.view(np.int32),
        np.zeros(room, F),
        np.zeros(room, F),
        np.zeros(room, np.int64),
        np.zeros((room, second + inputs + 1), np.int16),
        np.zeros((room, padded(first, COLUMNS)), np.int16),
        np.zeros((room, padded(outputs, COLUMNS)), F),
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

    Outside the image the nearest of the samples coded before counts: in the first row W stands
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
def _keep(planes: Floats, plane: int, at: int, ring: Floats) -> None:
    """Copy a front of a plane into the ring; nothing where there is none."""
    height, width = planes.shape[1], planes.shape[2]
    for y in range(max(0, (at - width + SLOPE) // SLOPE), min(height, at // SLOPE + 1)):
        ring[plane, at & (RING - 1), y] = planes[plane, y, at - SLOPE * y]


@jit
def _add_around(
    ring: Floats, plane: int, at: int, first: int, count: int, into: int, base: Floats,
    seen: Floats, nearest: Floats,
) -> None:  # fmt: skip
    """Twice the differences of the neighbours of AROUND to the sample, from row `into` of `seen`
    on, and the sum of four of them."""
    here = ring[plane, at & (RING - 1), first : first + count]
    for n in range(count):
        nearest[n] = _ZERO
    for k in range(1, _AROUND_COUNT):
        begin = first + _AROUND_Y[k]
        values = ring[plane, (at + _AROUND_STEP[k]) & (RING - 1), begin : begin + count]
        row = seen[into + k - 1]
        if k < 5:
            for n in range(count):
                nearest[n] += abs(values[n] - here[n])
        for n in range(count):
            row[n] = (values[n] - here[n]) + (values[n] - here[n])


@jit
def _index_all(bits: Integers, count: int, zero: int, row: Floats) -> None:
    """Indexes into `scale_table` as inputs."""
    for n in range(count):
        index = min(max((bits[n] >> 20) - ((127 + 3) << 3), 0), SCALES - 1)
        row[n] = F(index - zero) * _FOUR


@jit
def _see_all(
    plane: int, at: int, first: int, count: int, ring: Floats, lossy: Floats, based: bool,
    bits: int, seen: Floats, sums: Floats, sums_bits: Integers, base: Floats,
    scale: NDArray[Any], centre: Floats, rows: Shorts, column: int,
) -> None:  # fmt: skip
    """What `_see` sees of the samples of a front from row `first` on, all far from the border,
    rounded into `rows`; `base` is scratch and `centre` the centre of the predictions."""
    octaves = bits - 8
    shrink = F(1.0 / (1 << octaves))
    zero = 32 + 8 * octaves
    own = _OWN_COUNT[plane]
    activity, other = sums[0], sums[1]
    west = ring[plane, (at - 1) & (RING - 1), first : first + count]
    north = ring[plane, (at - SLOPE) & (RING - 1), first - 1 : first - 1 + count]
    for n in range(count):
        base[n] = west[n] + north[n]
        centre[n] = base[n]
        activity[n], other[n] = _FLOOR, _ZERO
    for k in range(own):
        begin = first + _OWN_Y[k]
        values = ring[plane, (at + _OWN_STEP[k]) & (RING - 1), begin : begin + count]
        row = seen[k]
        for n in range(count):
            row[n] = values[n] + values[n] - base[n]
        if k < NEAR:
            for n in range(count):
                activity[n] += abs(row[n])
        elif plane == 0:
            for n in range(count):
                other[n] += abs(row[n])
    total = own + (_AROUND_COUNT - 1) * plane
    logs = plane + (plane == 0)
    last = total + 1 + logs
    row = seen[last]
    middle = _ZERO if plane else _MIDDLE
    for n in range(count):
        row[n] = base[n] * (_HALF * shrink) - middle
    if plane == 0:
        for n in range(count):
            other[n] = other[n] * _HALF + _FLOOR
        _index_all(sums_bits[1], count, zero, seen[total + 1])
    for earlier in range(plane):
        into = own + earlier * (_AROUND_COUNT - 1)
        _add_around(ring, earlier, at, first, count, into, base, seen, other)
        share = F(0.5 * (1 + earlier))
        for n in range(count):
            activity[n] += other[n] * share
            other[n] = other[n] * _FOUR + _FLOOR
        _index_all(sums_bits[1], count, zero, seen[total + 1 + earlier])
        here = ring[earlier, at & (RING - 1), first : first + count]
        row = seen[last + 1 + earlier]
        middle = _ZERO if earlier else _MIDDLE
        for n in range(count):
            row[n] = here[n] * shrink - middle
        if earlier == 0:
            for n in range(count):
                centre[n] = base[n] + (here[n] + here[n])
    _index_all(sums_bits[0], count, zero, seen[total])
    end = INPUTS[plane]
    for n in range(count):
        scale[n] = min(max((int(sums_bits[0, n]) >> 20) - ((127 + 3) << 3), 0), SCALES - 1)
        activity[n] = _GAIN[scale[n]]
    if based:
        _add_around(lossy, plane, at, first, count, end + 1, base, seen, other)
        here = lossy[plane, at & (RING - 1), first : first + count]
        row = seen[end]
        for n in range(count):
            row[n] = here[n] + here[n] - base[n]
            other[n] = other[n] * _FOUR + _FLOOR
        end += _AROUND_COUNT
        _index_all(sums_bits[1], count, zero, seen[end])
        for n in range(count):
            other[n] = _ZERO
        for k in range(4):  # W, N, NW and NE here and there
            begin = first + _OWN_Y[k]
            step = (at + _OWN_STEP[k]) & (RING - 1)
            mine = ring[plane, step, begin : begin + count]
            its = lossy[plane, step, begin : begin + count]
            for n in range(count):
                other[n] += abs(mine[n] - its[n])
        for n in range(count):
            other[n] = other[n] * _FOUR + _FLOOR
        _index_all(sums_bits[1], count, zero, seen[end + 1])
        end += 2
    for k in range(end):
        row = seen[k]
        if k < total or INPUTS[plane] <= k < INPUTS[plane] + _AROUND_COUNT:
            for n in range(count):
                row[n] *= activity[n]
        for n in range(count):
            row[n] = min(max(np.rint(row[n]), _LOW), _HIGH)
    for n in range(count):
        for k in range(end):
            rows[n, column + k] = np.int16(seen[k, n])


@jit
def _network(
    plane: int, count: int, sizes: NDArray[Any], w1: Shorts, b1: Integers, w2: Shorts,
    b2: Integers, w3: Shorts, b3: Integers, rows: Shorts, hidden: Shorts, out: Floats,
) -> None:  # fmt: skip
    """The inputs in `rows` to `out`, of so many samples."""
    inputs, first, second, outputs = sizes[plane]
    layer(rows, second, count, w1, plane, inputs, first, b1, _FIRST, hidden)
    layer(hidden, 0, count, w2, plane, first, second, b2, _SECOND, rows)
    layer(rows, 0, count, w3, plane, second + inputs, outputs, b3, 0, out)


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
    leaf: Floats, rise: Floats,
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
    leaf: Floats, rise: Floats, found: Doubles,
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
    second = c.sizes[plane, 2]
    for n in range(inputs.shape[0]):
        for k in range(inputs.shape[1]):
            s.rows[n, second + k] = np.int16(inputs[n, k])
    _network(
        plane, inputs.shape[0], c.sizes, c.w1, c.b1, c.w2, c.b2, c.w3, c.b3, s.rows, s.hidden,
        s.out,
    )  # fmt: skip
    for n in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[n, k] = s.out[n, k]


@jit
def _close(now: int, then: int, top: int, state: NDArray[Any], words: NDArray[Any]) -> int:
    """Put back the words of the lanes that end, `then` to `now`; returns where words go on, or
    what is wrong as a negative number."""
    for lane in range(then, now):
        if state[lane] - _LEAST > _MASK32:
            return -STATE
    top -= now - then
    if top < 0:
        return -SHORT
    for lane in range(then, now):
        words[top + lane - then] = np.uint32(state[lane] - _LEAST)
    return top


@jit
def code(
    first: int, end: int, active: NDArray[Any], state: NDArray[Any], words: NDArray[Any],
    starts: NDArray[Any], widths: NDArray[Any], planes: Floats, lossy: Floats, bits: int,
    c: Circuit, s: Scratch,
) -> int:  # fmt: skip
    """Code the samples of the steps `first` to `end`; 0, or what is wrong with a stream.

    To encode, `active` is empty: `starts` and `widths` of the samples of `planes` [C, H, W] are
    found, in coding order. To decode, `planes` is filled from the lanes of a stream, all steps.

    Args:
        active: lanes in use at each step, and a last 0.
        state: of each lane.
        words: room for a word of each lane, then those of the stream.
    """
    channels, height, width = planes.shape
    sizes, w1, b1, w2, b2, w3, b3 = c.sizes, c.w1, c.b1, c.w2, c.b2, c.w3, c.b3
    weights, inverse, leaf, rise = c.weight, c.inverse, c.leaf, c.rise
    near, around, row, number, bits_of = s.near, s.around, s.row, s.number, s.bits
    ring, beside, seen, sums, sums_bits = s.ring, s.lossy, s.seen, s.sums, s.sums_bits
    bases, centres, scales, rows, hidden, out = s.base, s.centre, s.scale, s.rows, s.hidden, s.out
    weight, gain, origin, found = s.weight, s.gain, s.origin, s.found
    levels, parts, place, decoding = 1 << bits, sizes[0, 3] // 3, 0, active.size > 0
    top = active[0] if decoding else 0
    based = lossy.size > 0
    for plane in range(channels):
        for step in range(first - RING + 1 - LAG * plane, first - LAG * plane):
            _keep(planes, plane, step, ring)
            if based:
                _keep(lossy, plane, step + _AHEAD, beside)
    for step in range(first, end):
        lane = 0
        for plane in range(channels):
            at = step - LAG * plane
            above = max(0, (at - width + SLOPE) // SLOPE)
            count = min(height, at // SLOPE + 1) - above
            inputs, second = sizes[plane, 0], sizes[plane, 2]
            if based:
                _keep(lossy, plane, at + _AHEAD, beside)
            low = max(above, _REACH_UP, (at - width + _REACH_RIGHT) // SLOPE + 1)
            inner = max(
                0, min(above + count, height - _REACH, (at - _REACH_LEFT) // SLOPE + 1) - low
            )
            if inner:
                _see_all(
                    plane, at, low, inner, ring, beside, based, bits, seen, sums, sums_bits,
                    bases, scales[low - above :], centres[low - above :], rows[low - above :],
                    second,
                )  # fmt: skip
            for n in range(count):
                y = above + n
                if low <= y < low + inner:
                    continue
                centres[n], scales[n] = _see(
                    plane, y, at - SLOPE * y, planes, lossy, bits, near, around, row, number,
                    bits_of,
                )  # fmt: skip
                for k in range(inputs):
                    rows[n, second + k] = np.int16(row[k])
            _network(plane, count, sizes, w1, b1, w2, b2, w3, b3, rows, hidden, out)
            for n in range(count):
                _mix(centres[n], scales[n], parts, out[n], weights, inverse, weight, gain, origin)
                y = above + n
                x = at - SLOPE * y
                if not decoding:
                    level = int(planes[plane, y, x])
                    if plane:
                        level += int(planes[0, y, x])
                    begin, until = 0.0, _TOTAL
                    if level > 0:
                        begin = _cumulative(level, levels, parts, weight, gain, origin, leaf, rise)
                    if level + 1 < levels:
                        until = _cumulative(
                            level + 1, levels, parts, weight, gain, origin, leaf, rise
                        )
                    starts[place], widths[place] = np.uint32(begin), np.uint32(until - begin)
                    place += 1
                    continue
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
            _keep(planes, plane, at, ring)
        if decoding and active[step + 1] < active[step]:
            top = _close(active[step], active[step + 1], top, state, words)
            if top < 0:
                return -top
    if decoding:
        for n in range(top, words.size):
            if words[n]:
                return RAGGED
    return 0
