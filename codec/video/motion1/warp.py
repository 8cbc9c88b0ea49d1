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
def _order() -> tuple[Tensor, Tensor]:
    order = torch.from_numpy(zigzag())
    return order, torch.argsort(order)


def colour_axes(units: NDArray[np.int64]) -> Tensor:
    """Orthonormal axes ``[3, 3]`` (a row each) from two integer vectors ``[2, 3]``."""
    first, second = units.astype(np.float64)
    first = first / np.linalg.norm(first)
    second = second - (second @ first) * first
    second = second / np.linalg.norm(second)
    axes = np.stack([first, second, np.cross(first, second)])
    return torch.from_numpy(axes.astype(np.float32))


def principal_units(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Integer vectors ``[2, 3]`` near the principal axes of the colours of frames."""
    samples = frames.reshape(-1, 3)[:: max(1, frames.size // 3 // 200_000)].astype(np.float64)
    samples = samples - samples.mean(0)
    _, axes = np.linalg.eigh(samples.T @ samples + np.diag([1e-3, 2e-3, 1e-3]))
    units = np.rint(AXIS * axes.T[::-1][:2]).astype(np.int64)
    gray = np.array([[37, 37, 37], [45, 0, -45]], np.int64)
    if abs(int(units[0].sum())) < AXIS or not valid_units(units):
        return gray
    return units if units[0].sum() > 0 else units * np.array([[-1], [1]])


def valid_units(units: NDArray[np.int64]) -> bool:
    """Whether two vectors span a plane well enough to be axes."""
    return bool(np.linalg.norm(np.cross(units[0], units[1])) >= AXIS)


def planes_of(frame: Tensor, axes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Planes ``[3, 16 h, 16 w]`` of a frame ``[H, W, 3]`` uint8, padded by its last samples."""
    x = (frame.float() / 255 - 0.5) @ axes.T  # [H, W, 3]
    below, right = grid[0] * BLOCK - x.shape[0], grid[1] * BLOCK - x.shape[1]
    x = x.permute(2, 0, 1)[None]
    x = torch.nn.functional.pad(x, (0, right, 0, below), mode="replicate")
    return x[0].contiguous()


def frame_of(planes: Tensor, axes: Tensor, rows: int, columns: int) -> Tensor:
    """RGB samples ``[H, W, 3]`` uint8 of planes."""
    x = planes[:, :rows, :columns].permute(1, 2, 0) @ axes
    return ((x + 0.5) * 255).round().clamp(0, 255).byte()


def widened(blocks: Tensor) -> Tensor:
    """``[..., h, w]`` to samples ``[..., 16 h, 16 w]``."""
    return blocks.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)


def split_blocks(plane: Tensor) -> Tensor:
    """``[16 h, 16 w]`` to ``[h, w, 16, 16]``."""
    h, w = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    return plane.view(h, BLOCK, w, BLOCK).permute(0, 2, 1, 3)


def join_blocks(blocks: Tensor) -> Tensor:
    """Inverse of :func:`split_blocks`."""
    h, w = blocks.shape[:2]
    return blocks.permute(0, 2, 1, 3).reshape(h * BLOCK, w * BLOCK)


def whole_cells(plane: Tensor) -> Tensor:
    """Cells ``[2 h, 2 w, 64]`` of the 16 x 16 transform."""
    basis = dct(BLOCK)
    coefficients = basis @ split_blocks(plane) @ basis.T  # [h, w, 16, 16]
    h, w = coefficients.shape[:2]
    dealt = coefficients.reshape(h, w, 8, 2, 8, 2).permute(0, 3, 1, 5, 2, 4)
    return dealt.reshape(2 * h, 2 * w, BANDS)[..., _order()[0]]


def quarter_cells(plane: Tensor) -> Tensor:
    """Cells ``[2 h, 2 w, 64]`` of the 8 x 8 transform."""
    basis = dct(CELL)
    r, c = plane.shape[0] // CELL, plane.shape[1] // CELL
    cells = plane.view(r, CELL, c, CELL).permute(0, 2, 1, 3)
    return (basis @ cells @ basis.T).reshape(r, c, BANDS)[..., _order()[0]]


def low_cells(planes: Tensor) -> Tensor:
    """Low coefficients ``[2, h, w, 64]`` of the blocks of two planes ``[2, 16 h, 16 w]``."""
    basis = dct(BLOCK)[:CELL]
    found = torch.stack([basis @ split_blocks(plane) @ basis.T for plane in planes])
    return found.flatten(3)[..., _order()[0]]


