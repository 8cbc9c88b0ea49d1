"""A range coder for short streams, and the adaptive counts that many of them are coded with.

`SymbolEncoder` needs one of a few stored tables for each symbol and `LaneEncoder` carries 8 bytes
of state per lane; ten seconds of audio at 0.3 kbit/s are 400 bytes, where that is 2 %. A
`ShortEncoder` takes any integer frequencies with any total up to 2^32, computed symbol by symbol,
and ends within one byte of the ideal size. It is plain Python, about 1 microsecond a symbol;
`token_loops` has the same coder compiled. Martin, "Range encoding: an algorithm for removing
redundancy from a digitised message", 1979.

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

`AdaptiveCounts` are for alphabets of hundreds to thousands of symbols, of which a stream shows a
few that are likely to come again. Three experts predict each symbol: the base (a trained prior, or
equal chances), the symbols seen so far in the same place (context of order 0), and those seen after
the same predecessor (order 1). An expert of counts backs off to the base in the manner of Witten
and Bell ("The zero-frequency problem", 1991): with n symbols seen it gives weight n / (n + K) to
their counts. The experts are mixed with weights that follow their success (Bayes' rule with a fixed
share, Herbster and Warmuth 1998). Everything is integer arithmetic, every symbol keeps at least one
count, so what one machine writes any other reads.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from laconic.formats.errors import FormatError, ParameterError

MAX_TOTAL = 1 << 32
_BYTES = 7
TOP = 1 << 8 * _BYTES
SMALL = TOP >> 16  # below it the interval is widened; SMALL / MAX_TOTAL is still 2^8
DIGIT = 8 * (_BYTES - 1)

Weights = NDArray[np.int64]  # [V], any total: likelihoods of the symbols
SCALE = 20  # bits of the base distribution's total, and of probabilities in general
START = (49152, 8192, 8192)  # weights of base, order 0, order 1, in 2^-16
LEAST = 512  # no expert's weight falls below this
BACK_OFF = (12, 4)  # K of order 0 and order 1


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


class AdaptiveCounts:
    """Experts of one stream of tokens. Encoder and decoder feed it the same symbols.

    >>> import numpy as np
    >>> model, encoder = AdaptiveCounts(), ShortEncoder()
    >>> for symbol in [7] * 100:
    ...     model.encode(encoder, equal_chances(1000), "a place", 0, symbol)
    >>> len(encoder.finish())
    5
    """

    def __init__(self) -> None:
        self._weights: tuple[int, ...] = START
        self._seen: dict[Hashable, dict[int, int]] = {}

    def encode(
        self,
        coder: ShortEncoder,
        base: Weights,
        place: Hashable,
        before: Hashable,
        symbol: int,
    ) -> None:
        """Code ``symbol`` and learn it.

        Args:
            base: from :func:`normalised`.
            place: context of order 0.
            before: what came before in that place.
        """
        freqs = self._mixture(base, place, before)
        start = int(freqs[:symbol].sum())
        coder.push(start, int(freqs[symbol]), int(freqs.sum()))
        self._learn(base, place, before, symbol)

    def decode(self, coder: ShortDecoder, base: Weights, place: Hashable, before: Hashable) -> int:
        """Inverse of :meth:`encode`."""
        ends = np.cumsum(self._mixture(base, place, before))
        slot = coder.slot(int(ends[-1]))
        symbol = int(np.searchsorted(ends, slot, side="right"))
        start = int(ends[symbol - 1]) if symbol else 0
        coder.advance(start, int(ends[symbol]) - start)
        self._learn(base, place, before, symbol)
        return symbol

    def _mixture(self, base: Weights, place: Hashable, before: Hashable) -> Weights:
        """Frequencies ``[V]``, each at least 1, of total about 2^SCALE."""
        groups = self._groups(place, before)
        share = self._weights[0]
        parts = []
        for weight, counts, back_off in zip(self._weights[1:], groups, BACK_OFF, strict=True):
            total = sum(counts.values()) + back_off
            share += weight * back_off // total
            parts.append((counts, (weight << SCALE) // total))
        freqs = (base * share >> 16) + 1
        for counts, unit in parts:
            for symbol, count in counts.items():
                freqs[symbol] += count * unit >> 16
        return freqs

    def _groups(self, place: Hashable, before: Hashable) -> tuple[dict[int, int], dict[int, int]]:
        return self._seen.get(place, {}), self._seen.get((place, before), {})

    def _learn(self, base: Weights, place: Hashable, before: Hashable, symbol: int) -> None:
        own = int(base[symbol])
        success = [own + 1]
        for counts, back_off in zip(self._groups(place, before), BACK_OFF, strict=True):
            total = sum(counts.values()) + back_off
            success.append(((counts.get(symbol, 0) << SCALE) + own * back_off) // total + 1)
        posterior = [w * s for w, s in zip(self._weights, success, strict=True)]
        total = sum(posterior)
        spread = 65536 - LEAST * len(posterior)
        self._weights = tuple(LEAST + p * spread // total for p in posterior)
        for key in (place, (place, before)):
            counts = self._seen.setdefault(key, {})
            counts[symbol] = counts.get(symbol, 0) + 1


def normalised(weights: NDArray[np.integer]) -> Weights:
    """Non-negative integers ``[..., V]`` with totals of about 2^SCALE.

    The weights' totals must be positive and below 2^42.
    """
    wide = weights.astype(np.int64)
    return (wide << SCALE) // wide.sum(-1, keepdims=True)


def equal_chances(symbols: int) -> Weights:
    """The base distribution when nothing is known."""
    return np.full(symbols, (1 << SCALE) // symbols, np.int64)
