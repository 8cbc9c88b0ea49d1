"""How a channel of latents is coded: Gaussian tables that every machine computes alike, predictions
from the frame before, and classes by surroundings.

A file stores a scale index and a mean in quarters of a step; encoder and decoder build the table
from them. The arithmetic is decimal with 30 digits, which is specified to the last digit, so that
no C library can turn one unit of one frequency into noise. Symbols are coded relative to the
integer part of the mean, the quarter that is left selects one of four tables.

Each map is coded against the map before it: residual = latent - predictor x latent before, with one
predictor (in quarters) a channel. Most latents are zero and the others come in clusters, so the
scale of a residual follows from its class: from the magnitudes around the same place in the frame
before, and in the coarser level of the same frame. All of that is integer arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from laconic.entropy import CdfTables
from laconic.formats.errors import FormatError

Ints = NDArray[np.int32]

SCALES = 41  # standard deviations 2^((index - 16) / 4): 1/16 to 64 steps
PHASES = 4
_PRECISION = 24
_REACH = 5  # standard deviations that a table covers; what is beyond costs the escape code


def scale_of(index: int) -> float:
    """Standard deviation in steps of one scale index.

    >>> scale_of(16)
    1.0
    """
    return float(2.0 ** ((index - 16) / 4))


def nearest_scale(deviation: float) -> int:
    """Index of the scale that is nearest in ratio."""
    return min(max(round(4 * math.log2(max(deviation, 1e-9))) + 16, 0), SCALES - 1)


def tables_for(scales: Iterable[int]) -> tuple[CdfTables, dict[int, int]]:
    """Tables of all phases of the scales, and where each scale's four tables start."""
    starts = {scale: PHASES * place for place, scale in enumerate(sorted(set(scales)))}
    keys = [(scale, phase) for scale in starts for phase in range(PHASES)]
    built = [_table(scale, phase) for scale, phase in keys]
    tables = CdfTables.from_frequencies(
        _PRECISION, [low for low, _ in built], [frequencies for _, frequencies in built]
    )
    return tables, starts


@cache
def _table(scale: int, phase: int) -> tuple[int, NDArray[np.int64]]:
    """Smallest symbol and frequencies, escape last, of a Gaussian with mean phase / 4."""
    with localcontext(Context(prec=30)):
        sigma = Decimal(2) ** (Decimal(scale - 16) / 4)
        mean = Decimal(phase) / PHASES
        reach = max(1, math.ceil(_REACH * scale_of(scale)))
        edges = [Decimal(k) - Decimal("0.5") for k in range(-reach, reach + 3)]
        below = [_normal_cdf((edge - mean) / sigma) for edge in edges]
        masses = [b - a for a, b in pairwise(below)]
        masses.append(below[0] + 1 - below[-1])
        units = [max(1, int(mass * (1 << _PRECISION))) for mass in masses]
    units[units.index(max(units))] += (1 << _PRECISION) - sum(units)
    return -reach, np.array(units, np.int64)


def _normal_cdf(x: Decimal) -> Decimal:
    """Phi(x) = 1/2 + phi(x) (x + x^3 / 3 + x^5 / (3 5) + ..), to about 25 digits."""
    if abs(x) > 9:
        return Decimal(1 if x > 0 else 0)
    term = total = x
    square, n = x * x, 1
    while abs(term) > Decimal("1e-27"):
        n += 2
        term = term * square / n
        total += term
    pi = Decimal("3.14159265358979323846264338328")
    return Decimal("0.5") + total * (-square / 2).exp() / (2 * pi).sqrt()


@dataclass
class Gauss:
    """A Gaussian of a file: index of its scale, and its mean in quarters."""

    scale: int
    mean: int


def fit_gauss(symbols: Ints) -> Gauss:
    """The Gaussian whose table costs least, among those near the sample's moments."""
    if symbols.size == 0:
        return Gauss(0, 0)
    wanted = float(symbols.mean())
    means = {round(PHASES * wanted), PHASES * round(wanted)}
    found = [(*best_scale(PHASES * symbols - mean), mean) for mean in sorted(means)]
    _, scale, mean = min(found)
    return Gauss(scale, mean)


def best_scale(residual: Ints) -> tuple[float, int]:
    """Least bits, and the scale index that has them, of residuals in quarters."""
    values, counts = np.unique(residual, return_counts=True)
    middle = nearest_scale(float(residual.std()) / PHASES)
    tried = range(max(0, middle - 4), min(SCALES, middle + 3))
    return min((_cost(values, counts, scale), scale) for scale in tried)


def _cost(quarters: Ints, counts: NDArray[np.int64], scale: int) -> float:
    """Bits of residuals under a Gaussian, in closed form (float): for choosing, not for coding."""
    root = scale_of(scale) * math.sqrt(2)
    total = 0.0
    for value, count in zip(quarters.tolist(), counts.tolist(), strict=True):
        x = abs(value) / PHASES
        mass = 0.5 * (math.erfc((x - 0.5) / root) - math.erfc((x + 0.5) / root))
        total += count * (-math.log2(mass + 2.0**-24) if mass > 2.0**-30 else 24 + 2 * math.log2(x))
    return total


