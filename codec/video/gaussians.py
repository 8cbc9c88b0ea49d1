"""Gaussian frequency tables that every machine computes alike, from two small integers.

A file stores a scale index and a mean in quarters of a step; encoder and decoder build the table
from them. The arithmetic is decimal with 30 digits, which is specified to the last digit, so that
no C library can turn one unit of one frequency into noise. Symbols are coded relative to the
integer part of the mean, the quarter that is left selects one of four tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from laconic.entropy import CdfTables

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
