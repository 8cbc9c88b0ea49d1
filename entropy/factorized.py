"""Factorised tables: one fixed distribution per channel, for hyper-latents.

Balle, Minnen, Singh, Hwang and Johnston, "Variational image compression with a scale hyperprior",
ICLR 2018, appendix 6.1. Choose `laconic.entropy.gaussian` where a network predicts a scale for
every symbol, this where the distribution depends on the channel alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.entropy.quantize import DEFAULT_PRECISION, quantize_pmf
from laconic.entropy.tables import CdfTables
from laconic.formats.errors import ParameterError


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
