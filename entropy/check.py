"""Checksum over decoded integers: the last line against a desynchronised decoder.

Entropy coders detect no damage by themselves; a wrong table or a flipped bit decodes to plausible
symbols. A checksum of the bytes finds flipped bits, this one over the symbols also finds a decoder
whose model computes other tables than the encoder's did. It is CRC-32 (ISO-HDLC, as in zlib) over
the symbols as little-endian int32 in coding order.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import ArrayLike

from laconic.formats.errors import ParameterError


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
