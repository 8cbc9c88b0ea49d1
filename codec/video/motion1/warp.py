"""Prediction of blocks in `motion-1`.

Images as blocks of 16 x 16 samples: colour axes, cosine transforms, and their inverses.

Three planes of full size along orthonormal axes of colour, so that squared errors of coefficients
are those of RGB samples. The first plane of a block is transformed whole or as four quarters; of
the others the 64 lowest coefficients of the block are kept. The coefficients of a whole block are
dealt out to its four cells, by the parity of their frequencies: cells look alike either way.

Prediction from decoded frames: blocks displaced by quarters of a sample.

Samples between samples come from the eight-tap filters of HEVC (Sullivan et al., 2012). A
reference keeps its sixteen displaced images where they are small, and makes them when asked for
where they are large.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BLOCK, CELL = 16, 8
BANDS = 64
AXIS = 64  # units of an axis of colour in a file
FEW_PHASES = 9  # up to so many displaced images are made one by one
KEPT_SAMPLES = 1 << 20  # of one plane; larger references keep no displaced images
_TAPS = (
    (0, 0, 0, 64, 0, 0, 0, 0),
    (-1, 4, -10, 58, 17, -5, 1, 0),
    (-1, 4, -11, 40, 40, -11, 4, -1),
    (0, 1, -5, 17, 58, -10, 4, -1),
)


def block_grid(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of blocks that cover an image."""
    return -(-rows // BLOCK), -(-columns // BLOCK)


@cache
def dct(size: int) -> Tensor:
    """Orthonormal DCT-II, ``[frequency, sample]``."""
    k, n = np.mgrid[0:size, 0:size].astype(np.float64)
    basis = np.cos(np.pi * (2 * n + 1) * k / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return torch.from_numpy(basis.astype(np.float32))


@cache
def zigzag() -> NDArray[np.int64]:
    """Order of the 64 bands: by diagonals, each from the top right."""
    places = sorted(range(BANDS), key=lambda p: (p // 8 + p % 8, p // 8))
    return np.array(places, np.int64)


@cache
def _natural() -> Tensor:
    return torch.argsort(torch.from_numpy(zigzag()))


def colour_axes(units: NDArray[np.int64]) -> Tensor:
    """Orthonormal axes ``[3, 3]`` (a row each) from two integer vectors ``[2, 3]``."""
    first, second = units.astype(np.float64)
    first = first / np.linalg.norm(first)
    second = second - (second @ first) * first
    second = second / np.linalg.norm(second)
    axes = np.stack([first, second, np.cross(first, second)])
    return torch.from_numpy(axes.astype(np.float32))


def valid_units(units: NDArray[np.int64]) -> bool:
    """Whether two vectors span a plane well enough to be axes."""
    return bool(np.linalg.norm(np.cross(units[0], units[1])) >= AXIS)


def frame_of(planes: Tensor, axes: Tensor, rows: int, columns: int) -> Tensor:
    """RGB samples ``[H, W, 3]`` uint8 of planes."""
    x = planes[:, :rows, :columns].permute(1, 2, 0) @ axes
    return ((x + 0.5) * 255).round().clamp(0, 255).byte()


def widened(blocks: Tensor) -> Tensor:
    """``[..., h, w]`` to samples ``[..., 16 h, 16 w]``."""
    return blocks.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)


def join_blocks(blocks: Tensor) -> Tensor:
    """``[h, w, 16, 16]`` to ``[16 h, 16 w]``."""
    h, w = blocks.shape[:2]
    return blocks.permute(0, 2, 1, 3).reshape(h * BLOCK, w * BLOCK)


def luma_plane(cells: Tensor, quarters: Tensor) -> Tensor:
    """Samples of cells ``[2 h, 2 w, 64]`` of the 16 x 16 transform, or of the 8 x 8 transform where
    ``quarters`` ``[h, w]`` is true."""
    r, c = cells.shape[:2]
    h, w = r // 2, c // 2
    natural = cells[..., _natural()].view(r, c, CELL, CELL)
    small, large = dct(CELL), dct(BLOCK)
    by_cell = (small.T @ natural @ small).view(h, 2, w, 2, CELL, CELL)
    by_cell = by_cell.permute(0, 2, 1, 4, 3, 5).reshape(h, w, BLOCK, BLOCK)
    gathered = natural.view(h, 2, w, 2, CELL, CELL).permute(0, 2, 4, 1, 5, 3)
    by_block = large.T @ gathered.reshape(h, w, BLOCK, BLOCK) @ large
    return join_blocks(torch.where(quarters[..., None, None], by_cell, by_block))


def chroma_planes(cells: Tensor) -> Tensor:
    """Planes ``[2, 16 h, 16 w]`` of low coefficients ``[2, h, w, 64]``."""
    h, w = cells.shape[1:3]
    basis = dct(BLOCK)[:CELL]
    natural = cells[..., _natural()].view(2, h, w, CELL, CELL)
    blocks = basis.T @ natural @ basis
    return torch.stack([join_blocks(b) for b in blocks])


def smooth_from_means(means: Tensor) -> Tensor:
    """Planes ``[3, 16 h, 16 w]`` without steps at block edges that have these block means
    ``[3, h, w]``."""
    h, w = means.shape[1:]
    size = (h * BLOCK, w * BLOCK)
    smooth = torch.nn.functional.interpolate(means[None], size, mode="bicubic", align_corners=False)
    found = torch.nn.functional.avg_pool2d(smooth, BLOCK)
    return (smooth + widened(means[None] - found))[0]


def _filtered(x: Tensor, taps: tuple[int, ...], axis: int) -> Tensor:
    """Sum of shifted copies along an axis, seven samples shorter there."""
    size = x.shape[axis] - 7
    out = x.narrow(axis, 3, size) * (taps[3] / 64)
    for k, tap in enumerate(taps):
        if tap and k != 3:
            out.add_(x.narrow(axis, k, size), alpha=tap / 64)
    return out


class Reference:
    """A decoded frame that others are predicted from.

    Args:
        planes: ``[C, H, W]``.
    """

    def __init__(self, planes: Tensor) -> None:
        self.planes = planes
        self._every: Tensor | None = None
        self._some: dict[int, Tensor] = {}

    def displaced(self, phase: int) -> Tensor:
        """Planes at (y + phase // 4 / 4, x + phase % 4 / 4)."""
        x = self.planes
        if phase % 4:
            x = _filtered(F.pad(x, (3, 4, 0, 0), mode="replicate"), _TAPS[phase % 4], 2)
        if phase // 4:
            x = _filtered(F.pad(x, (0, 0, 3, 4), mode="replicate"), _TAPS[phase // 4], 1)
        return x

    def release(self) -> None:
        """Forget displaced images; they are made again when asked for."""
        self._every = None
        self._some.clear()

    def _stack(self) -> Tensor:
        """All displaced images of the planes ``[C, 16 H W]``, kept."""
        if self._every is None:
            found = torch.empty(self.planes.shape[0], 4, 4, *self.planes.shape[1:])
            for across in range(4):
                row = self.planes
                if across:
                    padded = F.pad(row, (3, 4, 0, 0), mode="replicate")
                    row = _filtered(padded, _TAPS[across], 2)
                found[:, 0, across] = row
                padded = F.pad(row, (0, 0, 3, 4), mode="replicate")
                for down in range(1, 4):
                    found[:, down, across] = _filtered(padded, _TAPS[down], 1)
            self._every = found.view(self.planes.shape[0], -1)
        return self._every

    def _from_few(self, used: Tensor, place: Tensor, phase: Tensor) -> Tensor:
        """Samples of few displaced images, which are kept."""
        for p in used.tolist():
            if p not in self._some:
                self._some[p] = self.displaced(p)
        stack = torch.stack([self._some[p] for p in used.tolist()], 1).flatten(1)
        number = torch.zeros(16, dtype=torch.long)
        number[used] = torch.arange(used.numel())
        return stack.index_select(1, place + number[phase] * self.planes[0].numel())

    def moved(self, vectors: NDArray[np.int64]) -> Tensor:
        """Prediction ``[C, H, W]`` with one vector (quarters; rows, columns) a cell.

        Args:
            vectors: ``[2, H / 8, W / 8]``.
        """
        channels, rows, columns = self.planes.shape
        v = torch.from_numpy(vectors)
        spread = (v >> 2).repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)
        which = 4 * (v[0] & 3) + (v[1] & 3)
        y = torch.arange(rows)[:, None] + spread[0]
        x = torch.arange(columns) + spread[1]
        place = (y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)).reshape(-1)
        phase = which.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1).reshape(-1)
        used = torch.unique(which)
        if rows * columns > KEPT_SAMPLES:
            out = torch.empty(channels, place.numel())
            for p in used.tolist():
                chosen = torch.nonzero(phase == p).view(-1)
                out[:, chosen] = self.displaced(p).reshape(channels, -1)[:, place[chosen]]
        elif self._every is None and used.numel() <= FEW_PHASES:
            out = self._from_few(used, place, phase)
        else:
            out = self._stack().index_select(1, place + phase * (rows * columns))
        return out.view(channels, rows, columns)
