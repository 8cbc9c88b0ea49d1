"""A range coder for short streams whose distributions are computed symbol by symbol.

`SymbolEncoder` needs one of a few stored tables for each symbol and `LaneEncoder` carries 8 bytes
of state per lane; ten seconds of audio at 0.3 kbit/s are 400 bytes, where that is 2 %. This coder
takes any integer frequencies with any total up to 2^32 and ends within one byte of the ideal size.
It is plain Python, about 1 microsecond a symbol; `token_loops` has the same coder compiled. Martin,
"Range encoding: an algorithm for removing redundancy from a digitised message", 1979.

Stream: the digits (base 256) of a number inside the last interval, as few as determine it; zeros
follow implicitly.

    >>> encoder = ShortEncoder()
    >>> for start, width in ((0, 3), (3, 1), (0, 3)):
    ...     encoder.push(start, width, 4)
    >>> decoder = ShortDecoder(encoder.finish())
    >>> symbols = []
    >>> for _ in range(3):
    ...     symbols.append(int(decoder.slot(4) >= 3))
    ...     decoder.advance(3 * symbols[-1], 3 - 2 * symbols[-1])
    >>> symbols
    [0, 1, 0]
    >>> decoder.finish()
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError, ParameterError

MAX_TOTAL = 1 << 32
_BYTES = 7
TOP = 1 << 8 * _BYTES
SMALL = TOP >> 16  # below it the interval is widened; SMALL / MAX_TOTAL is still 2^8
DIGIT = 8 * (_BYTES - 1)


class ShortEncoder:
    """Narrows an interval symbol by symbol and writes a number in it."""

    def __init__(self) -> None:
        self._low, self._range = 0, TOP
        self._out = bytearray()

    def push(self, start: int, width: int, total: int) -> None:
        """Encode the symbol that owns ``start .. start + width - 1`` of ``total``.

        Raises ``ParameterError`` for an impossible interval.
        """
        if not (0 <= start < start + width <= total <= MAX_TOTAL):
            raise ParameterError(f"{start} + {width} of {total} is no interval")
        unit = self._range // total
        self._low += unit * start
        self._range = unit * width
        if self._low >= TOP:
            self._carry()
        while self._range < SMALL:
            self._out.append(self._low >> DIGIT)
            self._low = self._low << 8 & TOP - 1
            self._range <<= 8

    def push_uniform(self, value: int, total: int) -> None:
        """Encode one of ``total`` equally likely values."""
        self.push(value, 1, total)

    def lend(self, symbols: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """State (low, range, bytes written) and bytes with room for that many symbols, for a loop
        that encodes by itself; give them back with :meth:`take_back`."""
        data = np.zeros(len(self._out) + _BYTES * symbols, np.uint8)
        data[: len(self._out)] = np.frombuffer(self._out, np.uint8)
        return np.array([self._low, self._range, len(self._out)], np.int64), data

    def take_back(self, state: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
        """Go on from where the loop has stopped."""
        self._low, self._range, written = state.tolist()
        self._out = bytearray(data[:written].tobytes())

    def finish(self) -> bytes:
        """The stream; b"" if the last interval holds zero."""
        for kept in range(_BYTES + 1):
            mask = (TOP >> 8 * kept) - 1
            value = (self._low + mask) & ~mask
            if value < self._low + self._range:
                break
        self._low = value
        if self._low >= TOP:
            self._carry()
        digits = self._low.to_bytes(_BYTES, "big")[:kept]
        return (bytes(self._out) + digits).rstrip(b"\0")

    def _carry(self) -> None:
        self._low -= TOP
        at = len(self._out) - 1
        while self._out[at] == 255:
            self._out[at] = 0
            at -= 1
        self._out[at] += 1


class ShortDecoder:
    """Reads back what a `ShortEncoder` wrote; damaged data yields other symbols or `FormatError`.

    Raises:
        FormatError: the stream ends in a zero byte, which no encoder writes.
    """

    def __init__(self, data: bytes) -> None:
        if data.endswith(b"\0"):
            raise FormatError("entropy-coded data ends in a zero byte; it is damaged")
        self._data, self._next = data, _BYTES
        self._code = int.from_bytes(data[:_BYTES].ljust(_BYTES, b"\0"), "big")
        self._range, self._unit = TOP, 0

    def slot(self, total: int) -> int:
        """The number in ``0 .. total - 1`` that the next symbol owns."""
        self._unit = self._range // total
        return min(self._code // self._unit, total - 1)

    def advance(self, start: int, width: int) -> None:
        """Consume the symbol that owns the slot; ``start`` and ``width`` as given to ``push``."""
        self._code -= self._unit * start
        self._range = self._unit * width
        while self._range < SMALL:
            digit = self._data[self._next] if self._next < len(self._data) else 0
            self._code = self._code << 8 | digit
            self._range <<= 8
            self._next += 1

    def lend(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """State (code, range, bytes read) and the bytes, for a loop that decodes by itself; give
        the state back with :meth:`take_back`."""
        code = min(self._code, self._range - 1)
        data = np.frombuffer(self._data, np.uint8).copy()
        return np.array([code, self._range, self._next], np.int64), data

    def take_back(self, state: NDArray[np.int64]) -> None:
        """Go on from where the loop has stopped."""
        self._code, self._range, self._next = state.tolist()

    def pull_uniform(self, total: int) -> int:
        """Decode one of ``total`` equally likely values."""
        value = self.slot(total)
        self.advance(value, 1)
        return value

    def finish(self) -> None:
        """Check that no byte is left. Raises ``FormatError``."""
        if self._next < len(self._data):
            raise FormatError("entropy-coded data is longer than its symbols")
