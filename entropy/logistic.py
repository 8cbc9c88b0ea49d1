"""Mixtures of discretised logistics over a bounded range: samples of pixel-wise models.

Salimans, Karpathy, Chen and Kingma, "PixelCNN++", ICLR 2017, equation 2. The first and the last
symbol take the tails, so a mixture never needs the escape symbol inside its range. Choose
`laconic.entropy.gaussian` for unbounded latents.

tanh may differ by an ulp between machines: a codec either stores these tables with its model and
selects them by index, or makes sure by its numerics profile that both sides compute equal ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.entropy.categorical import categorical_tables
from laconic.entropy.quantize import DEFAULT_PRECISION
from laconic.entropy.tables import CdfTables
from laconic.formats.errors import ParameterError


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
