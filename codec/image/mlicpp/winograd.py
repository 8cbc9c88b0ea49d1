"""3x3 and 5x5 convolutions by minimal filtering: a quarter to a sixth of the products.

F(4x4, 3x3) computes sixteen outputs from thirty-six products instead of 144 (Lavin and Gray, "Fast
Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv 1509.09308, eq. 8-14); the matrices
follow from interpolation points by Toom and Cook's construction. Both transforms of a block of
tiles are one matrix product each, with the Kronecker square of the paper's matrices, so that all of
the work is in products whose operands stay in the cache.

In float64 the error is some thousand roundings, far below the guard band of the coder; PyTorch has
no such kernel there, and exact coding spends most of its time in these layers. In float32 it is
about 1e-5 of the largest value; the hyper-analysis uses it. Transforms of images have their own
convolutions in ``banded.py``; the training uses neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 4  # outputs of a tile along one axis
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0, -0.5, 2.0)  # small errors: Barabasz et al., arXiv 1803.10986
BLOCK = 128  # tiles that are worked on at once
SIZES = (3, 5)


@dataclass(frozen=True)
class Filtering:
    """Matrices of F(4x4, taps x taps) for maps of one number type; n = 3 + taps."""

    points: int  # n^2
    inputs: Tensor  # B^T (x) B^T of the paper, [n^2, n^2]
    filters: Tensor  # G, [n, taps]
    outputs: Tensor  # A^T (x) A^T, [16, n^2]


def toom_cook(tile: int, taps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices of F(tile, taps) along one axis with ``n - 1`` of the points and infinity, where n
    is tile + taps - 1: B^T ``[n, n]``, G ``[n, taps]``, A^T ``[tile, n]`` of the paper, float64."""
    n = tile + taps - 1
    at = POINTS[: n - 1]
    inputs, filters = np.zeros((n, n)), np.zeros((n, taps))
    outputs = np.zeros((tile, n))
    for j, point in enumerate(at):
        others = [p for p in at if p != point]
        inputs[j, : n - 1] = np.poly(others)[::-1]  # coefficients, lowest degree first
        filters[j] = [point**i / math.prod(point - p for p in others) for i in range(taps)]
        outputs[:, j] = [point**i for i in range(tile)]
    inputs[-1] = np.poly(at)[::-1]
    filters[-1, -1] = outputs[-1, -1] = 1.0
    return torch.from_numpy(inputs), torch.from_numpy(filters), torch.from_numpy(outputs)


@lru_cache(maxsize=8)
def filtering(taps: int, dtype: torch.dtype) -> Filtering:
    """The matrices of both axes at once."""
    inputs, filters, outputs = toom_cook(TILE, taps)
    return Filtering(
        len(inputs) ** 2,
        torch.kron(inputs, inputs).to(dtype),
        filters,
        torch.kron(outputs, outputs).to(dtype),
    )


