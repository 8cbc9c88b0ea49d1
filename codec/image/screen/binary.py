"""Binary decisions with mixed contexts, in integers: what the screen coder is made of.

Each context of a decision remembers a probability and how often it was seen. Their logarithms of
odds are weighted by small linear mixers that learn from every decision (Mahoney, "Adaptive weighing
of context models for lossless data compression", 2005), and the result drives a binary range coder.
Tables come from integer recurrences, so that every machine computes the same; plain loops, compiled
by ``entropy/jit.py``.
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
