"""The parts of a picture that are coded as screens, tile by tile, beside the model's latents.

A tile's payload in version 2: a byte of flags (bit 0 an exact part, bit 1 a latent), the exact
part after its length as a varint, the latent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from laconic.codec.image.screen.choose import choose_layer, cost_of, filled, worth_trying
from laconic.codec.image.screen.colours import packed, unpacked
from laconic.codec.image.screen.tile import Layer, decode_tile
from laconic.codec.image.tiles import Box, Grid
from laconic.entropy import SymbolCheck
from laconic.formats.errors import FormatError
from laconic.formats.image import Image
from laconic.formats.varint import read_varint, write_varint

_LAYER, _LATENT = 1, 2


class ScreenLayers:
    """What an encoder codes as a screen, at one quality after another.

    Attributes:
        layers: of each tile, or None.
        wholes: of tiles that have been tried as a whole; what is cheaper has to be measured.
        neutral: red, green and blue are equal everywhere.
        gray: they are, or there is one channel only.
    """

    def __init__(self, image: Image, grid: Grid) -> None:
        pixels = image.pixels
        self.grid = grid
        self.whole = Box(0, 0, image.width, image.height)
        self.neutral = image.channels == 3 and bool(
            np.array_equal(pixels[..., 0], pixels[..., 1])
            and np.array_equal(pixels[..., 1], pixels[..., 2])
        )
        self.gray = self.neutral or image.channels == 1
        self.colours = packed(pixels)
        self.trying = [self._trying(n) for n in range(len(grid))]
        self.layers: list[Layer | None] = [None] * len(grid)
        self.wholes: list[Layer | None] = [None] * len(grid)

    def choose(self, multiplier: float) -> None:
        """Decide for all tiles; ``multiplier`` is lambda of bits + lambda * squared error."""
        for number in range(len(self.grid)):
            trying = self.trying[number]
            if trying is not None and self.colours is not None:
                colours = self.colours[self._at(number)]
                choice = choose_layer(colours, trying, multiplier, self.gray)
                self.layers[number], self.wholes[number] = choice

    @property
    def tried(self) -> bool:
        """Whether some tile looks like a screen at all."""
        return any(trying is not None for trying in self.trying)

    def undecided(self) -> list[int]:
        """Tiles that both the model and the screen coder could code as a whole."""
        return [
            number
            for number, whole in enumerate(self.wholes)
            if whole is not None and self.layers[number] is not whole
        ]

    def settle(self, number: int, bits: int, samples: NDArray[Any], multiplier: float) -> bool:
        """Whether a tile stays shared, or left to the model, given what its latent costs and the
        samples that it gives; else it becomes a screen as a whole."""
        whole, layer = self.wholes[number], self.layers[number]
        assert self.colours is not None
        assert whole is not None
        colours = self.colours[self._at(number)]
        true = unpacked(colours, 3, np.uint8).astype(np.float64)
        error = ((samples.astype(np.float64) - true) ** 2).sum(-1) / 3
        shared = bits + multiplier * error.sum()
        if layer is not None:
            shared -= multiplier * error[layer.coded].sum()
            shared += cost_of(colours, layer, multiplier)
        if shared <= cost_of(colours, whole, multiplier):
            return True
        self.layers[number] = whole
        return False

    def covers(self, box: Box) -> bool:
        """Whether all pixels of a part of the picture are coded as a screen."""
        return bool(self._coded(box.cut(self.whole)).all())

    def smooth(self, levels: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
        """``levels`` [H, W, C] of padded pixels, made smooth where screens are."""
        inside = box.cut(self.whole)
        coded = self._coded(inside)
        if not coded.any():
            return levels
        beyond = ((0, box.height - inside.height), (0, box.width - inside.width))
        return filled(levels, ~np.pad(coded, beyond, mode="edge"))

    def _coded(self, box: Box) -> NDArray[np.bool_]:
        coded = np.zeros((box.height, box.width), bool)
        for number in self.grid.touching(box):
            layer = self.layers[number]
            if layer is not None:
                tile = self.grid.box(number).cut(self.whole)
                shared = tile.cut(box)
                coded[shared.within(box)] = layer.coded[shared.within(tile)]
        return coded

    def _trying(self, number: int) -> Any:
        if self.colours is None:
            return None
        trying = worth_trying(self.colours[self._at(number)])
        return trying if trying.any() else None

    def _at(self, number: int) -> tuple[slice, slice]:
        return self.grid.box(number).cut(self.whole).within(self.whole)


def pack_layer(layer: Layer | None, latent: bool) -> bytes:
    """What goes before a tile's latent."""
    flags = bytes([_LAYER * (layer is not None) | _LATENT * latent])
    return flags if layer is None else flags + write_varint(len(layer.stream)) + layer.stream


def unpack_layer(
    payload: bytes, shape: tuple[int, int], gray: bool
) -> tuple[Layer | None, bytes | None]:
    """Inverse of :func:`pack_layer` for a tile [H, W]: the exact part and the coded latent.

    Raises ``FormatError``.
    """
    if not payload or not 1 <= payload[0] <= 3:
        raise FormatError("a tile says that it holds nothing, or something unknown: it is damaged")
    flags, offset, layer = payload[0], 1, None
    if flags & _LAYER:
        length, offset = read_varint(payload, offset)
        if length > len(payload) - offset:
            raise FormatError("the exact part of a tile is truncated")
        layer = decode_tile(payload[offset : offset + length], shape, gray)
        offset += length
    if flags & _LATENT:
        return layer, payload[offset:]
    if offset != len(payload) or layer is None or not layer.mask.all():
        raise FormatError("a tile without a latent has something after it or gaps: it is damaged")
    return layer, None


def update_check(check: SymbolCheck, layer: Layer) -> None:
    """Add the mask and the colours of an exact part to the check of a tile."""
    check.update(layer.mask)
    check.update(layer.colours)