@dataclass(frozen=True)
class Tiles:
    """How a map of ``height`` x ``width`` is cut into tiles."""

    height: int
    width: int

    @property
    def rows(self) -> int:
        return -(-self.height // TILE)

    @property
    def columns(self) -> int:
        return -(-self.width // TILE)


class WinogradConv(nn.Module):
    """Stands in for a convolution with stride 1, zero padding that keeps the size, and a bias;
    batches of one. Maps are ``[1, C, H, W]``, best with channels last in memory."""

    weight: Tensor  # [n^2, C, O]
    bias: Tensor  # [O]

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.taps = conv.kernel_size[0]
        dtype = conv.weight.dtype
        g = filtering(self.taps, dtype).filters
        filters = conv.weight.detach().double().permute(2, 3, 1, 0)  # [taps, taps, C, O]
        points = torch.tensordot(g, torch.tensordot(g, filters, ([1], [1])), ([1], [1]))
        self.register_buffer("weight", points.flatten(0, 1).to(dtype).contiguous())
        self.register_buffer("bias", conv.bias.detach())

    def forward(self, x: Tensor) -> Tensor:  # [1, C, H, W] -> [1, O, H, W]
        if x.requires_grad:  # one block: autograd cannot follow writes into parts of a map
            return self.apply_to(self.points_of(x), None, x.shape[2:])
        tiles = Tiles(*x.shape[2:])
        padded = self._padded(x, tiles)
        across = -(-tiles.columns // -(-tiles.columns // BLOCK))
        down = max(1, BLOCK // across)
        out = x.new_empty(TILE * tiles.rows, TILE * tiles.columns, len(self.bias))
        for row in range(0, tiles.rows, down):
            rows = min(down, tiles.rows - row)
            for column in range(0, tiles.columns, across):
                columns = min(across, tiles.columns - column)
                points = self._points(padded, row, rows, column, columns)
                block = out[TILE * row :, TILE * column :][: TILE * rows, : TILE * columns]
                self._fill(block, torch.bmm(points, self.weight), rows, columns)
        return out[: tiles.height, : tiles.width].permute(2, 0, 1)[None]

    def points_of(self, x: Tensor) -> Tensor:
        """Transform of a map, for :meth:`apply_to`: ``[1, C, H, W] -> [n^2, tiles, C]``. Channels
        may be joined and split there as in maps."""
        tiles = Tiles(*x.shape[2:])
        return self._points(self._padded(x, tiles), 0, tiles.rows, 0, tiles.columns)

    def apply_to(self, shared: Tensor, own: Tensor | None, size: torch.Size) -> Tensor:
        """The convolution of a map of ``size`` (height, width) given the transform of its first
        channels and that of the others."""
        split = shared.shape[2]
        products = torch.bmm(shared, self.weight[:, :split])
        if own is not None:
            products = torch.baddbmm(products, own, self.weight[:, split:])
        tiles = Tiles(*size)
        out = shared.new_empty(TILE * tiles.rows, TILE * tiles.columns, len(self.bias))
        out = self._fill(out, products, tiles.rows, tiles.columns)
        return out[: tiles.height, : tiles.width].permute(2, 0, 1)[None]

    def _padded(self, x: Tensor, tiles: Tiles) -> Tensor:
        """Zeros around the map and up to whole tiles, ``[H', W', C]``."""
        reach = self.taps // 2
        below = reach + TILE * tiles.rows - tiles.height
        right = reach + TILE * tiles.columns - tiles.width
        return F.pad(x[0].permute(1, 2, 0), (0, 0, reach, right, reach, below)).contiguous()

    def _points(self, padded: Tensor, row: int, rows: int, column: int, columns: int) -> Tensor:
        """Transform of a block of tiles, ``[n^2, rows * columns, C]``."""
        _, width, channels = padded.shape
        n = TILE + self.taps - 1
        line = width * channels
        windows = padded.as_strided(
            (n, n, rows, columns, channels),
            (line, channels, TILE * line, TILE * channels, 1),
            TILE * (row * line + column * channels),
        )
        table = filtering(self.taps, padded.dtype)
        points = table.inputs @ windows.reshape(n * n, -1)
        return points.reshape(n * n, rows * columns, channels)

    def _fill(self, out: Tensor, products: Tensor, rows: int, columns: int) -> Tensor:
        """Inverse transform of a block into ``out`` ``[4 rows, 4 columns, O]``."""
        table = filtering(self.taps, products.dtype)
        values = table.outputs @ products.reshape(table.points, -1)
        values = values.reshape(TILE, TILE, rows, columns, -1).add_(self.bias)
        out.unflatten(1, (columns, TILE)).unflatten(0, (rows, TILE)).copy_(
            values.permute(2, 0, 3, 1, 4)
        )
        return out


def use_winograd(module: nn.Module) -> None:
    """Replace every convolution below ``module`` that can be."""
    for name, child in module.named_children():
        if (
            isinstance(child, nn.Conv2d)
            and child.kernel_size in [(size, size) for size in SIZES]
            and child.stride == (1, 1)
            and child.padding == (child.kernel_size[0] // 2,) * 2
            and child.groups == 1
        ):
            setattr(module, name, WinogradConv(child))
        else:
            use_winograd(child)


class Seen:
    """Maps that are looked at together and become more: the hyper means and decoded slices.

    Many convolutions read them, each all of them so far; with fast ones the transform of every map
    is computed once.
    """

    def __init__(self, *maps: Tensor) -> None:
        self.maps = maps
        self._ready: tuple[int, Tensor | None] = (0, None)  # how many are transformed, transforms

    def joined(self, *maps: Tensor) -> Seen:
        """These maps and more."""
        more = Seen(*self.maps, *maps)
        more._ready = self._ready
        return more

    def convolved(self, conv: nn.Module, own: Tensor | None = None, *, first: int = 0) -> Tensor:
        """``conv`` of the maps from ``first`` on and of ``own`` behind them."""
        if not isinstance(conv, WinogradConv):
            maps = self.maps[first:] if own is None else (*self.maps[first:], own)
            out: Tensor = conv(torch.cat(maps, 1))
            return out
        count, points = self._ready
        if count < len(self.maps):
            missing = [conv.points_of(x) for x in self.maps[count:]]
            points = torch.cat(missing if points is None else [points, *missing], 2)
            self._ready = len(self.maps), points
        assert points is not None
        shared = points[:, :, sum(x.shape[1] for x in self.maps[:first]) :]
        more = None if own is None else conv.points_of(own)
        return conv.apply_to(shared, more, self.maps[0].shape[2:])