def luma_plane(cells: Tensor, quarters: Tensor) -> Tensor:
    """Inverse of `whole_cells`, and of `quarter_cells` where ``quarters`` ``[h, w]`` is true."""
    r, c = cells.shape[:2]
    h, w = r // 2, c // 2
    natural = cells[..., _order()[1]].view(r, c, CELL, CELL)
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
    natural = cells[..., _order()[1]].view(2, h, w, CELL, CELL)
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


FEW_PHASES = 9  # up to so many displaced images are made one by one
KEPT_SAMPLES = 1 << 20  # of one plane; larger references keep displaced images of the first only
_TAPS = (
    (0, 0, 0, 64, 0, 0, 0, 0),
    (-1, 4, -10, 58, 17, -5, 1, 0),
    (-1, 4, -11, 40, 40, -11, 4, -1),
    (0, 1, -5, 17, 58, -10, 4, -1),
)


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
        self._every: dict[int, Tensor] = {}
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
        self._every.clear()
        self._some.clear()

    def _stack(self, channels: int) -> Tensor:
        """All displaced images of the first planes ``[channels, 16 H W]``, kept."""
        if channels not in self._every:
            planes = self.planes[:channels]
            found = torch.empty(channels, 4, 4, *planes.shape[1:])
            for across in range(4):
                row = planes
                if across:
                    padded = F.pad(planes, (3, 4, 0, 0), mode="replicate")
                    row = _filtered(padded, _TAPS[across], 2)
                found[:, 0, across] = row
                padded = F.pad(row, (0, 0, 3, 4), mode="replicate")
                for down in range(1, 4):
                    found[:, down, across] = _filtered(padded, _TAPS[down], 1)
            self._every[channels] = found.view(channels, -1)
        return self._every[channels]

    def _from_few(self, used: Tensor, place: Tensor, phase: Tensor, channels: int) -> Tensor:
        """Samples of few displaced images, which are kept."""
        for p in used.tolist():
            if p not in self._some:
                self._some[p] = self.displaced(p)
        stack = torch.stack([self._some[p] for p in used.tolist()], 1)[:channels].flatten(1)
        number = torch.zeros(16, dtype=torch.long)
        number[used] = torch.arange(used.numel())
        flat = place + number[phase.reshape(-1)] * self.planes[0].numel()
        return stack.index_select(1, flat).view(channels, *phase.shape)

    def moved(self, vectors: NDArray[np.int64]) -> Tensor:
        """Prediction ``[C, H, W]`` with one vector (quarters; rows, columns) a cell.

        Args:
            vectors: ``[2, H / 8, W / 8]``.
        """
        _, rows, columns = self.planes.shape
        v = torch.from_numpy(vectors)
        spread = (v >> 2).repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)
        which = 4 * (v[0] & 3) + (v[1] & 3)
        y = torch.arange(rows)[:, None] + spread[0]
        x = torch.arange(columns) + spread[1]
        wide = which.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)
        return self._take(y, x, wide, self.planes.shape[0])

    def fetch(self, corners: Tensor, vectors: Tensor, size: int, channels: int) -> Tensor:
        """Displaced squares ``[channels, n, size, size]``.

        Args:
            corners: top left samples ``[2, n]``.
            vectors: in quarters ``[2, n]``.
        """
        steps = torch.arange(size)
        at = corners + (vectors >> 2)
        y = (at[0][:, None] + steps)[:, :, None].expand(-1, size, size)
        x = (at[1][:, None] + steps)[:, None].expand(-1, size, size)
        which = (4 * (vectors[0] & 3) + (vectors[1] & 3))[:, None, None].expand(-1, size, size)
        return self._take(y, x, which, channels)

    def _take(self, y: Tensor, x: Tensor, phase: Tensor, channels: int) -> Tensor:
        """Samples ``[channels, ...]`` at places beyond the edges too."""
        _, rows, columns = self.planes.shape
        place = (y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)).reshape(-1)
        shape = (channels, *phase.shape)
        every = self.planes.shape[0]
        if rows * columns <= KEPT_SAMPLES:
            used = torch.unique(phase[..., 0, 0] if phase.ndim == 3 else phase[::CELL, ::CELL])
            if every not in self._every and used.numel() <= FEW_PHASES:
                return self._from_few(used, place, phase, channels)
        elif channels == 1:
            every = 1  # a search asks often
        if channels == 1 or rows * columns <= KEPT_SAMPLES:
            flat = place + phase.reshape(-1) * (rows * columns)
            return self._stack(every)[:channels].index_select(1, flat).view(shape)
        out = torch.empty(channels, place.numel())
        which = phase.reshape(-1)
        for p in torch.unique(which).tolist():
            chosen = torch.nonzero(which == p).view(-1)
            out[:, chosen] = self.displaced(p)[:channels].reshape(channels, -1)[:, place[chosen]]
        return out.view(shape)
