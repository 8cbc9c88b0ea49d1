"""Gaussian tables on a fixed set of scales: the conditional model of hyperprior codecs.

The symbol is round(y - mean), so only the scale selects a table. A network's scale is replaced by
the nearest of n log-spaced ones; 128 between 0.11 and 256 cost less than 0.1 % of the rate.
Balle, Minnen, Singh, Hwang and Johnston, "Variational image compression with a scale hyperprior",
ICLR 2018; Minnen, Balle and Toderici, NeurIPS 2018.

Factorised tables: one fixed distribution per channel, for hyper-latents.

Balle, Minnen, Singh, Hwang and Johnston, "Variational image compression with a scale hyperprior",
ICLR 2018, appendix 6.1. Choose `laconic.entropy.categorical` where a network predicts a scale for
every symbol, this where the distribution depends on the channel alone.

Tables from arbitrary probabilities over 0 .. n-1: classes, tokens, tree states.

For integers that may be negative or unbounded choose `laconic.entropy.categorical`, which places a
table anywhere and gives the tails to the escape symbol.

Mixtures of discretised logistics over a bounded range: samples of pixel-wise models.

Salimans, Karpathy, Chen and Kingma, "PixelCNN++", ICLR 2017, equation 2. The first and the last
symbol take the tails, so a mixture never needs the escape symbol inside its range. Choose
`laconic.entropy.categorical` for unbounded latents.

tanh may differ by an ulp between machines: a codec either stores these tables with its model and
selects them by index, or makes sure by its numerics profile that both sides compute equal ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

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


def factorized_tables(
    pmfs: Sequence[ArrayLike],
    lowest: ArrayLike,
    precision: int = DEFAULT_PRECISION,
    tail_masses: ArrayLike | None = None,
) -> CdfTables:
    """One table per channel from the probabilities of consecutive integers.

    Args:
        pmfs: C vectors [n_c]: weights of the integers lowest[c], lowest[c] + 1, ...
        lowest: first integer of every channel, shape [C].
        precision: P in 1..24.
        tail_masses: weight of everything outside the vector, shape [C]; by default what a vector
            lacks to a sum of 1.

    Raises:
        ParameterError: lengths differ, or a weight is negative, not finite, or does not fit.

    >>> tables = factorized_tables([[0.25, 0.5, 0.1875]], lowest=[-1], precision=4)
    >>> tables.lows.tolist(), tables.frequencies(0).tolist()
    ([-1], [4, 8, 3, 1])
    """
    weights = [np.asarray(pmf, dtype=np.float64).reshape(-1) for pmf in pmfs]
    lows = np.asarray(lowest).reshape(-1)
    if tail_masses is None:
        tails = np.array([max(0.0, 1.0 - float(pmf.sum())) for pmf in weights])
    else:
        tails = np.asarray(tail_masses, dtype=np.float64).reshape(-1)
    if not len(weights) == lows.size == tails.size:
        raise ParameterError(
            f"{len(weights)} distributions, {lows.size} lowest integers and {tails.size} tails; "
            "expected one of each per channel"
        )
    freqs = [quantize_pmf(np.append(p, t), precision) for p, t in zip(weights, tails, strict=True)]
    return CdfTables.from_frequencies(precision, lows.tolist(), freqs)


def channel_indexes(channels: int, positions: int) -> NDArray[Any]:
    """Table indexes (uint8 or uint16) of symbols [C, positions] in C order, C <= 65536.

    >>> channel_indexes(2, 3).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    if not 1 <= channels <= 1 << 16 or positions < 0:
        raise ParameterError(
            f"{channels} channels of {positions} positions; at most 65536 channels"
        )
    kind = np.uint8 if channels <= 256 else np.uint16
    return np.repeat(np.arange(channels, dtype=kind), positions)


def categorical_tables(
    probabilities: Iterable[ArrayLike], precision: int = DEFAULT_PRECISION
) -> CdfTables:
    """One table per distribution; its symbols are 0 .. n-1.

    Args:
        probabilities: T weight vectors [n], or an array [T, n]; they need not be normalised, and a
            weight may be 0. n may differ from table to table; n < 2^precision.
        precision: P in 1..24.

    Returns:
        Tables whose escape symbol has the least frequency, 2^-P.

    Raises:
        ParameterError: a weight is negative or not finite, all are 0, or n does not fit.

    >>> categorical_tables([[1, 1, 2]], precision=8).frequencies(0).tolist()
    [64, 64, 127, 1]
    """
    freqs = [quantize_pmf(np.append(weights, 0.0), precision) for weights in probabilities]
    return CdfTables.from_frequencies(precision, [0] * len(freqs), freqs)


def logistic_mixture_pmf(
    weights: ArrayLike, means: ArrayLike, scales: ArrayLike, levels: int
) -> NDArray[np.float64]:
    """Probabilities of 0 .. levels-1 under T mixtures of K logistics, float64 [T, levels].

    Args:
        weights: non-negative, shape [T, K]; normalised here.
        means: in symbol units, shape [T, K].
        scales: logistic scale s, positive, in symbol units (deviation s * pi / sqrt(3)), [T, K].
        levels: number of symbols, 2 .. 65536.

    Raises:
        ParameterError: shapes differ, or a value is out of range or not finite.

    >>> logistic_mixture_pmf([[1.0]], [[1.0]], [[1.0]], levels=3).round(3).tolist()
    [[0.378, 0.245, 0.378]]
    """
    share, mean, scale = (np.asarray(v, dtype=np.float64) for v in (weights, means, scales))
    if share.ndim != 2 or share.shape != mean.shape or share.shape != scale.shape:
        raise ParameterError(
            f"weights {share.shape}, means {mean.shape}, scales {scale.shape}; need three [T, K]"
        )
    if not 2 <= levels <= 1 << 16:
        raise ParameterError(f"{levels} levels; expected 2 to 65536")
    total = share.sum(axis=1, keepdims=True)
    if not (np.isfinite(total) & (total > 0)).all() or (share < 0).any():
        raise ParameterError("mixture weights must be finite, not negative, and not all zero")
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise ParameterError("means must be finite, scales finite and positive")
    edges = np.arange(1, levels) - 0.5
    pmf = np.zeros((share.shape[0], levels))
    for k in range(share.shape[1]):  # one component at a time: [T, levels] in memory, not K times
        inner = 0.5 + 0.5 * np.tanh((edges - mean[:, k, None]) / (2.0 * scale[:, k, None]))
        pmf += (share / total)[:, k, None] * np.diff(inner, prepend=0.0, append=1.0)
    return pmf


def logistic_mixture_tables(
    weights: ArrayLike,
    means: ArrayLike,
    scales: ArrayLike,
    levels: int,
    precision: int = DEFAULT_PRECISION,
) -> CdfTables:
    """One table per mixture over 0 .. levels-1; arguments as for `logistic_mixture_pmf`.

    >>> logistic_mixture_tables([[1.0]], [[1.0]], [[1.0]], 3, precision=8).frequencies(0).tolist()
    [96, 63, 96, 1]
    """
    return categorical_tables(logistic_mixture_pmf(weights, means, scales, levels), precision)
