"""Gaussian tables on a fixed set of scales: the conditional model of hyperprior codecs.

The symbol is round(y - mean), so only the scale selects a table. A network's scale is replaced by
the nearest of n log-spaced ones; 128 between 0.11 and 256 cost less than 0.1 % of the rate.
Balle, Minnen, Singh, Hwang and Johnston, "Variational image compression with a scale hyperprior",
ICLR 2018; Minnen, Balle and Toderici, NeurIPS 2018.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.entropy.quantize import DEFAULT_PRECISION, quantize_pmf
from laconic.entropy.tables import CdfTables
from laconic.formats.errors import ParameterError

DEFAULT_TAIL_MASS = 2.0**-16


def gaussian_scales(n: int = 128, low: float = 0.11, high: float = 256.0) -> NDArray[np.float64]:
    """Standard deviations from `low` to `high` in equal ratios, float64 [n], n >= 2.

    >>> gaussian_scales(3, 1.0, 4.0).round(6).tolist()
    [1.0, 2.0, 4.0]
    """
    if n < 2 or not 0 < low < high < math.inf:
        raise ParameterError(f"{n} scales from {low} to {high}; expected 0 < low < high and n >= 2")
    return np.exp(np.linspace(math.log(low), math.log(high), n))


def gaussian_boundaries(scales: ArrayLike) -> NDArray[np.float64]:
    """Thresholds between neighbouring scales (geometric means), float64 [n - 1].

    `numpy.searchsorted(boundaries, scale, side="right")` or `guard_indexes` then selects the
    table whose scale is nearest in ratio.
    """
    array = np.asarray(scales, dtype=np.float64)
    return np.sqrt(array[1:] * array[:-1])


def gaussian_tables(
    scales: ArrayLike,
    precision: int = DEFAULT_PRECISION,
    tail_mass: float = DEFAULT_TAIL_MASS,
) -> CdfTables:
    """One table of a zero-mean Gaussian integrated over unit bins, for every scale.

    Args:
        scales: standard deviations in symbol units, shape [T], each in (0, 10000].
        precision: P in 1..24.
        tail_mass: a table covers -r..r with the least r >= 1 that leaves at most this probability
            to the escape symbol; in (0, 0.5).

    Raises:
        ParameterError: an argument is out of range, or a table does not fit in 2^P units.

    >>> gaussian_tables([0.5, 1.0], precision=8, tail_mass=0.01).frequencies(1).tolist()
    [2, 15, 62, 98, 62, 15, 1, 1]
    """
    values = np.asarray(scales, dtype=np.float64).reshape(-1)
    if values.size == 0 or not ((values > 0) & (values <= 1e4)).all():
        raise ParameterError("scales must lie in (0, 10000], at least one")
    if not 0 < tail_mass < 0.5:
        raise ParameterError(f"tail mass is {tail_mass}; expected more than 0 and less than 0.5")
    pmfs = [_bin_masses(float(scale), tail_mass) for scale in values]
    freqs = [quantize_pmf(pmf, precision) for pmf in pmfs]
    return CdfTables.from_frequencies(precision, [1 - pmf.size // 2 for pmf in pmfs], freqs)


def _bin_masses(scale: float, tail_mass: float) -> NDArray[np.float64]:
    """Probabilities of -r..r and of everything beyond, float64 [2 r + 2]."""
    unit = 1.0 / (scale * math.sqrt(2.0))
    above = [0.5 * math.erfc(-0.5 * unit), 0.5 * math.erfc(0.5 * unit)]  # P(y > k - 1/2)
    while len(above) < 3 or 2.0 * above[-1] > tail_mass:
        above.append(0.5 * math.erfc((len(above) - 0.5) * unit))
    side = -np.diff(above)  # 0, 1, .., r
    return np.concatenate([side[:0:-1], side, [2.0 * above[-1]]])
