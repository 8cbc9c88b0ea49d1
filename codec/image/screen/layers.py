"""Layers of a screen tile, and the choice among them by rate and distortion.

Which parts of a tile are coded as a screen, and which by the learned model.

Both are charged bits + lambda * squared error. What the screen coder needs is measured, block by
block, on the blocks that look worth trying: those with pixels that equal a neighbour or continue a
plane. What the model needs is estimated from a block's cosine transform by reverse water-filling
(Cover and Thomas, "Elements of Information Theory", section 10.3): a coefficient below the error
allowed is lost, another costs the logarithm of its size. That knows nothing of a model but its
multiplier.

The parts of an image that are coded as screens, tile by tile, beside the model's latents.

A tile's payload from version 2 on: a byte of flags (bit 0 an exact part, bit 1 a latent, from
version 4 on bit 2 a filter), the exact part after its length as a varint, the filter
(``postfilter.py``), the latent.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.image import postfilter
from laconic.codec.image.header import Box, Grid
from laconic.codec.image.screen.colours import packed, reduced, unpacked
from laconic.codec.image.screen.pixels import BLOCK
from laconic.codec.image.screen.tile import (
    Colours,
    Layer,
    Mask,
    blocks_of,
    decode_tile,
    encode_tile,
    pixels_of,
)
from laconic.entropy import SymbolCheck
from laconic.formats.errors import FormatError
from laconic.formats.frame import read_varint, write_varint
from laconic.formats.image import Image

EQUAL = 40  # pixels of a block that equal a neighbour and make it worth trying
PLANE = 40  # ... or continue a plane to within a level, in tiles that are full of such blocks
FEW = 0.02  # share of blocks worth trying below which a tile is a photograph
GAIN = 0.05  # of a tile's cost that a shared layer has to save
MANY = 0.4  # share above which all of a tile is tried
LARGE = 1024  # blocks of a tile of which a part is tried first: every so many rows of them,
APART = 4
FAR = 0.25  # ... and the rest, unless they need that share more than the model,
LITTLE = 0.075  # and blocks that need less save no more than that share
WORSE = 1.25  # what the model costs, by that of an ideal transform coder
SIGNIFICANT = 1.5  # bits of a coefficient that is not lost, beyond its size
SIDE = 2.0  # bits that a block costs whose neighbour is coded otherwise
MODEL = 1500.0  # bits that the model costs a tile at least
_LAYER, _LATENT, _FILTER = 1, 2, 4


def worth_trying(colours: Colours) -> Mask:
    """Blocks with many predictable pixels, and those around them."""
    padded = np.pad(colours, ((1, 0), (1, 0)), constant_values=-1)
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    equal = (colours == left) | (colours == above)
    plane = np.ones(colours.shape, bool)
    for shift in (0, 8, 16):
        bent = (colours >> shift & 255) - (left >> shift & 255)
        bent += (corner >> shift & 255) - (above >> shift & 255)
        plane &= np.abs(bent) <= 1
    good = _per_block(equal) >= EQUAL
    smooth = _per_block(plane | equal) >= PLANE
    if smooth.mean() > MANY:
        good |= smooth
    if good.mean() < FEW:
        return np.zeros(good.shape, np.uint8)
    wide = np.pad(good, 1)
    near = sum(
        wide[y : y + good.shape[0], x : x + good.shape[1]] for y in range(3) for x in range(3)
    )
    return (np.asarray(near) > 0).astype(np.uint8)


class Choice(NamedTuple):
    """What is coded as a screen, and the whole tile so coded where that was tried."""

    layer: Layer | None
    whole: Layer | None


def choose_layer(colours: Colours, trying: Mask, multiplier: float, gray: bool) -> Choice:
    """The blocks of a tile that are probably better coded as a screen."""
    if not trying.any():
        return Choice(None, None)
    costs = WORSE * _model_costs(colours, multiplier)
    if trying.mean() > MANY:
        trying = np.ones_like(trying)
        if trying.size >= LARGE and _hopeless(colours, costs, multiplier, gray):
            return Choice(None, None)
    trial = _coded(colours, trying, multiplier, gray)
    whole = trial if trying.all() else None
    gain = costs - _costs(colours, trial, multiplier)
    gain[trying == 0] = -math.inf
    mask = _smoothed(gain)
    if whole is not None and gain[mask == 0].sum() > -MODEL:
        return Choice(whole, whole)
    if not mask.any() or gain[mask == 1].sum() < GAIN * costs.sum():
        return Choice(None, whole)
    if (mask == trying).all():
        return Choice(trial, whole)
    return Choice(_coded(colours, mask, multiplier, gray), whole)


def _hopeless(colours: Colours, costs: NDArray[np.float64], multiplier: float, gray: bool) -> bool:
    """Whether the screen coder needs more than ``costs`` for every ``APART``-th row of blocks, and
    saves little in single blocks: so it does on photographs. Screens with a photograph that fills
    most of them save 0.12 and more."""
    some = np.zeros(costs.shape, np.uint8)
    some[APART // 2 :: APART] = 1
    gain = (costs - _costs(colours, _coded(colours, some, multiplier, gray), multiplier))[some == 1]
    model = costs[some == 1].sum()
    return bool(gain.sum() < -FAR * model and gain[gain > 0].sum() < LITTLE * model)


def _coded(colours: Colours, mask: Mask, multiplier: float, gray: bool) -> Layer:
    where = pixels_of(mask, colours.shape)
    return encode_tile(reduced(colours, where, multiplier), mask, gray)


def cost_of(colours: Colours, layer: Layer, multiplier: float) -> float:
    """Bits + lambda * error of what a layer codes of a tile."""
    costs = _costs(colours, layer, multiplier)[layer.mask == 1]
    return float(costs.sum() - layer.bits.sum()) + 8 * len(layer.stream)


def _costs(colours: Colours, layer: Layer, multiplier: float) -> NDArray[np.float64]:
    """Bits + lambda * error of each block as the screen coder left it."""
    errors = np.zeros(colours.shape)
    for shift in (0, 8, 16):
        errors += ((colours >> shift & 255) - (layer.colours >> shift & 255)) ** 2
    costs: NDArray[np.float64] = layer.bits + multiplier / 3 * _per_block(errors)
    return costs


def _model_costs(colours: Colours, multiplier: float) -> NDArray[np.float64]:
    """The same of a transform coder of ideal steps, which the model is taken to equal."""
    blocks = _transformed(colours)
    allowed = 3 / (2 * math.log(2) * multiplier)  # where another bit is worth its error
    energy = blocks**2
    spent = 0.5 * np.log2(np.maximum(energy / allowed, 1)) + SIGNIFICANT + 0.5 / math.log(2)
    costs: NDArray[np.float64] = np.minimum(energy * (multiplier / 3), spent).sum((-1, -2, -3))
    return costs


def _transformed(colours: Colours) -> NDArray[np.float32]:
    """Cosine transform of all blocks but their means, in an orthonormal luma and two chromas."""
    rows, columns = blocks_of(colours.shape)
    padding = ((0, rows * BLOCK - colours.shape[0]), (0, columns * BLOCK - colours.shape[1]))
    whole = np.pad(colours, padding, mode="edge")
    levels = np.stack([(whole >> shift & 255).astype(np.float32) for shift in (16, 8, 0)])
    rotation = np.array(((1, 1, 1), (1, 0, -1), (1, -2, 1)), np.float32)
    rotation /= np.linalg.norm(rotation, axis=1, keepdims=True)
    place = np.arange(BLOCK)
    cosines = np.cos(np.pi * (2 * place[None] + 1) * place[:, None] / (2 * BLOCK))
    cosines *= np.where(place[:, None], math.sqrt(2 / BLOCK), math.sqrt(1 / BLOCK))
    basis = cosines.astype(np.float32)
    planes = np.tensordot(rotation, levels, 1).reshape(3, rows, BLOCK, columns, BLOCK)
    blocks: NDArray[Any] = basis @ planes.transpose(1, 3, 0, 2, 4) @ basis.T
    blocks[..., 0, 0] = 0
    return blocks


def _smoothed(gain: NDArray[np.float64]) -> Mask:
    """The mask of most gain when blocks cost ``SIDE`` for each neighbour that differs; by
    iterated conditional modes (Besag, 1986)."""
    mask = gain > 0
    for _ in range(3):
        wide = np.pad(mask.astype(np.float64), 1, mode="edge")
        around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
        mask = gain + SIDE * (2 * around - 4) > 0
    return mask.astype(np.uint8)


def _per_block(plane: NDArray[Any]) -> Any:
    """Sums over blocks."""
    rows, columns = blocks_of(plane.shape)
    padding = ((0, rows * BLOCK - plane.shape[0]), (0, columns * BLOCK - plane.shape[1]))
    whole = np.pad(plane.astype(np.float64), padding)
    return whole.reshape(rows, BLOCK, columns, BLOCK).sum((1, 3))


def filled(levels: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """``levels`` [H, W, C] with the pixels that are not ``known`` made smooth: means of the known
    ones around, of ever larger squares the further these are."""
    if known.all():
        return levels
    if not known.any():
        return np.full_like(levels, 0.5)
    height, width = known.shape
    sums = np.where(known[..., None], levels, 0)
    weights = known.astype(np.float32)
    small, count = _halved(sums), _halved(weights[..., None])[..., 0]
    means = small / np.maximum(count, 1e-9)[..., None]
    coarse = filled(means.astype(np.float32), count > 0)
    fine = np.repeat(np.repeat(coarse, 2, 0), 2, 1)[:height, :width]
    soft: NDArray[Any] = np.pad(fine, ((1, 1), (1, 1), (0, 0)), mode="edge")
    soft = (soft[:-2, 1:-1] + soft[2:, 1:-1] + soft[1:-1, :-2] + soft[1:-1, 2:]) / 4
    return np.where(known[..., None], levels, soft).astype(np.float32)


def _halved(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums over squares of 2 x 2."""
    padded = np.pad(plane, ((0, plane.shape[0] & 1), (0, plane.shape[1] & 1), (0, 0)))
    return padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]


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
        """Whether all pixels of a part of the image are coded as a screen."""
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


