"""Tables from arbitrary probabilities over 0 .. n-1: classes, tokens, tree states.

For integers that may be negative or unbounded choose `laconic.entropy.factorized`, which places a
table anywhere and gives the tails to the escape symbol.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from laconic.entropy.quantize import DEFAULT_PRECISION, quantize_pmf
from laconic.entropy.tables import CdfTables


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