MAX_SYMBOL = 1 << 20
BEFORE_BOUNDS, PARENT_BOUNDS = (1, 3, 7), (1, 3)  # of sums of magnitudes
CLASSES = (len(BEFORE_BOUNDS) + 1) * (len(PARENT_BOUNDS) + 1)
NO_CLASSES = 255  # in place of a class where a map is too small for them
CLUSTERED_AREA = 256  # positions
SIDE_TABLES, _SIDE_STARTS = tables_for([24, 28])  # deviations of 4 and 8
NARROW, WIDE = _SIDE_STARTS[24], _SIDE_STARTS[28]


@dataclass
class Channel:
    """How one latent channel is coded: first frame, and residuals of the others."""

    first: list[int]  # scale of each class
    later: list[int]
    first_mean: int  # in quarters
    later_mean: int
    predictor: int  # in quarters, 0..4

    @classmethod
    def fit(cls, maps: Ints, classes: NDArray[np.uint8]) -> Channel:
        """From latents and classes, ``[frames, rows, columns]`` each."""
        first = fit_gauss(maps[0])
        count = int(classes[0, 0, 0] != NO_CLASSES) * (CLASSES - 1) + 1
        classes = np.where(classes == NO_CLASSES, 0, classes)
        firsts = _class_scales(PHASES * maps[0] - first.mean, classes[0], count)
        if maps.shape[0] == 1:
            return cls(firsts, [firsts[0]] * count, first.mean, 0, 0)
        predictor = choose_predictor(maps)
        residual = maps[1:] * PHASES - predictor * maps[:-1]  # in quarters
        mean = round(float(residual.mean()))
        later = _class_scales(residual - mean, classes[1:], count)
        return cls(firsts, later, first.mean, mean, predictor)

    def write(self, side: Callable[[int, int], None], scale: int) -> None:
        """Numbers with the tables of each, scales as differences to one that is known."""
        side(self.first_mean, WIDE)
        side(self.later_mean, NARROW)
        side(self.predictor - PHASES, NARROW)
        for value in (*self.first, *self.later):
            side(value - scale, NARROW)
            scale = value

    @classmethod
    def read(cls, side: Callable[[int], int], scale: int, clustered: bool) -> Channel:
        """Inverse of :meth:`write`."""
        first_mean = in_range("mean", side(WIDE), -MAX_SYMBOL, MAX_SYMBOL)
        later_mean = in_range("mean", side(NARROW), -MAX_SYMBOL, MAX_SYMBOL)
        predictor = in_range("predictor", side(NARROW) + PHASES, 0, PHASES)
        count = CLASSES if clustered else 1
        scales = []
        for _ in range(2 * count):
            scale = in_range("scale", scale + side(NARROW), 0, SCALES - 1)
            scales.append(scale)
        return cls(scales[:count], scales[count:], first_mean, later_mean, predictor)


def _class_scales(residual: Ints, classes: NDArray[np.uint8], count: int) -> list[int]:
    """Best scale of each class; a class without members repeats the one before."""
    scales = [best_scale(residual)[1]]
    for k in range(count):
        members = residual[classes == k]
        scales.append(best_scale(members)[1] if members.size else scales[-1])
    return scales[1:]


def choose_predictor(maps: Ints) -> int:
    """Share of the latent before, in quarters 0..4, that leaves the smallest residual."""
    now, before = maps[1:].astype(np.float64), maps[:-1].astype(np.float64)
    now, before = now - now.mean(), before - before.mean()
    power = float((before * before).sum())
    share = float((now * before).sum()) / power if power else 0.0
    return min(max(round(PHASES * share), 0), PHASES)


def is_clustered(shape: Sequence[int]) -> bool:
    """Whether a latent tensor is large enough for classes."""
    return shape[2] * shape[3] >= CLUSTERED_AREA


def all_classes(arrays: list[Ints]) -> list[NDArray[np.uint8]]:
    """Classes of all latents, shaped like them."""
    return [
        np.stack([classes_of(arrays, t, level) for t in range(array.shape[0])])
        for level, array in enumerate(arrays)
    ]


def classes_of(arrays: list[Ints], t: int, level: int) -> NDArray[np.uint8]:
    """Class of each latent of one level of frame ``t``, ``[C, h, w]``, from what is coded before:
    the magnitudes around the place in the frame before, and those in the coarser level."""
    array = arrays[level]
    count, rows, columns = array.shape[1:]
    if not is_clustered(array.shape):
        return np.full((count, rows, columns), NO_CLASSES, np.uint8)
    classes = np.zeros((count, rows, columns), np.uint8)
    if t:
        classes += _graded(_around(array[t - 1]), BEFORE_BOUNDS)
    if level:
        parent = _around(arrays[level - 1][t])
        y = np.arange(rows) * parent.shape[1] // rows
        x = np.arange(columns) * parent.shape[2] // columns
        c = np.minimum(np.arange(count), parent.shape[0] - 1)
        grade = _graded(parent, PARENT_BOUNDS)[c][:, y][:, :, x]
        classes += np.uint8(len(BEFORE_BOUNDS) + 1) * grade
    return classes


def _around(maps: Ints) -> Ints:
    """Sum of magnitudes over 3 x 3 places, ``[C, h, w]``."""
    padded = np.pad(np.minimum(np.abs(maps), 255), ((0, 0), (1, 1), (1, 1)))
    across = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    summed: Ints = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
    return summed


def _graded(sums: Ints, bounds: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.searchsorted(np.array(bounds), sums, side="right").astype(np.uint8)


def in_range(name: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise FormatError(
            f"a {name} of a video chunk is {value}; expected {low} to {high}: the file is damaged"
        )
    return value
