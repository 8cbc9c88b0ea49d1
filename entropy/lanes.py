"""Interleaved rANS with 32-bit totals: one lane per record, for mixtures computed on the fly.

`SymbolEncoder` needs every distribution as one of a few stored tables. A circuit mixes its tables
anew for each symbol, with weights that depend on what was decoded before, and its mixture is exact
in units of 2^-32, finer than the 24 bits of `constriction`. Here a symbol is a start and a
frequency, both computed by the caller, and one call codes one symbol in each of L lanes with a
handful of vector operations. See Duda, "Asymmetric numeral systems", 2013, arXiv:1311.2540, and
Giesen, "Interleaved entropy coders", 2014, arXiv:1402.3392.

Each lane has a state in 2^32 .. 2^64 - 1 and starts at 2^32. Lanes share one sequence of 32-bit
words, read in order of lanes. Overhead: about 6 bytes a lane, so few lanes for short streams.

Stream: the L states as 64-bit, then the words, all little-endian.

    >>> import numpy as np
    >>> encoder = LaneEncoder(2)
    >>> encoder.push(np.array([0, 1 << 31]), np.array([1 << 31, 1 << 31]))
    >>> data = encoder.finish()
    >>> decoder = LaneDecoder(data, 2)
    >>> (decoder.slots(2) >> np.uint64(31)).tolist()  # which half: symbols 0 and 1
    [0, 1]
    >>> decoder.advance(np.array([0, 1 << 31]), np.array([1 << 31, 1 << 31]))
    >>> decoder.finish()
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.formats.errors import FormatError, ParameterError

TOTAL_BITS = 32
MAX_LANES = 1 << 16
_SHIFT = np.uint64(TOTAL_BITS)
_MASK = np.uint64((1 << TOTAL_BITS) - 1)
_LOW = np.uint64(1 << TOTAL_BITS)  # smallest state


class LaneEncoder:
    """Collects steps of one symbol per lane and turns them into bytes.

    Args:
        lanes: L, 1 to 65536.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = check_lanes(lanes)
        self._steps: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = []

    def push(self, starts: ArrayLike, freqs: ArrayLike) -> None:
        """Encode symbols of the first n lanes.

        Args:
            starts: start of each symbol's interval, n integers.
            freqs: width of each interval, n integers >= 1; start + width <= 2^32.

        Raises:
            ParameterError: more symbols than lanes, or an impossible interval.
        """
        begin, width = np.asarray(starts), np.asarray(freqs)
        if begin.shape != width.shape or begin.ndim != 1 or begin.size > self._lanes:
            raise ParameterError(
                f"starts {list(begin.shape)} and freqs {list(width.shape)}: expected as many of"
                f" each, at most {self._lanes}"
            )
        if begin.size == 0:
            return
        if begin.min() < 0 or width.min() < 1:
            raise ParameterError("an interval is empty or begins below 0")
        begin, width = begin.astype(np.uint64), width.astype(np.uint64)
        if (begin > _LOW).any() or (width > _LOW - begin).any():
            raise ParameterError("an interval reaches beyond 2^32")
        self._steps.append((begin, width))

    def finish(self) -> bytes:
        """The stream. The encoder is empty afterwards."""
        states = np.full(self._lanes, _LOW)
        words: list[NDArray[np.uint32]] = []
        while self._steps:
            begin, width = self._steps.pop()
            state = states[: begin.size]
            full = np.flatnonzero((state >> _SHIFT) >= width)
            if full.size:
                words.append((state[full] & _MASK).astype("<u4"))
                state[full] >>= _SHIFT
            # state <- floor(state / f) 2^32 + start + state mod f
            quotient = state // width
            state += (quotient << _SHIFT) - quotient * width + begin
        return states.astype("<u8").tobytes() + b"".join(w.tobytes() for w in reversed(words))


class LaneDecoder:
    """Reads back what a `LaneEncoder` wrote, step by step.

    Damaged data yields other slots or `FormatError`, never anything else.

    Args:
        data: the whole stream.
        lanes: L as given to the encoder.

    Raises:
        FormatError: the stream is shorter than its states, or has an impossible length or state.
    """

    def __init__(self, data: bytes, lanes: int) -> None:
        head = 8 * check_lanes(lanes)
        if len(data) < head or len(data) % 4:
            raise FormatError(f"a stream of {lanes} lanes has {len(data)} bytes; it is damaged")
        self._states = np.frombuffer(data, "<u8", lanes).astype(np.uint64)
        self._words = np.frombuffer(data, "<u4", offset=head).astype(np.uint64)
        self._next = 0
        if (self._states < _LOW).any():
            raise FormatError("a lane starts with an impossible state; the data is damaged")

    def slots(self, n: int) -> NDArray[np.uint64]:
        """The number in 0 .. 2^32 - 1 that falls into the next symbol's interval, for the first n
        lanes."""
        return self._states[:n] & _MASK

    def advance(self, starts: ArrayLike, freqs: ArrayLike) -> None:
        """Consume the symbols whose intervals hold the slots.

        Raises:
            FormatError: the stream has ended.
        """
        begin = np.asarray(starts).astype(np.uint64, copy=False)
        width = np.asarray(freqs).astype(np.uint64, copy=False)
        state = self._states[: begin.size]
        slot = state & _MASK
        state >>= _SHIFT
        state *= width
        state += slot - begin
        empty = np.flatnonzero(state < _LOW)
        if empty.size:
            end = self._next + empty.size
            if end > self._words.size:
                raise FormatError("the data ends before its symbols do; it is damaged")
            state[empty] = state[empty] << _SHIFT | self._words[self._next : end]
            self._next = end

    def finish(self) -> None:
        """Check that the data ends here: no words left, every lane at its start.

        Raises:
            FormatError: it does not.
        """
        if self._next != self._words.size or (self._states != _LOW).any():
            raise FormatError("the data is longer or shorter than its symbols; it is damaged")


def check_lanes(lanes: int) -> int:
    """Return `lanes`, or raise `ParameterError` unless it is in 1..65536."""
    if not 1 <= lanes <= MAX_LANES:
        raise ParameterError(f"{lanes} lanes; expected 1 to {MAX_LANES}")
    return lanes
