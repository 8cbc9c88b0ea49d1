"""Floats as the integers of their bits, ordered by their size: exact, NaN included."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def unsigned(size: int) -> str:
    """The type of the bits of a float of ``size`` bytes."""
    return f"<u{size}"


def ordered(bits: NDArray[Any]) -> NDArray[Any]:
    """Bits of floats -> integers that grow with the floats."""
    top = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    return np.where(bits & top, ~bits, bits | top)


def plain(numbers: NDArray[Any]) -> NDArray[Any]:
    """Inverse of :func:`ordered`."""
    top = numbers.dtype.type(1 << (8 * numbers.itemsize - 1))
    return np.where(numbers & top, numbers & ~top, ~numbers)


def halves(numbers: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The upper and lower 32 bits."""
    return (numbers >> _HALF).astype(np.int64), (numbers & _LOW).astype(np.int64)


def joined(high: NDArray[np.int64], low: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Inverse of :func:`halves`."""
    return high.astype(np.uint64) << _HALF | low.astype(np.uint64)


def to_whole(array: NDArray[Any]) -> NDArray[np.int64]:
    """Floats ``[N, D]`` as whole numbers ``[N, D]``, of 64 bits ``[N, 2 D]``: upper and lower."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    numbers = ordered(little.view(unsigned(little.itemsize)))
    if little.itemsize < 8:
        return numbers.astype(np.int64)
    return np.stack(halves(numbers), axis=2).reshape(len(array), -1)


def from_whole(whole: NDArray[np.int64], size: int) -> NDArray[Any]:
    """Inverse of :func:`to_whole` for floats of ``size`` bytes, little-endian."""
    wide = size == 8
    numbers = joined(whole[:, ::2], whole[:, 1::2]) if wide else whole.astype(unsigned(size))
    return np.ascontiguousarray(plain(numbers)).view(f"<f{size}")
