"""A tile of the screen coder: arrays in, bytes out, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.image.screen.binary import BITS, finish_coder, odds_tables, start_coder
from laconic.codec.image.screen.pixels import (
    BLOCK,
    FLAG_INPUTS,
    FLAG_SETS,
    MEMORIES,
    MORE_SETS,
    PAD,
    SPELL_INPUTS,
    SPELL_SETS,
    walk,
)


class Coded(NamedTuple):
    """A stream, the colours it stands for [H, W], and the bits of each block."""

    data: bytes
    colours: NDArray[np.int32]
    bits: NDArray[np.float64]


def _run(decoding, lam, gray, true, mask, shape, data, coder):
    height, width = shape
    image = np.full((height + 2, width + 2 * PAD), 0xFFFFFF, np.int32)
    how = np.full(image.shape, 3, np.uint8)
    places = 1 << min(18, max(10, (2 * height * width - 1).bit_length()))
    memory = np.full((MEMORIES, places // 2, 3), -1, np.int32)
    prob = np.full((16 + SPELL_INPUTS, places), 32768, np.uint16)
    meta = np.zeros(prob.shape, np.uint16)
    weights = np.full((FLAG_SETS, FLAG_INPUTS), 20000, np.int64)
    letters = np.full((SPELL_SETS, SPELL_INPUTS), 20000, np.int64)
    more = np.full((MORE_SETS, FLAG_INPUTS), 20000, np.int64)
    spent = np.zeros(mask.shape, np.int64)
    walk(decoding, lam, gray, true, image, mask, how, memory, prob, meta, weights, letters, more,
         *odds_tables(), spent, data, coder)  # fmt: skip
    return image[2:, PAD : PAD + width], spent / 256


def encode_tile(colours, mask, lam, gray) -> Coded:
    coder = np.zeros(6, np.int64)
    data = np.zeros(colours.size * 4 + 64, np.uint8)
    start_coder(0, data, coder)
    image, bits = _run(0, lam, gray, colours, mask, colours.shape, data, coder)
    size = finish_coder(data, coder)
    return Coded(data[:size].tobytes(), image, bits)


def decode_tile(data, mask, shape, gray):
    coder = np.zeros(6, np.int64)
    array = np.frombuffer(data, np.uint8).copy()
    start_coder(1, array, coder)
    return _run(1, 0, gray, np.zeros((1, 1), np.int32), mask, shape, array, coder)[0]
