"""Codes of coefficients that are worth their bits: for the encoder.

A code is lowered, or set to zero, where the squared error that this costs is less than the price of
the bits that it saves. Bits are those of the models as they stand: a first choice is coded on
trial, the chances of all decisions are noted, and the choice is made again with them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from laconic.codec.video.motion.residual import GROUP_OF, GROUPS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BITS_OF_ONE = np.array([3.2, 3.8, 4.6, 5.2, 5.8, 6.4, 7.0, 7.5])[GROUP_OF]  # and its sign
BITS_OF_MORE = 1.3  # for each further unit
BITS_TO_GO_ON = 0.6  # of a cell, for each group
BITS_OF_ZERO = 0.06
BITS_OF_BLOCK = 2.0
BITS_OF_SIGN = 1.4  # and of being no larger than one


def first_choice(values: Floats, price: float, ones: Floats | None = None) -> Ints:
    """Codes of cells ``[n, 64]``.

    Args:
        values: coefficients in steps.
        price: of a bit, in squared steps.
        ones: bits of a one instead of a zero ``[n, 64]``, by default those of an average.
    """
    size = np.abs(values)
    bits = BITS_OF_ONE if ones is None else np.maximum(ones, 0.0) + BITS_OF_SIGN
    code = np.floor(size + 0.5)
    for _ in range(2):
        paid = np.where(code == 1, bits, BITS_OF_MORE * np.log2(1 + 1 / np.maximum(code - 1, 0.5)))
        lower = (size - code + 1) ** 2 - (size - code) ** 2 < price * paid
        code = np.where((code > 0) & lower, code - 1, code)
    nonzero = code > 0
    cost = np.where(
        nonzero,
        bits + 2 * BITS_OF_MORE * np.log2(np.maximum(code, 1)),
        BITS_OF_ZERO if ones is None else 0.0,
    )
    gain = size**2 - (size - code) ** 2 - price * cost
    # A cell ends after the group up to which most is gained.
    starts = [first for first, _ in GROUPS]
    by_group = np.add.reduceat(gain, starts, axis=1) - price * BITS_TO_GO_ON
    total = np.concatenate([np.zeros((len(values), 1)), np.cumsum(by_group, 1)], 1)
    end = total.argmax(1)
    code = np.where(end[:, None] > GROUP_OF, code, 0)
    return (np.sign(values) * code).astype(np.int64)


def worth(values: Floats, codes: Ints, price: float) -> Floats:
    """What codes of cells ``[n, 64]`` gain, in squared steps ``[n]``."""
    size = np.abs(codes)
    bits = np.where(size > 0, BITS_OF_ONE + 2 * BITS_OF_MORE * np.log2(np.maximum(size, 1)), 0.0)
    found: Floats = (values**2 - (values - codes) ** 2 - price * bits).sum(1)
    return found


def drop_blocks(luma: Ints, chroma: Ints, values: tuple[Floats, Floats], price: float) -> None:
    """Set the codes of blocks to zero that gain less than they cost; in place.

    Args:
        luma: codes ``[2 h, 2 w, 64]``. chroma: ``[2, h, w, 64]``. values: shaped like these.
    """
    h, w = chroma.shape[1:3]
    gain = worth(values[0].reshape(-1, 64), luma.reshape(-1, 64), price)
    total = gain.reshape(h, 2, w, 2).sum((1, 3))
    total += worth(values[1].reshape(-1, 64), chroma.reshape(-1, 64), price).reshape(2, h, w).sum(0)
    dropped = total < price * BITS_OF_BLOCK
    luma[dropped.repeat(2, 0).repeat(2, 1)] = 0
    chroma[:, dropped] = 0
