"""The filter in the loop: a small network of one layer that the encoder fitted to the chunk.

A sample moves towards samples around it by learned shares of its differences from them, which are
clipped at a part of the step: small ones are noise of quantisation, large ones belong to the
image. Shares differ by kind of frame; two more inputs are differences across the edges of
transforms. Frames are predicted from filtered frames, so only blocks with coefficients are
filtered: the others are as smooth as what they come from.

From the numbers of a frame and its references to its planes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion1.field import NONE, SECOND, FrameCode
from laconic.codec.video.motion1.mixing import Model, Reader, read_numbers
from laconic.codec.video.motion1.warp import (
    BLOCK,
    CELL,
    Reference,
    chroma_planes,
    luma_plane,
    smooth_from_means,
    widened,
)

Ints = NDArray[np.int64]

LUMA = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
CHROMA = ((0, 1), (1, 0), (0, 4), (4, 0))
INPUTS = len(LUMA) + 2
KINDS = 3  # frame 0, key frames, the others
UNIT = 64  # of a share in a file
LARGEST = 31
REACH = 0.4  # of a clipped difference, in steps
SHAPE = (2 * KINDS, INPUTS)  # first plane, then the others
STEPS_PER_OCTAVE, OFFSETS_PER_OCTAVE = 32, 8
SHIFTS = 32  # units of the shift of reconstructed codes towards zero


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
    """Filtered planes ``[3, H, W]``; ``shares`` as of `read_shares`."""
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


def read_shares(reader: Reader) -> Ints:
    """Shares ``SHAPE`` in 1 / ``UNIT``."""
    models = [Model((INPUTS,)) for _ in range(7)]
    place = np.tile(np.arange(INPUTS), SHAPE[0])[None]
    out = np.zeros(SHAPE, np.int64)
    for row in range(SHAPE[0]):
        at = place[:, row * INPUTS : (row + 1) * INPUTS]
        out[row] = read_numbers(reader, models, at, LARGEST)
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


@dataclass(frozen=True)
class Scale:
    """Steps and reconstruction points.

    Attributes:
        step: index of the step of layer 0, which is 2^(index / 32).
        offsets: of each further layer, in eighths of an octave; the last one is for all deeper.
        shifts: for codes of one and for larger ones, of frame 0 and of the others, in
            1 / ``SHIFTS`` of a step towards zero.
    """

    step: int
    offsets: tuple[int, ...]
    shifts: tuple[int, int, int, int]

    def of(self, layer: int) -> float:
        """Step of a layer."""
        extra = self.offsets[min(layer, len(self.offsets)) - 1] if layer else 0
        return float(2.0 ** (self.step / STEPS_PER_OCTAVE + extra / OFFSETS_PER_OCTAVE))

    def values(self, codes: NDArray[np.int64], layer: int) -> Tensor:
        """Coefficients of codes."""
        q = torch.from_numpy(codes)
        ones, more = self.shifts[2:] if layer else self.shifts[:2]
        size = q.abs()
        off = torch.where(size == 1, ones / SHIFTS, more / SHIFTS)
        return torch.where(size > 0, q.sign() * (size - off), 0.0).float() * self.of(layer)


def mean_planes(means: NDArray[np.int64], step: float, smooth: bool) -> Tensor:
    """Planes ``[3, 16 h, 16 w]`` of codes of block means ``[3, h, w]``."""
    values = torch.from_numpy(means).float() * (step / BLOCK)
    if smooth:
        return smooth_from_means(values)
    return widened(values)


def predict(code: FrameCode, refs: list[Reference], step: float) -> Tensor:
    """Prediction ``[3, H, W]``: displaced references, their mean, or block means."""
    if not refs:
        return mean_planes(code.means, step, True)
    wide = widened(torch.from_numpy(code.modes))
    out = first = refs[0].moved(code.vectors[0])
    if bool((code.modes != 1).any()):
        second = refs[1].moved(code.vectors[1])
        out = torch.where(wide == 0, (first + second) / 2, first)
        out = torch.where(wide == SECOND, second, out)
    if bool((code.modes == NONE).any()):
        out = torch.where(wide == NONE, mean_planes(code.means, step, False), out)
    return out


def residual(code: FrameCode, scale: Scale, layer: int) -> Tensor:
    """What codes add to the prediction ``[3, H, W]``."""
    quarters = torch.from_numpy(code.quarters != 0)
    luma = luma_plane(scale.values(code.luma, layer), quarters)
    if not code.chroma.any():
        return torch.cat([luma[None], luma.new_zeros(2, *luma.shape)])
    return torch.cat([luma[None], chroma_planes(scale.values(code.chroma, layer))])


def decoded(
    code: FrameCode, refs: list[Reference], scale: Scale, layer: int, shares: NDArray[np.int64]
) -> Tensor:
    """The planes of a frame ``[3, H, W]``, filtered."""
    step = scale.of(layer)
    plain = predict(code, refs, step) + residual(code, scale, layer)
    return smoothed(plain, code, layer, step, shares)
