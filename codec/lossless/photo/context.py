"""What the network sees of a sample: causal neighbours, normalised by the local activity.

A plane may look at its own samples above and to the left, within reach of the wavefront, and at all
of the planes before it. The first plane (green or gray) is predicted from W and N; red and blue as
differences to green, which is the colour transform of this codec: it needs no wider range, since
only the model works on differences. Differences are divided by an activity s measured on the
neighbours, so that the network learns shapes and not amplitudes; this is what lets a network of
ten thousand weights compete (compare the error energy of CALIC, Wu and Memon 1997).

Border: a neighbour outside the picture is replaced by the nearest sample already known, in the same
way on both sides (`neighbour_index`).

Arithmetic: sums here are of integers below 2^24, exact in float32 in any order. Everything else is
one IEEE operation per element, which is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indexes = NDArray[np.int32]
Offsets = tuple[tuple[int, int], ...]

SLOPE = 3  # the wavefront: sample (y, x) is coded at step x + SLOPE * y ...
LAG = 2 * SLOPE + 1  # ... and LAG steps later in the next plane, which looks two rows ahead
ROUND = 32  # inputs of the network are multiples of 1 / ROUND ...
LOW, HIGH = -512, 511  # ... and have ten bits
FLOOR = 11.0  # least activity, in sixteenths of a level
NEAR = 8  # neighbours that measure the activity

_OWN: Offsets = (
    (0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0), (-1, 2), (-1, -2),
    (-2, -1), (-2, 1), (0, -3), (-3, 0), (-2, 2), (-2, -2), (-1, -3), (-2, 3),
    (-2, -3), (-3, -1), (-3, 1), (-3, 2), (-3, -2), (0, -4), (-1, -4), (-3, 3),
)  # fmt: skip
AROUND: Offsets = (
    (0, 0), (0, -1), (-1, 0), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1),
    (0, 2), (2, 0), (0, -2), (-2, 0),
)  # fmt: skip
OWN: tuple[Offsets, ...] = (_OWN, _OWN[:12], _OWN[:12])  # (dy, dx), W and N first
EARLIER: tuple[Offsets, ...] = ((), AROUND, AROUND)  # of every earlier plane, the sample first
INPUTS = (27, 28, 42)  # of the network of each plane
BASE_INPUTS = 15  # more, where the lossy picture that a file begins with is known


def inputs_of(plane: int, *, based: bool) -> int:
    """Number of inputs of the network of a plane."""
    return INPUTS[plane] + BASE_INPUTS * based


SCALES = 160  # activities: eight steps an octave from 1/2 level


def scale_table() -> NDArray[np.float64]:
    """The activity s in levels that each index of `scale_index` stands for, [SCALES]."""
    index = np.arange(SCALES)
    return np.ldexp(1 + (index % 8 + 0.5) / 8, index // 8 - 1)


_SCALE = scale_table()
_GAIN: Floats = (ROUND / 2 / _SCALE).astype(np.float32)  # for differences in half levels


def scale_index(activity: Floats) -> Indexes:
    """Index into `scale_table` of activities in sixteenths of a level: exponent and three bits of
    the mantissa of the float32 itself."""
    bits: Indexes = activity.view(np.int32) >> 20
    bits -= (127 + 3) << 3
    return bits


def neighbour_index(
    y: Indexes,
    x: Indexes,
    height: int | Indexes,
    width: int | Indexes,
    offsets: Offsets,
    *,
    causal: bool,
) -> Indexes:
    """Places of the neighbours of samples (y, x) in the flat plane [H * W + 1], int32 [A, n].

    Outside the picture the nearest sample counts; in a causal neighbourhood the nearest of those
    coded before: in the first row W stands for what is above, at the left end of a row N for what
    is to the left, and the first sample sees the constant in the last place of the plane.
    """
    dy = np.array([o[0] for o in offsets], np.int32)[:, None]
    dx = np.array([o[1] for o in offsets], np.int32)[:, None]
    row = np.maximum(y + dy, 0)
    column = np.maximum(x + dx, 0)
    if not causal:
        row = np.minimum(row, height - np.int32(1))
    column = np.minimum(column, width - np.int32(1))
    if causal:
        column = np.minimum(column, x + SLOPE * (y - row) - 1)  # what earlier steps have coded
        up = column < 0  # nothing to the left in this row: the sample above
        row = np.where(up, y - 1, row)
        column = np.maximum(column, 0)
    place = row * width + column
    if causal:
        place = np.where(row < 0, height * width, place)
    return place.astype(np.int32)


def _activity_index(activity: Floats) -> Indexes:
    return scale_index(activity + np.float32(FLOOR))


def _write_activities(x: Floats, indexes: list[Indexes], octaves: int) -> None:
    """Write activities as inputs, zero in the middle of the usual ones."""
    zero = np.int32(32 + 8 * octaves)
    for row, index in enumerate(indexes):
        np.subtract(index, zero, out=x[row], casting="unsafe")
        x[row] *= np.float32(4)


@dataclass(frozen=True)
class Features:
    """Context of n samples: network inputs and the frame of reference of its outputs."""

    inputs: Floats  # [F, n], integers in LOW .. HIGH
    base: Floats  # [n], centre of the prediction in half levels
    scale: Indexes  # [n], index of the activity


def features(
    plane: int, own: Floats, earlier: list[Floats], octaves: int, lossy: Floats | None = None
) -> Features:
    """Inputs of the network of `plane`.

    Args:
        plane: 0 green or gray, 1 red minus green, 2 blue minus green.
        own: neighbours in this plane, [A, n] in the order of OWN[plane].
        earlier: for each earlier plane [B, n] in the order of EARLIER[plane].
        octaves: bit depth minus 8.
        lossy: the surroundings in this plane of the lossy picture, [B, n] in the order of AROUND;
            None where there is none.
    """
    count, n = own.shape
    shrink = np.float32(2.0**-octaves)
    x = np.empty((inputs_of(plane, based=lossy is not None), n), np.float32)
    base = own[0] + own[1]  # twice (W + N) / 2
    d = x[:count]
    np.add(own, own, out=d)
    d -= base
    size = np.abs(d)
    activity = size[:NEAR].sum(axis=0)
    activity += np.float32(FLOOR)
    values = [base * (np.float32(0.5) * shrink)]
    logs = []
    if plane == 0:
        values[0] -= np.float32(128)
        logs.append(size[NEAR:].sum(axis=0) * np.float32(0.5))
    for number, around in enumerate(earlier):
        here = around[0]
        d = x[count : count + len(around) - 1]
        count += len(around) - 1
        np.subtract(around[1:], here, out=d)
        nearest = np.abs(d[:4]).sum(axis=0)
        d += d
        activity += nearest * np.float32(0.5 * (1 + number))
        logs.append(nearest * np.float32(4))
        values.append(here * shrink - np.float32(0 if number else 128))
    scale = scale_index(activity)
    gain = _GAIN.take(scale)
    x[:count] *= gain
    _write_activities(x[count:], [scale, *map(_activity_index, logs)], octaves)
    count += 1 + len(logs)
    for row, value in enumerate(values):
        x[count + row] = value
    if lossy is not None:
        logs = _lossy_inputs(x[INPUTS[plane] :], own, base, lossy, gain)
        _write_activities(x[-2:], [_activity_index(log) for log in logs], octaves)
    if plane:
        base = base + (earlier[0][0] + earlier[0][0])
    np.rint(x, out=x)
    np.maximum(x, np.float32(LOW), out=x)
    np.minimum(x, np.float32(HIGH), out=x)
    return Features(x, base, scale)


def _lossy_inputs(
    x: Floats, own: Floats, base: Floats, lossy: Floats, gain: Floats
) -> list[Floats]:
    """Write the differences within the lossy picture and to it into the first rows of x; returns
    what is left: its activity and its error where the sample's neighbours tell it."""
    here = lossy[0]
    d = x[: len(lossy)]
    np.subtract(lossy[1:], here, out=d[1:])
    nearest = np.abs(d[1:5]).sum(axis=0)
    error = np.abs(own[:2] - lossy[1:3]).sum(axis=0) + np.abs(own[2:4] - lossy[5:7]).sum(axis=0)
    d[1:] += d[1:]
    np.subtract(here + here, base, out=d[0])
    d *= gain
    return [nearest * np.float32(4), error * np.float32(4)]
