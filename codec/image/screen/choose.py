"""Which parts of a tile are coded as a screen, and which by the learned model.

Both are charged bits + lambda * squared error. What the screen coder needs is measured, block by
block, on the blocks that look worth trying: those with pixels that equal a neighbour or continue a
plane. What the model needs is estimated from a block's cosine transform by reverse water-filling
(Cover and Thomas, "Elements of Information Theory", section 10.3): a coefficient below the error
allowed is lost, another costs the logarithm of its size. That knows nothing of a model but its
multiplier.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laconic.codec.image.screen.colours import reduced
from laconic.codec.image.screen.pixels import BLOCK
from laconic.codec.image.screen.tile import Colours, Layer, Mask, blocks_of, encode_tile, pixels_of

EQUAL = 40  # pixels of a block that equal a neighbour and make it worth trying
PLANE = 40  # ... or continue a plane to within a level, in tiles that are full of such blocks
FEW = 0.02  # share of blocks worth trying below which a tile is a photograph
GAIN = 0.05  # of a tile's cost that a shared layer has to save
MANY = 0.4  # share above which all of a tile is tried
WORSE = 1.25  # what the model costs, by that of an ideal transform coder
SIGNIFICANT = 1.5  # bits of a coefficient that is not lost, beyond its size
SIDE = 2.0  # bits that a block costs whose neighbour is coded otherwise
MODEL = 1500.0  # bits that the model costs a tile at least


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
    if trying.mean() > MANY:
        trying = np.ones_like(trying)
    trial = _coded(colours, trying, multiplier, gray)
    whole = trial if trying.all() else None
    costs = WORSE * _model_costs(colours, multiplier)
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
