"""A tile of the screen coder: colours in, bytes out, and back.

Colours are whole numbers 0xRRGGBB. A stream holds the mask of blocks of 8 x 8 pixels that it codes
and their pixels in row-major order (``pixels.py``); the others are left to the learned model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.image.screen.colours import PLACE, finish_coder, odds_tables, start_coder
from laconic.codec.image.screen.pixels import (
    BLOCK,
    FLAG_INPUTS,
    FLAG_SETS,
    MEMORIES,
    MORE_SETS,
    NONE,
    PAD,
    SPELL_INPUTS,
    SPELL_SETS,
    walk,
)
from laconic.formats.errors import FormatError

Colours = NDArray[np.int32]  # [H, W]
Mask = NDArray[np.uint8]  # [H / 8, W / 8], rounded up: 1 where pixels are coded
_WEIGHT = 20000  # of each input at first, of 2^16
_PLACES = 18  # logarithm of the most places for contexts


class Layer(NamedTuple):
    """A coded tile: its stream, what it decodes to where ``mask`` is set, bits of each block."""

    stream: bytes
    colours: Colours
    mask: Mask
    bits: NDArray[np.float64]

    @property
    def coded(self) -> NDArray[np.bool_]:
        """The pixels that it holds, [H, W]."""
        return pixels_of(self.mask, self.colours.shape)


def blocks_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of blocks of a tile."""
    return -(-shape[0] // BLOCK), -(-shape[1] // BLOCK)


def pixels_of(mask: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of blocks as one of pixels."""
    wide = np.repeat(np.repeat(mask.astype(bool), BLOCK, 0), BLOCK, 1)
    return np.ascontiguousarray(wide[: shape[0], : shape[1]])


def encode_tile(colours: Colours, mask: Mask, gray: bool) -> Layer:
    """Codes the pixels of the blocks in ``mask`` exactly; ``gray``: red, green and blue are
    equal."""
    coder, data = np.zeros(6, np.int64), np.zeros(5 * colours.size + mask.size + 64, np.uint8)
    start_coder(0, data, coder)
    mask = mask.copy()
    image, bits = _walk(0, colours, colours.shape, mask, gray, data, coder)
    size = finish_coder(data, coder)
    return Layer(data[:size].tobytes(), image, mask, bits)


def decode_tile(stream: bytes, shape: tuple[int, ...], gray: bool) -> Layer:
    """Inverse of :func:`encode_tile`; raises ``FormatError`` for a stream that is too long.

    Time and memory depend on the size of the tile alone.
    """
    coder, data = np.zeros(6, np.int64), np.frombuffer(stream, np.uint8).copy()
    start_coder(1, data, coder)
    mask = np.ones(blocks_of(shape), np.uint8)
    none = np.zeros((1, 1), np.int32)
    image, bits = _walk(1, none, shape, mask, gray, data, coder)
    if len(stream) > coder[PLACE] or stream.endswith(b"\0"):
        raise FormatError("the exact part of a tile is longer than its pixels: it is damaged")
    return Layer(stream, image, mask, bits)


def _walk(
    decoding: int,
    true: Colours,
    shape: tuple[int, ...],
    mask: Mask,
    gray: bool,
    data: NDArray[np.uint8],
    coder: NDArray[np.int64],
) -> tuple[Colours, NDArray[np.float64]]:
    height, width = shape
    image = np.full((height + 2, width + 2 * PAD), 0xFFFFFF, np.int32)
    how = np.full(image.shape, NONE, np.int64)
    places = 1 << min(_PLACES, max(10, (2 * height * width - 1).bit_length()))
    memory = np.full((MEMORIES, places // 2, 3), -1, np.int32)
    # Probability - 1/2, a part of the context's hash, how often it was seen: 16, 10 and 6 bits.
    cells = np.zeros((16 + SPELL_INPUTS, places), np.int32)
    weights, letters, more = (
        np.full((sets, inputs), _WEIGHT, np.int64)
        for sets, inputs in (
            (FLAG_SETS, FLAG_INPUTS),
            (SPELL_SETS, SPELL_INPUTS),
            (MORE_SETS, max(FLAG_INPUTS, SPELL_INPUTS)),
        )
    )
    spent = np.zeros(mask.shape, np.int64)
    walk(
        decoding, int(gray), true, image, mask, how, memory, cells, weights, letters, more,
        *odds_tables(), spent, data, coder,
    )  # fmt: skip
    return np.ascontiguousarray(image[2:, PAD : PAD + width]), spent / 256
