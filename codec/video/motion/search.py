"""Motion of a frame against one reference: for the encoder, all blocks at a time.

A full search on reduced pictures, then steps of ever smaller size around the best, each paid for by
its distance from what its neighbours suggest. Sums of absolute differences of the first plane.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion.blocks import BLOCK, CELL
from laconic.codec.video.motion.warp import Reference

Ints = NDArray[np.int64]
SMALLEST_SIDE = 40  # of reduced pictures
RADIUS = 8  # of the full search, in reduced samples
_AROUND = [(-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]


def corners_of(rows: int, columns: int, size: int) -> Tensor:
    """Top left samples ``[2, n]`` of all squares of a picture, row by row."""
    y, x = torch.meshgrid(
        torch.arange(0, rows, size), torch.arange(0, columns, size), indexing="ij"
    )
    return torch.stack([y.reshape(-1), x.reshape(-1)])


def vector_bits(difference: Tensor) -> Tensor:
    """Expected bits ``[n]`` of a vector's difference ``[2, n]`` from its guess."""
    size = difference.abs()
    bits = (size > 0) + 2 * torch.log2(1.0 + size)
    return bits.sum(0) + 1.5 * (size.sum(0) > 0)


def local_median(vectors: Tensor, h: int, w: int) -> Tensor:
    """Median over 3 x 3 places of vectors ``[2, h w]``."""
    field = F.pad(vectors.view(2, 1, h, w).float(), (1, 1, 1, 1), mode="replicate")
    around = F.unfold(field, 3).view(2, 9, h * w)
    return around.median(1).values.long()


class Search:
    """Vectors of a target picture.

    Args:
        target: first plane ``[H, W]``.
        price: of a bit, in absolute differences.
        size: of the squares that have a vector.
    """

    def __init__(self, target: Tensor, price: float, size: int = BLOCK) -> None:
        self.target, self.price = target, price
        rows, columns = target.shape
        self.h, self.w = rows // size, columns // size
        self.corners = corners_of(rows, columns, size)
        squares = target.view(self.h, size, self.w, size).permute(0, 2, 1, 3)
        self.blocks = squares.reshape(-1, size, size)
        self.factor = 4
        while min(rows, columns) // (2 * self.factor) >= SMALLEST_SIDE:
            self.factor *= 2

    def blocks_of(self, reference: Reference, starts: list[Tensor], effort: int = 2) -> Tensor:
        """Best vectors ``[2, h w]`` in quarters, one a block.

        Args:
            starts: further fields ``[2, h w]`` to begin from.
            effort: 0 for the best of these, 1 for steps of a half and less, 2 for all.
        """
        best = torch.zeros(2, self.h * self.w, dtype=torch.long)
        cost = self._cost(reference, best, best)
        state = (best, cost)
        guess = starts[0] if starts else best
        further = self._reduced(reference) if effort > 1 else []
        for start in (*starts, *further):
            state = self._better(reference, state, start, guess)
        if not effort:
            return state[0]
        step = 2 * self.factor if effort > 1 else 2
        while step >= 1:
            guess = local_median(state[0], self.h, self.w)
            state = (state[0], self._cost(reference, state[0], guess))
            if step in (2 * self.factor, 4, 1):
                for field in self._shifted(state[0]):
                    state = self._better(reference, state, field, guess)
            centre = state[0].clone()
            for dy, dx in _AROUND:
                moved = centre + torch.tensor([[dy * step], [dx * step]])
                state = self._better(reference, state, moved, guess)
            step //= 2
        return state[0]

    def cells_of(self, reference: Reference, blocks: Tensor) -> Tensor:
        """Vectors ``[2, 2 h, 2 w]`` of cells, near those of their blocks."""
        start = blocks.view(2, self.h, self.w).repeat_interleave(2, 1).repeat_interleave(2, 2)
        start = start.reshape(2, -1)
        fine = Search(self.target, self.price, CELL)
        state = (start, fine._cost(reference, start, start))
        for field in fine._shifted(start):
            state = fine._better(reference, state, field, start)
        for step in (4, 2, 1):
            centre = state[0].clone()
            for dy, dx in _AROUND[: 8 if step > 1 else 4]:
                moved = centre + torch.tensor([[dy * step], [dx * step]])
                state = fine._better(reference, state, moved, start)
        return state[0].view(2, 2 * self.h, 2 * self.w)

    def _cost(self, reference: Reference, vectors: Tensor, guess: Tensor) -> Tensor:
        size = self.blocks.shape[1]
        found = reference.fetch(self.corners, vectors, size, 1)[0]
        difference = (found - self.blocks).abs_().sum((1, 2))
        return difference + self.price * vector_bits(vectors - guess)

    def _better(
        self, reference: Reference, state: tuple[Tensor, Tensor], field: Tensor, guess: Tensor
    ) -> tuple[Tensor, Tensor]:
        cost = self._cost(reference, field, guess)
        wins = cost < state[1]
        return torch.where(wins, field, state[0]), torch.where(wins, cost, state[1])

    def _shifted(self, vectors: Tensor) -> list[Tensor]:
        """The vectors of the neighbours on each side."""
        field = F.pad(
            vectors.view(2, 1, self.h, self.w).float(), (1, 1, 1, 1), mode="replicate"
        ).long()[:, 0]
        cuts = [(0, 1), (2, 1), (1, 0), (1, 2)]
        return [field[:, y : y + self.h, x : x + self.w].reshape(2, -1) for y, x in cuts]

    def _reduced(self, reference: Reference) -> list[Tensor]:
        """Best vectors of a full search on reduced pictures, for blocks and for 3 x 3 of them."""
        f = self.factor
        small = F.avg_pool2d(self.target[None, None], f)
        other = F.avg_pool2d(reference.planes[None, :1], f)
        other = F.pad(other, (RADIUS,) * 4, mode="replicate") if min(other.shape[2:]) else other
        rows, columns = small.shape[2:]
        tile = max(BLOCK // f, 1)
        best: list[Tensor] = []
        costs: list[Tensor] = []
        span = range(2 * RADIUS + 1)
        shifts = [(dy, dx) for dy in span for dx in span]
        for dy, dx in shifts:
            off = (small - other[:, :, dy : dy + rows, dx : dx + columns]).abs_()
            costs.append(F.avg_pool2d(off, tile, ceil_mode=True)[0, 0])
        stack = torch.stack(costs)  # [shifts, h', w']
        if f > BLOCK:
            stack = stack.repeat_interleave(f // BLOCK, 1).repeat_interleave(f // BLOCK, 2)
        stack = stack[:, : self.h, : self.w] * BLOCK * BLOCK
        way = torch.tensor(shifts).T - RADIUS  # [2, shifts]
        paid = self.price * torch.log2(1.0 + way.abs()).sum(0)[:, None, None]
        wide = F.avg_pool2d(stack[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
        for cost in (stack + paid, wide + paid):
            chosen = cost.view(len(shifts), -1).argmin(0)
            best.append(way[:, chosen] * 4 * f)
        return best
