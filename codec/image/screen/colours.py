"""Binary decisions with mixed contexts, in integers: what the screen coder is made of.

Each context of a decision remembers a probability and how often it was seen. Their logarithms of
odds are weighted by small linear mixers that learn from every decision (Mahoney, "Adaptive weighing
of context models for lossless data compression", 2005), and the result drives a binary range coder.
Tables come from integer recurrences, so that every machine computes the same; plain loops, compiled
by ``entropy/jit.py``.

Colours of screens: packing, and fewer of them where that is worth its error.

What makes text and drawings expensive is the number of shades along smoothed edges. For a
Lagrangian multiplier, a rare colour becomes its nearest frequent neighbour where the error counts
less than the bits it saves: some for a colour that need not be introduced, some for each of its
pixels that cannot be copied from the left or from above. The map is one for a whole tile, so that
letters which were equal stay equal, and large areas, which cost next to nothing, keep their colour.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.entropy.jit import jit

Ints = NDArray[np.int64]
HALF = 1 << 15  # probabilities are of 2^16
ODDS = 256  # logarithms of odds are in 1/256
TOP = 12 * ODDS - 1  # largest after mixing
LOW, HIGH, PLACE, CODE, BITS, SIZE = range(6)  # fields of a coder's state
_UNIT = 1 << 40


@lru_cache(maxsize=1)
def odds_tables() -> tuple[Ints, Ints, Ints, Ints]:
    """``squash`` [2 TOP + 1] from odds + TOP to probabilities, ``stretch`` [4096] back from
    probability / 16, bits [4096] in 1/256 of probability / 16, and rates [256] by number of
    observations."""
    step, power = 1103829014519, _UNIT  # e^(1/256) of 2^40
    upper = []
    for _ in range(TOP + 1):
        upper.append((power << 16) // (power + _UNIT))
        power = power * step >> 40
    half = np.array(upper, np.int64)
    squash = np.concatenate((65536 - half[:0:-1], half))
    squash = np.clip(squash, 1, 65535)
    stretch = np.searchsorted(squash, np.arange(4096) * 16 + 8).astype(np.int64) - TOP
    cost = np.rint(-256 * np.log2((np.arange(4096) + 0.5) / 4096)).astype(np.int64)
    rates = np.array([65536 * 2 // (2 * n + 3) for n in range(256)], np.int64)
    return squash, stretch, cost, rates


@jit
def start_coder(decoding: int, data: Any, coder: Any) -> None:
    """A fresh range coder; a decoder reads its first four bytes. ``coder`` is int64 [6]."""
    coder[LOW], coder[HIGH], coder[PLACE], coder[CODE], coder[BITS] = 0, 0xFFFFFFFF, 0, 0, 0
    coder[SIZE] = data.size
    if decoding:
        for _ in range(4):
            byte = data[coder[PLACE]] if coder[PLACE] < coder[SIZE] else 0
            coder[CODE] = coder[CODE] << 8 | byte
            coder[PLACE] += 1


@jit
def finish_coder(data: Any, coder: Any) -> int:
    """The fewest bytes that say where the encoder ended; returns the length of the stream."""
    low, high, place = coder[LOW], coder[HIGH], coder[PLACE]
    if low > 0:
        for kept in range(1, 5):
            unit = 1 << 32 - 8 * kept
            value = (low + unit - 1) // unit * unit
            if value <= high:
                for n in range(kept):
                    if place < coder[SIZE]:
                        data[place] = value >> 24 - 8 * n & 0xFF
                    place += 1
                break
    while 0 < place <= coder[SIZE] and data[place - 1] == 0:
        place -= 1
    return place


INTRODUCED = 8.0  # bits that a colour costs once
USED = 0.5  # bits of each pixel of a rare colour beyond those of a frequent one
PALETTE = 1024  # colours that others may become


def packed(pixels: NDArray[Any]) -> NDArray[np.int32] | None:
    """Samples [H, W, 1 or 3] as colours [H, W]; None for 16 bits that are not 8 bits repeated."""
    if pixels.dtype == np.uint16:
        high = pixels >> 8
        if not np.array_equal(high * np.uint16(257), pixels):
            return None
        pixels = high
    levels = pixels.astype(np.int32)
    red, green, blue = (levels[..., c % levels.shape[2]] for c in range(3))
    colours: NDArray[np.int32] = red << 16 | green << 8 | blue
    return colours


def unpacked(colours: NDArray[np.int32], channels: int, dtype: Any) -> NDArray[Any]:
    """Inverse of :func:`packed`."""
    shifts = np.array((16, 8, 0)[:channels], np.int32)
    levels = colours[..., None] >> shifts & 255
    return (levels * (257 if dtype == np.uint16 else 1)).astype(dtype)


def reduced(colours: NDArray[np.int32], where: NDArray[np.bool_], multiplier: float) -> Any:
    """``colours`` [H, W] with fewer different ones among the pixels in ``where``; others stay.

    ``multiplier`` is lambda of bits + lambda * squared error of 8 bits, averaged over channels.
    """
    found, number, uses = np.unique(colours[where], return_inverse=True, return_counts=True)
    fresh = np.ones(colours.shape, bool)
    fresh[1:] = colours[1:] != colours[:-1]
    fresh[:, 1:] |= colours[:, 1:] != colours[:, :-1]
    edges = np.bincount(number[fresh[where]], minlength=found.size)
    worth = (INTRODUCED + USED * edges) / np.maximum(uses, 1) * 3 / multiplier
    order = np.argsort(-uses, kind="stable")
    levels = np.stack((found >> 16, found >> 8 & 255, found & 255), 1).astype(np.int64)
    become = _merge(order, levels, np.minimum(worth, 1 << 20).astype(np.int64), PALETTE)
    out = colours.copy()
    out[where] = found[become][number]
    return out


@jit
def _merge(order: Any, levels: Any, worth: Any, most: int) -> Any:
    """Which colour each becomes: the nearest more frequent one that stays, if it is near enough."""
    become, kept, count = np.arange(order.size), np.zeros(most, np.int64), 0
    for n in range(order.size):
        i = order[n]
        best, nearest = 1 << 40, -1
        for k in range(count):
            j = kept[k]
            r, g, b = (
                levels[i, 0] - levels[j, 0],
                levels[i, 1] - levels[j, 1],
                levels[i, 2] - levels[j, 2],
            )
            error = r * r + g * g + b * b
            if error < best:
                best, nearest = error, j
        if nearest >= 0 and best < worth[i]:
            become[i] = nearest
        elif count < most:
            kept[count] = i
            count += 1
    return become
