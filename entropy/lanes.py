"""Interleaved rANS with 32-bit totals: one lane per record, for mixtures computed on the fly.

`SymbolEncoder` needs every distribution as one of a few stored tables. A circuit mixes its tables
anew for each symbol, with weights that depend on what was decoded before, and its mixture is exact
in units of 2^-32, finer than the 24 bits of `constriction`. Here a symbol is a start and a
frequency, both computed by the caller, and one call codes one symbol in each of L lanes. See Duda,
"Asymmetric numeral systems", 2013, arXiv:1311.2540, and Giesen, "Interleaved entropy
coders", 2014, arXiv:1402.3392.

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

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laconic.entropy.jit import jit
from laconic.formats.errors import FormatError, ParameterError

TOTAL_BITS = 32
MAX_LANES = 1 << 16
_SHIFT = np.uint64(TOTAL_BITS)
_MASK = np.uint64((1 << TOTAL_BITS) - 1)
_LOW = np.uint64(1 << TOTAL_BITS)  # smallest state
ENDED = "the data ends before its symbols do; it is damaged"


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
        counts = np.array([begin.size for begin, _ in self._steps], np.int64)
        none = [np.zeros(0, np.uint64)]
        starts = np.concatenate([begin for begin, _ in self._steps] or none)
        widths = np.concatenate([width for _, width in self._steps] or none)
        words = np.empty(starts.size, np.uint32)
        top = _encode(states, counts, starts, widths, words)
        self._steps = []
        return states.astype("<u8").tobytes() + words[top:].astype("<u4").tobytes()


class LaneDecoder:
    """Reads back what a `LaneEncoder` wrote, step by step.

    Damaged data yields other slots or `FormatError`, never anything else.

    Args:
        data: the whole stream.
        lanes: L as given to the encoder.

    Attributes:
        states: of the lanes; words: of the stream; next: the first word not yet read. For loops
            that decode by themselves.

    Raises:
        FormatError: the stream is shorter than its states, or has an impossible length or state.
    """

    def __init__(self, data: bytes, lanes: int) -> None:
        head = 8 * check_lanes(lanes)
        if len(data) < head or len(data) % 4:
            raise FormatError(f"a stream of {lanes} lanes has {len(data)} bytes; it is damaged")
        self.states = np.frombuffer(data, "<u8", lanes).astype(np.uint64)
        self.words = np.frombuffer(data, "<u4", offset=head).astype(np.uint64)
        self.next = 0
        if (self.states < _LOW).any():
            raise FormatError("a lane starts with an impossible state; the data is damaged")

    def slots(self, n: int) -> NDArray[np.uint64]:
        """The number in 0 .. 2^32 - 1 that falls into the next symbol's interval, for the first n
        lanes."""
        return self.states[:n] & _MASK

    def advance(self, starts: ArrayLike, freqs: ArrayLike) -> None:
        """Consume the symbols whose intervals hold the slots.

        Raises:
            FormatError: the stream has ended.
        """
        begin, width = _as_words(starts), _as_words(freqs)
        if not begin.size == width.size <= self.states.size:
            raise ParameterError(
                f"{begin.size} starts and {width.size} freqs for {self.states.size} lanes"
            )
        self.next = _advance(self.states, self.words, self.next, begin, width)
        if self.next < 0:
            raise FormatError(ENDED)

    def finish(self) -> None:
        """Check that the data ends here: no words left, every lane at its start.

        Raises:
            FormatError: it does not.
        """
        if self.next != self.words.size or (self.states != _LOW).any():
            raise FormatError("the data is longer or shorter than its symbols; it is damaged")


def _as_words(values: ArrayLike) -> NDArray[np.uint64]:
    return np.array(values, np.uint64).reshape(-1)


@jit
def _encode(
    states: NDArray[Any], counts: NDArray[Any], starts: NDArray[Any], widths: NDArray[Any],
    words: NDArray[Any],
) -> int:  # fmt: skip
    """Encode all steps, the last first; returns where the words begin."""
    place, top = starts.size, words.size
    for step in range(counts.size - 1, -1, -1):
        place -= counts[step]
        for lane in range(counts[step] - 1, -1, -1):
            state, width = states[lane], widths[place + lane]
            if state >> _SHIFT >= width:
                top -= 1
                words[top] = np.uint32(state & _MASK)
                state >>= _SHIFT
            # state <- floor(state / f) 2^32 + start + state mod f
            whole = state // width
            states[lane] = (whole << _SHIFT) + (state - whole * width) + starts[place + lane]
    return top


@jit
def _advance(
    states: NDArray[Any],
    words: NDArray[Any],
    place: int,
    starts: NDArray[Any],
    widths: NDArray[Any],
) -> int:  # fmt: skip
    """Consume a step; returns where the words not yet read begin, -1 if there are too few."""
    for lane in range(starts.size):
        slot = states[lane] & _MASK
        state = (states[lane] >> _SHIFT) * widths[lane] + slot - starts[lane]
        if state < _LOW:
            if place >= words.size:
                return -1
            state = state << _SHIFT | words[place]
            place += 1
        states[lane] = state
    return place


def check_lanes(lanes: int) -> int:
    """Return `lanes`, or raise `ParameterError` unless it is in 1..65536."""
    if not 1 <= lanes <= MAX_LANES:
        raise ParameterError(f"{lanes} lanes; expected 1 to {MAX_LANES}")
    return lanes
