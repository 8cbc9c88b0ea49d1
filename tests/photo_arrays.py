"""The lossless circuit once more, on whole arrays with NumPy: what the compiled loops must equal.

Written for reading, with one array operation for each equation; only tests use it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.features import (
    EARLIER,
    FLOOR,
    HIGH,
    INPUTS,
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
    SLOPE,
    WEIGHT_STEPS,
    MixtureTables,
    inputs_of,
    scale_table,
)
from laconic.codec.lossless.photo.header import HIDDEN_LIMIT, OUTPUT_BITS
from laconic.codec.lossless.photo.network import TENSORS, PhotoModel

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Indexes = NDArray[np.int32]
Offsets = tuple[tuple[int, int], ...]
TOTAL = float(1 << 24)
_GAIN: Floats = (ROUND / 2 / scale_table()).astype(np.float32)


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

    Outside the image the nearest sample counts; in a causal neighbourhood the nearest of those
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
        lossy: the surroundings in this plane of the lossy image, [B, n] in the order of AROUND;
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
    """Write the differences within the lossy image and to it into the first rows of x; returns
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


@dataclass(frozen=True)
class Mixture:
    """Distributions of n samples, component arrays [K, n]."""

    weight: Doubles  # integers W_k; sum below 2^16
    gain: Doubles  # steps of T per level
    origin: Doubles  # place in T of the lower edge of level 0


class Arithmetic:
    """What is computed with the tables of a model."""

    def __init__(self, tables: MixtureTables) -> None:
        self._leaf, self._rise = tables.leaf.astype(np.float64), tables.rise.astype(np.float64)
        self._weight, self._inverse = tables.weight, tables.inverse
        self._per_scale = LEAF_STEPS * 2.0**-20 / scale_table()

    def mixture(self, out: NDArray[np.float32], base: NDArray[np.float32],
                scale: NDArray[np.int32]) -> Mixture:  # fmt: skip
        """Distributions from network outputs [3 * K, n] (logits, means, log scales), the centres
        `base` in half levels and the activities `scale`, [n]."""
        logit, mean, log_scale = out.reshape(3, -1, out.shape[1])
        below = logit.max(axis=0) - logit
        below *= np.float32(WEIGHT_STEPS * 2.0**-OUTPUT_BITS)
        weight = self._weight.take(below.astype(np.int32), mode="clip")
        weight *= 1 << MIXTURE_BITS
        weight /= weight.sum(axis=0) * 2.0**-MIXTURE_BITS
        np.floor(weight, out=weight)

        step = log_scale * np.float32(LOG_SCALE_STEPS * 2.0**-OUTPUT_BITS)
        step -= np.float32(LOG_SCALE_LOW * LOG_SCALE_STEPS)
        gain = self._inverse.take(step.astype(np.int32), mode="clip")
        gain *= self._per_scale.take(scale)

        origin = mean * (scale_table().take(scale) * -(2.0**-OUTPUT_BITS))
        origin -= base * np.float64(0.5) + 0.5
        origin *= gain
        origin += LEAF_REACH * LEAF_STEPS
        return Mixture(weight, gain, origin)

    def cumulative(self, mixture: Mixture, level: Doubles, levels: int) -> Doubles:
        """C(level) for 0 < level < levels, integers [n] in float64."""
        place = mixture.gain * level
        place += mixture.origin
        if levels > 256:  # many levels lie between two entries of T
            np.maximum(place, 0.0, out=place)
            np.minimum(place, float(self._leaf.size - 1), out=place)
            index = place.astype(np.int64)
            place -= index
            place *= self._rise.take(index)
            place += self._leaf.take(index)
            np.floor(place, out=place)
        else:
            place += 0.5
            place = self._leaf.take(place.astype(np.int64), mode="clip")
        place *= mixture.weight
        total: Doubles = np.add.reduce(place, axis=0)
        total *= (TOTAL - levels) * 2.0 ** -(LEAF_BITS + MIXTURE_BITS)
        np.floor(total, out=total)
        total += level
        return total

    def interval(self, mixture: Mixture, value: Doubles, levels: int) -> tuple[Doubles, Doubles]:
        """Start and width in units of 2^-24 of the samples `value` [n]."""
        start = np.where(value > 0, self.cumulative(mixture, value, levels), 0.0)
        above = value + 1
        end = np.where(above < levels, self.cumulative(mixture, above, levels), TOTAL)
        return start, end - start


def network(model: PhotoModel, plane: int, x: Floats) -> Floats:
    """Inputs [F, n] to outputs [3 * K, n] by matrix products."""
    w1, b1, w2, b2, w3, skip, b3 = (
        model.tensors[f"{plane}.{name}"].astype(np.float64) for name in TENSORS
    )
    h = np.clip((w1 @ x + b1[:, None]) // 128, 0, HIDDEN_LIMIT)
    h = np.clip((w2 @ h + b2[:, None]) // 256, 0, HIDDEN_LIMIT)
    return (w3 @ h + skip @ x + b3[:, None]).astype(np.float32)


def seen(
    planes: Floats, plane: int, y: Indexes, x: Indexes, bits: int, lossy: Floats | None = None
) -> Features:
    """What the network sees of samples of planes [C, H, W]."""
    count, height, width = planes.shape
    end = np.zeros((count, 1), np.float32)
    end[0] = 1 << (bits - 1)
    flat = np.concatenate((planes.reshape(count, -1), end), axis=1)
    own = neighbour_index(y, x, height, width, OWN[plane], causal=True)
    around = neighbour_index(y, x, height, width, EARLIER[1], causal=False)
    earlier = [flat[p].take(around) for p in range(plane)]
    side = None if lossy is None else lossy[plane].reshape(-1).take(around)
    return features(plane, flat[plane].take(own), earlier, bits - 8, side)
