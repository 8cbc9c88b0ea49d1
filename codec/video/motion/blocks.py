"""Pictures as blocks of 16 x 16 samples: colour axes, cosine transforms, and their inverses.

Three planes of full size along orthonormal axes of colour, so that squared errors of coefficients
are those of RGB samples. The first plane of a block is transformed whole or as four quarters; of
the others the 64 lowest coefficients of the block are kept. The coefficients of a whole block are
dealt out to its four cells, by the parity of their frequencies: cells look alike either way.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK, CELL = 16, 8
BANDS = 64
AXIS = 64  # units of an axis of colour in a file


def block_grid(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of blocks that cover a picture."""
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
