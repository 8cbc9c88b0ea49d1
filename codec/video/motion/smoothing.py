"""The filter in the loop: a small network of one layer, fitted to the chunk by least squares.

A sample moves towards samples around it by learned shares of its differences from them, which are
clipped at a part of the step: small ones are noise of quantisation, large ones belong to the
picture. Shares differ by kind of frame; two more inputs are differences across the edges of
transforms. Frames are predicted from filtered frames, so only blocks with coefficients are
filtered: the others are as smooth as what they come from.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion.blocks import BLOCK, CELL, widened
from laconic.codec.video.motion.field import FrameCode
from laconic.codec.video.motion.mixing import Coder, Model, code_numbers

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LUMA = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
CHROMA = ((0, 1), (1, 0), (0, 4), (4, 0))
INPUTS = len(LUMA) + 2
KINDS = 3  # frame 0, key frames, the others
UNIT = 64  # of a share in a file
LARGEST = 31
REACH = 0.4  # of a clipped difference, in steps
RIDGE = 40.0  # of shares, in squared differences at the clip
SHAPE = (2 * KINDS, INPUTS)  # first plane, then the others


def kind_of(layer: int) -> int:
    """Kind of a frame by its layer."""
    return min(layer, KINDS - 1)


def coded_maps(code: FrameCode) -> tuple[Tensor, Tensor]:
    """Blocks ``[h, w]`` with coefficients of the first plane, and of the others."""
    h, w = code.modes.shape
    luma = (code.luma != 0).any(2).reshape(h, 2, w, 2).any((1, 3))
    chroma = (code.chroma != 0).any((0, 3))
    return torch.from_numpy(luma), torch.from_numpy(chroma)


def inputs_of_luma(plane: Tensor, code: FrameCode, step: float) -> Tensor:
    """Clipped differences ``[INPUTS, H, W]``."""
    around = [_pair(plane, dy, dx, step) for dy, dx in LUMA]
    wide = widened(torch.from_numpy(code.quarters != 0))
    for axis in range(2):
        size = plane.shape[axis]
        place = torch.arange(size)
        shape = (-1, 1) if axis == 0 else (1, -1)
        outer = ((place % BLOCK == 0) | (place % BLOCK == BLOCK - 1)).view(shape)
        inner = ((place % CELL == 0) | (place % CELL == CELL - 1)).view(shape)
        first = (place % CELL == 0).view(shape)
        back, forth = _side(plane, axis, -1), _side(plane, axis, 1)
        off = (torch.where(first, back, forth) - plane).clamp_(-REACH * step, REACH * step)
        around.append(off * (outer | (inner & wide)))
    return torch.stack(around)


def inputs_of_chroma(planes: Tensor, step: float) -> Tensor:
    """Clipped differences ``[4, 2, H, W]``."""
    return torch.stack([_pair(planes, dy, dx, step) for dy, dx in CHROMA])


def smoothed(planes: Tensor, code: FrameCode, layer: int, step: float, shares: Ints) -> Tensor:
    """Filtered planes ``[3, H, W]``; ``shares`` as of `Normal.shares`."""
    kind = kind_of(layer)
    own, other = shares[kind], shares[KINDS + kind, : len(CHROMA)]
    if not own.any() and not other.any():
        return planes
    maps = coded_maps(code)
    out = planes
    if own.any() and bool(maps[0].any()):
        inputs = inputs_of_luma(planes[0], code, step)
        moved = torch.einsum("k,khw->hw", torch.from_numpy(own / UNIT).float(), inputs)
        out = torch.cat([(planes[0] + moved * widened(maps[0]))[None], planes[1:]])
    if other.any() and bool(maps[1].any()):
        inputs = inputs_of_chroma(planes[1:], step)
        moved = torch.einsum("k,kchw->chw", torch.from_numpy(other / UNIT).float(), inputs)
        out = torch.cat([out[:1], planes[1:] + moved * widened(maps[1])])
    return out


class Normal:
    """Normal equations of the shares, gathered over frames."""

    def __init__(self) -> None:
        self.products = np.zeros((SHAPE[0], INPUTS, INPUTS))
        self.wanted = np.zeros(SHAPE)

    def add(self, planes: Tensor, target: Tensor, code: FrameCode, layer: int, step: float) -> None:
        """A frame before the filter, and what it should have been; differences in steps."""
        kind = kind_of(layer)
        missing = (target - planes) / step
        coded = [widened(m) for m in coded_maps(code)]
        x = inputs_of_luma(planes[0], code, step)[:, coded[0]] / step
        self.products[kind] += (x @ x.T).double().numpy()
        self.wanted[kind] += (x @ missing[0][coded[0]]).double().numpy()
        x = inputs_of_chroma(planes[1:], step)[..., coded[1]].flatten(1) / step
        n = len(CHROMA)
        self.products[KINDS + kind, :n, :n] += (x @ x.T).double().numpy()
        self.wanted[KINDS + kind, :n] += (x @ missing[1:][:, coded[1]].flatten()).double().numpy()

    def shares(self) -> Ints:
        """Best shares ``SHAPE`` in 1 / ``UNIT``."""
        ridge = RIDGE * REACH**2 * np.eye(INPUTS)
        found = np.linalg.solve(self.products + ridge, self.wanted[..., None])[..., 0]
        return np.clip(np.rint(UNIT * found), -LARGEST, LARGEST).astype(np.int64)


def code_shares(coder: Coder, given: Ints | None) -> Ints:
    """Code shares, or read them."""
    models = [Model((INPUTS,)) for _ in range(7)]
    place = np.tile(np.arange(INPUTS), SHAPE[0])[None]
    out = np.zeros(SHAPE, np.int64)
    for row in range(SHAPE[0]):
        at = place[:, row * INPUTS : (row + 1) * INPUTS]
        values = None if given is None else given[row]
        out[row] = code_numbers(coder, models, values, at, LARGEST)
    return out


def _side(plane: Tensor, axis: int, by: int) -> Tensor:
    """The plane moved by one sample along an axis, its edge repeated."""
    size = plane.shape[axis]
    index = (torch.arange(size) + by).clamp(0, size - 1)
    return plane.index_select(axis, index)


def _pair(planes: Tensor, dy: int, dx: int, step: float) -> Tensor:
    """Clipped differences from the samples on both sides ``[..., H, W]``."""
    rows, columns = planes.shape[-2:]
    flat = planes.view(-1, 1, rows, columns)
    x, y = abs(dx), abs(dy)
    padded = F.pad(flat, (x, x, y, y), mode="replicate").view(*planes.shape[:-2], rows + 2 * y, -1)
    reach = REACH * step
    one = padded[..., y + dy : y + dy + rows, x + dx : x + dx + columns] - planes
    two = padded[..., y - dy : y - dy + rows, x - dx : x - dx + columns] - planes
    return one.clamp_(-reach, reach) + two.clamp_(-reach, reach)
