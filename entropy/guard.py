"""Table selection from float64 values with close calls decided by the encoder.

Two machines that run a float64 network differ by about 1e-15 relative. A value that lies further
than a guard band from every decision boundary selects the same table on both; the few that lie
closer are written into the stream as (position, index) pairs, so that the decoder never decides a
close call. The decoder does not need to see the same values as close: corrections are explicit.

Choose this for networks that were trained in floating point; an integer network needs no guard and
is faster. Differences above the band are not prevented, `SymbolCheck` finds what they break.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.entropy.coder import SymbolDecoder, SymbolEncoder
from laconic.entropy.tables import CdfTables
from laconic.formats.errors import FormatError, ParameterError

DEFAULT_BAND = 1e-9
_COUNT_TABLE = CdfTables(12, lows=[0], sizes=[2], freqs=[4095, 1])


def guard_indexes(
    values: ArrayLike, boundaries: ArrayLike, band: float = DEFAULT_BAND
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Index of the interval that holds each value, and which values are close to a boundary.

    Args:
        values: float64, any shape; n elements in C order.
        boundaries: B ascending float64 values, 0 <= B <= 65535; a value equal to boundary k
            belongs to interval k + 1.
        band: a value within this absolute distance of a boundary is close; 0 < band.

    Returns:
        indexes uint16 [n] in 0..B, and the ascending positions int64 [c] of the close values.

    Raises:
        ParameterError: a value is NaN, the boundaries are not ascending, or band is not positive.

    >>> indexes, close = guard_indexes([0.5, 1.0 - 1e-12, 7.0], boundaries=[1.0, 2.0])
    >>> indexes.tolist(), close.tolist()
    ([0, 0, 2], [1])
    """
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    edges = np.asarray(boundaries, dtype=np.float64).reshape(-1)
    if np.isnan(flat).any():
        raise ParameterError("values contain NaN; the network or its input is broken")
    if edges.size > 0xFFFF or not (np.diff(edges) > 0).all() or not np.isfinite(edges).all():
        raise ParameterError("boundaries must be finite and ascending, at most 65535")
    if not band > 0:
        raise ParameterError(f"guard band is {band}; expected more than 0")
    indexes = np.searchsorted(edges, flat, side="right").astype(np.uint16)
    padded = np.concatenate([[-np.inf], edges, [np.inf]])
    with np.errstate(invalid="ignore"):  # inf - inf: an infinite value is close to nothing
        close = (flat - padded[indexes] <= band) | (padded[indexes + np.int64(1)] - flat <= band)
    return indexes, np.flatnonzero(close)


def push_guarded(
    encoder: SymbolEncoder,
    values: ArrayLike,
    boundaries: ArrayLike,
    band: float = DEFAULT_BAND,
) -> NDArray[np.uint16]:
    """Select tables for `values` and write the close calls; returns the indexes to code with.

    Arguments and errors are those of `guard_indexes`. Without a close call, the usual case, this
    costs 0.0004 bits.
    """
    indexes, close = guard_indexes(values, boundaries, band)
    encoder.push(np.array([close.size]), np.zeros(1, np.uint8), _COUNT_TABLE)
    if close.size:
        position_bits, index_bits = _widths(indexes.size, np.size(boundaries))
        encoder.push_bits(close, position_bits)
        encoder.push_bits(indexes[close], index_bits)
    return indexes


def pull_guarded(
    decoder: SymbolDecoder,
    values: ArrayLike,
    boundaries: ArrayLike,
    band: float = DEFAULT_BAND,
) -> NDArray[np.uint16]:
    """Select tables for `values` as the encoder did; the inverse of `push_guarded`.

    Raises:
        FormatError: the corrections in the stream are not possible ones.
    """
    indexes, _ = guard_indexes(values, boundaries, band)
    count = int(decoder.pull(np.zeros(1, np.uint8), _COUNT_TABLE)[0])
    if not 0 <= count <= indexes.size:
        raise FormatError(f"stream lists {count} close calls among {indexes.size} values")
    if count:
        position_bits, index_bits = _widths(indexes.size, np.size(boundaries))
        positions = decoder.pull_bits(count, position_bits).astype(np.int64)
        decisions = decoder.pull_bits(count, index_bits)
        if (np.diff(positions) <= 0).any() or positions[-1] >= indexes.size:
            raise FormatError("positions of close calls are not ascending or out of range")
        if decisions.max() > np.size(boundaries):
            raise FormatError("a close call names a table that does not exist")
        indexes[positions] = decisions
    return indexes


def _widths(values: int, boundaries: int) -> tuple[int, int]:
    """Bits of a position among `values` and of an index in 0..boundaries."""
    return max(1, (values - 1).bit_length()), max(1, boundaries.bit_length())
