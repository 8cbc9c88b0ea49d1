"""Models of the `constriction` library that reproduce integer frequencies exactly.

`exact_model` serves one symbol at a time. `JointModel` codes two or four successive symbols of one
small table as a single symbol of their product alphabet, which saves coder steps where symbols cost
little. Frequencies of products are rounded to 2^-24: for symbols that follow their table the size
changes by less than 10^-4 bits each, and whatever the symbols are by less than 3 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.quantize import MAX_PRECISION

JOINT_RUN = 256
"""Shortest run of symbols of one table that is coded jointly; part of the stream format."""

JOINT_ENTRIES = 2500
"""Largest product alphabet; part of the stream format."""


def exact_model(freqs: NDArray[np.int64]) -> Any:
    """Categorical model with probabilities freqs / 2^24; `freqs` [n] >= 1 sum to 2^24.

    constriction works with 24-bit fixed point and, with `perfect=False`, turns n weights w into
    cumulative sums floor(c * (2^24 - n) / sum(w)) + i: it leaks one unit to each symbol. The
    weights passed here are freqs - 1. They are integers that sum to exactly 2^24 - n, so the factor
    is exactly 1, every cumulative sum is an integer below 2^24 that float64 holds exactly, and
    adding the leak gives back freqs to the last bit. Passing freqs / 2^24 would not be exact.
    """
    import constriction

    weights = (freqs - 1).astype(np.float64)
    return constriction.stream.model.Categorical(weights, perfect=False)


def joint_span(size: int) -> int:
    """How many symbols of a table with `size` entries are coded at once: 4, 2 or 1."""
    return next(span for span in (4, 2, 1) if span == 1 or size**span <= JOINT_ENTRIES)


class JointModel:
    """Model of `span` (2 or 4) independent symbols of one table.

    Args:
        freqs: the table, shape [n], sums to 2^24.
        span: symbols coded at once.

    Attributes:
        freqs: of the joint entries, which sum to 2^24.
        digits: the entries that a joint one stands for, [n^span, span].
    """

    def __init__(self, freqs: NDArray[np.int64], span: int) -> None:
        self.span = span
        self._size = freqs.size
        self.freqs = _pair(freqs) if span == 2 else _pair(_pair(freqs))
        self.model = exact_model(self.freqs)
        digits = np.unravel_index(np.arange(self.freqs.size), (freqs.size,) * span)
        self.digits = np.stack(digits, axis=1).astype(np.int32)  # [n^span, span]

    def merge(self, entries: NDArray[np.int32]) -> NDArray[np.int32]:
        """Entries [m * span] -> joint entries [m]."""
        joint = entries[0::2] * np.int32(self._size) + entries[1::2]
        if self.span == 4:
            joint = joint[0::2] * np.int32(self._size**2) + joint[1::2]
        return joint

    def split(self, joint: NDArray[np.int32], out: NDArray[np.int32]) -> None:
        """Inverse of `merge`, into the contiguous `out` [m * span]."""
        # A decoded entry is in range; "clip" spares NumPy a second buffer.
        self.digits.take(joint, axis=0, out=out.reshape(-1, self.span), mode="clip")


def _pair(freqs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frequencies [n * n] of two independent symbols, again >= 1 with sum 2^24.

    Integer arithmetic alone, so equal on every machine. Rounding changes the sum by fewer than n^2
    units; the most frequent pair, which has at least 2^24 / n^2 - 1, takes the difference.
    """
    half = 1 << MAX_PRECISION - 1
    product = np.multiply.outer(freqs, freqs).reshape(-1) + half >> MAX_PRECISION
    product = np.maximum(product, 1)
    product[product.argmax()] += (1 << MAX_PRECISION) - product.sum()
    return product