def pack_layer(layer: Layer | None, latent: bool, chosen: postfilter.Chosen | None) -> bytes:
    """What goes before a tile's latent; ``chosen`` is its filter, if any."""
    flags = _LAYER * (layer is not None) | _LATENT * latent | _FILTER * (chosen is not None)
    exact = b"" if layer is None else write_varint(len(layer.stream)) + layer.stream
    return bytes([flags]) + exact + (b"" if chosen is None else postfilter.pack(chosen))


class Parts(NamedTuple):
    """What a tile's payload holds."""

    layer: Layer | None = None  # the exact part
    chosen: postfilter.Chosen | None = None  # the filter
    latent: bytes | None = None


def unpack_layer(
    payload: bytes, shape: tuple[int, int], gray: bool, filtered: bool = False
) -> Parts:
    """Inverse of :func:`pack_layer` for a tile [H, W]; ``filtered`` says whether there may be a
    filter.

    Raises ``FormatError``.
    """
    possible = (1, 2, 3, 6, 7) if filtered else (1, 2, 3)
    if not payload or payload[0] not in possible:
        raise FormatError("a tile says that it holds nothing, or something unknown: it is damaged")
    flags, offset, layer, chosen = payload[0], 1, None, None
    if flags & _LAYER:
        length, offset = read_varint(payload, offset)
        if length > len(payload) - offset:
            raise FormatError("the exact part of a tile is truncated")
        layer = decode_tile(payload[offset : offset + length], shape, gray)
        offset += length
    if flags & _FILTER:
        chosen, offset = postfilter.unpack(payload, offset)
    if flags & _LATENT:
        return Parts(layer, chosen, payload[offset:])
    if offset != len(payload) or layer is None or not layer.mask.all():
        raise FormatError("a tile without a latent has something after it or gaps: it is damaged")
    return Parts(layer)


def update_check(check: SymbolCheck, layer: Layer) -> None:
    """Add the mask and the colours of an exact part to the check of a tile."""
    check.update(layer.mask)
    check.update(layer.colours)
