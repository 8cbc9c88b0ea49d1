"""Exact integer probabilities: quantised tables, the numerics they promise, the check over symbols.

Probabilities to integer frequencies, the only form in which a coder sees them.

A coder that divides floats decodes garbage as soon as two machines round differently. Here a
distribution over N symbols becomes N integers that are at least 1 and sum to exactly 2^P; from
then on everything is integer arithmetic. The excess rate of the rounding is the Kullback-Leibler
divergence between the two, about N / 2^P nats at worst.

How a model makes sure that encoder and decoder pick the same table for every symbol.

A table index that differs by one between two machines desynchronises everything after it. A stream
names its profile in the header, so that a decoder knows what it has to reproduce.

Checksum over decoded integers: the last line against a desynchronised decoder.

Entropy coders detect no damage by themselves; a wrong table or a flipped bit decodes to plausible
symbols. A checksum of the bytes finds flipped bits, this one over the symbols also finds a decoder
whose model computes other tables than the encoder's did. It is CRC-32 (ISO-HDLC, as in zlib) over
the symbols as little-endian int32 in coding order.
"""

from __future__ import annotations

import zlib
from enum import IntEnum

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


class NumericsProfile(IntEnum):
    """What selects the tables of a stream; the value is stored in the header."""

    INTEGER_TABLES = 1
    """Indexes come from integers alone (position, channel, symbols decoded before): exact."""

    INTEGER_NETWORK = 2
    """Indexes come from a network on integer-valued tensors whose sums stay exact (below 2^24 in
    float32, 2^53 in float64), so that no order of summation changes them. Fast; the network must
    have been trained or converted for it. See Balle, Johnston and Minnen, "Integer Networks for
    Data Compression with Latent-Variable Models", ICLR 2019."""

    FLOAT64_GUARD = 3
    """Indexes come from a float64 network; the encoder lists every value that lies within a guard
    band of a decision boundary (`laconic.entropy.guard`). Works for any trained network; exact as
    long as machines differ by less than the band."""


class SymbolCheck:
    """Running checksum of integer symbols; encoder and decoder update it with the same arrays.

    >>> check = SymbolCheck()
    >>> check.update([1, -2, 3])
    >>> f"{check.value32():08x} {check.value16():04x}"
    'a4b205e6 a154'
    """

    def __init__(self) -> None:
        self._crc = 0

    def update(self, symbols: ArrayLike) -> None:
        """Add integers of any shape in C order; `ParameterError` unless they fit in int32."""
        array = np.asarray(symbols)
        if array.size == 0:
            return
        if array.dtype.kind not in "iu":
            raise ParameterError(f"symbols are {array.dtype}; expected integers")
        if not np.can_cast(array.dtype, np.int32):
            limits = np.iinfo(np.int32)
            if array.min() < limits.min or array.max() > limits.max:
                raise ParameterError("symbols must fit in int32")
        self._crc = zlib.crc32(np.ascontiguousarray(array, dtype="<i4").tobytes(), self._crc)

    def value32(self) -> int:
        """The CRC-32, 0 to 2^32 - 1."""
        return self._crc

    def value16(self) -> int:
        """The two halves of the CRC-32 combined by exclusive or, 0 to 65535."""
        return (self._crc ^ self._crc >> 16) & 0xFFFF
