"""Interleaved lanes of a stack coder, one lane for each sample of a front.

rANS (Duda, "Asymmetric numeral systems", 2013; interleaved as in Giesen, "Interleaved entropy
coders", 2014) with states of 64 bits, words of 32, and totals of 2^24. Here are the encoder and the
form of a stream; the decoder's steps are in `loops`, between the samples that they need. Choose
`laconic.entropy.SymbolEncoder` where distributions come from a limited set of tables: here each
sample has its own, of which the decoder knows two points.

A lane normally costs 32 bits: the state that it starts from. Here the encoder, which runs backwards
and whose fronts grow, starts a lane with the word on top of what is already written, and the
decoder puts it back when it is done with the lane, so that any number of lanes costs nothing.

Stream of a tile: for each lane 2 bits, the bytes of its first state minus 5, padded with zero bits;
these states, little-endian; then 32-bit little-endian words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.lossless.photo.loops import EARLY, PRECISION, RAGGED, SHORT, STATE
from laconic.entropy.jit import jit
from laconic.formats.errors import FormatError

Words = NDArray[np.uint64]

_LOW = np.uint64(1 << 32)  # states are in 2^32 .. 2^64 - 1
_WORD = np.uint64(32)
_MASK = np.uint64((1 << 32) - 1)
_SHIFT = np.uint64(PRECISION)
_ROOM = np.uint64(64 - PRECISION)
DAMAGED = "the coded samples are damaged: {}"


REASONS = {
    EARLY: "they end too early",
    STATE: "a lane ends in an impossible state",
    SHORT: "they are too short",
    RAGGED: "there is more than the image needs",
}


def active_lanes(fronts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lanes in use at each step, the largest front from there on, and a last 0."""
    active = np.maximum.accumulate(fronts[::-1])[::-1]
    return np.append(active, 0)


def encode(
    fronts: NDArray[np.int64], starts: NDArray[np.uint32], widths: NDArray[np.uint32]
) -> bytes:
    """The stream of the intervals of all samples in the decoder's order.

    Args:
        fronts: samples of each step.
        starts, widths: in units of 2^-24.
    """
    active = active_lanes(fronts)
    state = np.full(active[0], _LOW)
    words = np.zeros(starts.size + state.size, np.uint32)
    top = _encode(active, fronts, starts, widths, state, words)
    return _pack_states(state) + words[top:].astype("<u4").tobytes()


def open_stream(stream: bytes, lanes: int) -> tuple[Words, NDArray[np.uint32]]:
    """States of the lanes, and room for a word of each lane followed by the words.

    Raises ``FormatError`` for a stream that is too short.
    """
    state, words = _unpack_states(stream, lanes)
    return state, np.concatenate((np.zeros(lanes, np.uint32), words))


@jit
def _encode(
    active: NDArray[Any], fronts: NDArray[Any], starts: NDArray[Any], widths: NDArray[Any],
    state: NDArray[Any], words: NDArray[Any],
) -> int:  # fmt: skip
    """Encode the fronts from the last to the first; returns where `words` begin.

    Args:
        active: lanes in use at each step.
        fronts: samples of each step.
        starts, widths: of all samples in the decoder's order.
        state: of each lane, 2^32; in the end those that the stream begins with.
        words: room for one of each sample and lane.
    """
    top, place, lanes = words.size, starts.size, 0
    for step in range(fronts.size - 1, -1, -1):
        while lanes < active[step]:
            if top < words.size:
                state[lanes] += np.uint64(words[top])
                top += 1
            lanes += 1
        place -= fronts[step]
        for lane in range(fronts[step] - 1, -1, -1):
            x, width = state[lane], np.uint64(widths[place + lane])
            if x >= width << _ROOM:
                top -= 1
                words[top] = np.uint32(x & _MASK)
                x >>= _WORD
            whole = x // width
            state[lane] = (whole << _SHIFT) + (x - whole * width) + np.uint64(starts[place + lane])
    return top


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
