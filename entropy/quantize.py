"""Probabilities to integer frequencies, the only form in which a coder sees them.

A coder that divides floats decodes garbage as soon as two machines round differently. Here a
distribution over N symbols becomes N integers that are at least 1 and sum to exactly 2^P; from
then on everything is integer arithmetic. The excess rate of the rounding is the Kullback-Leibler
divergence between the two, about N / 2^P nats at worst.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.formats.errors import ParameterError

MAX_PRECISION = 24
DEFAULT_PRECISION = 24


def check_precision(precision: int) -> int:
    """Return `precision` as an int, or raise `ParameterError` unless it is in 1..24."""
    if not 1 <= int(precision) <= MAX_PRECISION:
        raise ParameterError(f"precision is {precision}; expected 1 to {MAX_PRECISION} bits")
    return int(precision)


def quantize_pmf(pmf: ArrayLike, precision: int = DEFAULT_PRECISION) -> NDArray[np.int64]:
    """Quantise distributions to integers >= 1 that sum to exactly 2^precision.

    Symbols too rare for their share get frequency 1 and the others share what is left in
    proportion; the units lost by rounding down go to the largest remainders (ties: first symbol).

    Args:
        pmf: non-negative weights, shape [..., N], 1 <= N <= 2^precision; normalised here.
        precision: P in 1..24.

    Returns:
        int64 array [..., N]; the sum over the last axis is 2^P.

    Raises:
        ParameterError: a negative or non-finite weight, an all-zero row, or N > 2^P.

    >>> quantize_pmf([0.7, 0.2, 0.1, 0.0], precision=4).tolist()
    [10, 3, 2, 1]
    """
    total = 1 << check_precision(precision)
    weights = np.asarray(pmf, dtype=np.float64)
    if weights.ndim == 0 or weights.shape[-1] == 0:
        raise ParameterError("a distribution needs at least one symbol; got none")
    size = weights.shape[-1]
    if size > total:
        raise ParameterError(f"{size} symbols do not fit in 2^{precision} units; raise precision")
    rows = weights.reshape(-1, size)
    sums = rows.sum(axis=1, keepdims=True)
    if not np.isfinite(sums).all() or (rows < 0).any() or (sums <= 0).any():
        raise ParameterError("weights must be finite, not negative, and not all zero")
    return _apportion(rows / sums, total).reshape(weights.shape)


def _apportion(rows: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Frequencies [R, N] for normalised `rows` [R, N]; every row sums to `total`."""
    rare = rows * total < 1.0
    while True:
        kept = np.where(rare, 0.0, rows)
        mass = kept.sum(axis=1, keepdims=True)
        share = (total - rare.sum(axis=1, keepdims=True)) / np.where(mass > 0, mass, 1.0)
        exact = kept * share
        grown = rare | (exact < 1.0)
        if (grown == rare).all():
            break
        rare = grown
    freqs = np.where(rare, 1, np.floor(exact)).astype(np.int64)
    missing = total - freqs.sum(axis=1)
    remainder = np.where(rare, -1.0, exact - np.floor(exact))
    order = np.argsort(-remainder, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(rows.shape[1])[None, :], axis=1)
    whole, part = np.divmod(missing, rows.shape[1])
    return freqs + whole[:, None] + (rank < part[:, None])
