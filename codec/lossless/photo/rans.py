"""Interleaved lanes of a stack coder, one lane for each sample of a front.

rANS (Duda, "Asymmetric numeral systems", 2013; interleaved as in Giesen, "Interleaved entropy
coders", 2014) with states of 64 bits, words of 32, and totals of 2^24. All arithmetic is on whole
fronts of several tiles at once. Choose `laconic.entropy.SymbolEncoder` where distributions come
from a limited set of tables: here each sample has its own, of which the decoder knows two points.

A lane normally costs 32 bits: the state that it starts from. Here the encoder, which runs backwards
and whose fronts grow, starts a lane with the word on top of what is already written, and the
decoder puts it back when it is done with the lane, so that any number of lanes costs nothing.

Stream of a tile: for each lane 2 bits, the bytes of its first state minus 5, padded with zero bits;
these states, little-endian; then 32-bit little-endian words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.mixture import PRECISION
from laconic.formats.errors import FormatError

Words = NDArray[np.uint64]

_LOW = np.uint64(1 << 32)  # states are in 2^32 .. 2^64 - 1
_WORD = np.uint64(32)
_MASK = np.uint64((1 << 32) - 1)
_SLOT = np.uint64((1 << PRECISION) - 1)
_SHIFT = np.uint64(PRECISION)
_ROOM = np.uint64(64 - PRECISION)
DAMAGED = "the coded samples are damaged: {}"


def active_lanes(fronts: NDArray[np.intp]) -> list[int]:
    """Lanes in use at each step: the largest front from there on."""
    active: list[int] = np.maximum.accumulate(fronts[::-1])[::-1].tolist()
    return active


class LaneEncoder:
    """Encodes the fronts of `tiles` tiles from the last to the first.

    Args:
        tiles: number of tiles coded in step.
        fronts: samples of a tile at each step, in the decoder's order.
    """

    def __init__(self, tiles: int, fronts: NDArray[np.intp]) -> None:
        self._active = active_lanes(fronts)
        self._step = len(self._active)
        self._state = np.full((tiles, max(self._active)), _LOW)
        self._size = int(fronts.sum()) + self._state.shape[1]
        self._words = np.zeros(tiles * self._size, np.uint32)
        self._end = np.arange(1, tiles + 1) * self._size
        self._top = self._end.copy()
        self._lanes = 0

    def push(self, start: Words, width: Words) -> None:
        """Encode the front before the last one pushed: intervals [T, n] in units of 2^-24."""
        self._step -= 1
        self._start_lanes(self._active[self._step])
        n = start.shape[1]
        x = self._state[:, :n]
        full = x >= width << _ROOM
        counts = np.count_nonzero(full, axis=1)
        self._top -= counts
        place = (np.cumsum(full, axis=1) - 1 + self._top[:, None])[full]
        self._words[place] = (x[full] & _MASK).astype(np.uint32)
        x = np.where(full, x >> _WORD, x)
        whole, rest = np.divmod(x, width)
        self._state[:, :n] = (whole << _SHIFT) + rest + start

    def _start_lanes(self, lanes: int) -> None:
        for tile in range(self._state.shape[0]) if lanes > self._lanes else ():
            top = int(self._top[tile])
            taken = self._words[top : min(top + lanes - self._lanes, int(self._end[tile]))]
            self._state[tile, self._lanes : self._lanes + taken.size] += taken
            self._top[tile] += taken.size
        self._lanes = max(lanes, self._lanes)

    def finish(self) -> list[bytes]:
        """The stream of each tile."""
        assert self._step == 0
        return [
            _pack_states(self._state[tile]) + self._words[top:end].astype("<u4").tobytes()
            for tile, (top, end) in enumerate(zip(self._top, self._end, strict=True))
        ]


class LaneDecoder:
    """Decodes fronts in order; alternate :meth:`slots` and :meth:`pull`.

    Args:
        streams: of one or more tiles.
        fronts: samples of a tile at each step.

    Raises:
        FormatError: a stream is too short to hold its states.
    """

    def __init__(self, streams: Sequence[bytes], fronts: NDArray[np.intp]) -> None:
        self._active = [*active_lanes(fronts), 0]
        lanes = self._active[0]
        self._state = np.empty((len(streams), lanes), np.uint64)
        parts, ends, tops, size = [], [], [], 0
        for tile, stream in enumerate(streams):
            self._state[tile], words = _unpack_states(stream, lanes)
            parts += [np.zeros(lanes, np.uint32), words]
            tops.append(size + lanes)
            size += lanes + words.size
            ends.append(size)
        self._words = np.concatenate(parts)
        self._top, self._end = np.array(tops), np.array(ends)
        self._first = np.array([0, *ends[:-1]])
        self._step = 0

    def slots(self, n: int) -> NDArray[np.float64]:
        """Where in 0 .. 2^24 the next front [T, n] lies."""
        self._slot = self._state[:, :n] & _SLOT
        return self._slot.astype(np.float64)

    def pull(self, start: NDArray[np.float64], width: NDArray[np.float64]) -> None:
        """Go on with the intervals [T, n] that hold the slots."""
        n = start.shape[1]
        x = self._state[:, :n] >> _SHIFT
        x *= width.astype(np.uint64)
        x += self._slot
        x -= start.astype(np.uint64)
        low = x < _LOW
        counts = np.count_nonzero(low, axis=1)
        place = (np.cumsum(low, axis=1) - 1 + self._top[:, None])[low]
        self._top += counts
        if (self._top > self._end).any():
            raise FormatError(DAMAGED.format("they end too early"))
        x[low] = x[low] << _WORD | self._words[place]
        self._state[:, :n] = x
        self._step += 1
        if self._active[self._step] < self._active[self._step - 1]:
            self._end_lanes(self._active[self._step], self._active[self._step - 1])

    def _end_lanes(self, first: int, end: int) -> None:
        taken = self._state[:, first:end] - _LOW
        if (taken > _MASK).any():
            raise FormatError(DAMAGED.format("a lane ends in an impossible state"))
        self._top -= end - first
        if (self._top < self._first).any():
            raise FormatError(DAMAGED.format("they are too short"))
        place = self._top[:, None] + np.arange(end - first)
        self._words[place] = taken.astype(np.uint32)

    def finish(self) -> None:
        """Check that everything was used; raises ``FormatError``."""
        for top, end in zip(self._top, self._end, strict=True):
            if self._words[top:end].any():
                raise FormatError(DAMAGED.format("there is more than the picture needs"))


def _pack_states(state: Words) -> bytes:
    raw = state.astype("<u8").view(np.uint8).reshape(-1, 8)
    length = np.full(len(state), 5)
    for count in (5, 6, 7):
        length += state >> np.uint64(8 * count) > 0
    codes = np.zeros(-(-len(state) // 4) * 4, np.uint8)
    codes[: len(state)] = length - 5
    fields = (codes.reshape(-1, 4) << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1)
    return fields.astype(np.uint8).tobytes() + raw[np.arange(8) < length[:, None]].tobytes()


def _unpack_states(stream: bytes, lanes: int) -> tuple[Words, NDArray[np.uint32]]:
    data = np.frombuffer(stream, np.uint8)
    head = -(-lanes // 4)
    if data.size < head:
        raise FormatError(DAMAGED.format("they are too short"))
    length = 5 + (data[:head, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1)[:lanes]
    end = head + int(length.sum())
    if data.size < end or (data.size - end) % 4:
        raise FormatError(DAMAGED.format("their length is impossible"))
    raw = np.zeros((lanes, 8), np.uint8)
    raw[np.arange(8) < length[:, None]] = data[head:end]
    state = raw.view("<u8").reshape(-1).astype(np.uint64)
    if (state < _LOW).any():
        raise FormatError(DAMAGED.format("a lane starts in an impossible state"))
    return state, data[end:].view("<u4").astype(np.uint32)
