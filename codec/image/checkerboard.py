"""The checkerboard of two-pass coding: anchors first, then the positions between them.

Anchors are the positions with odd row + column, as in MLIC++ (arXiv 2307.15421, section 3; He et
al., "Checkerboard Context Model", CVPR 2021, arXiv 2103.15306). Feature maps are flattened to
``[B, H*W, C]`` and the two halves are index lists, so that each pass computes its half only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Checkerboard:
    """Index lists of one latent size. ``N = H*W``; both halves have ``N/2`` positions."""

    height: int
    width: int
    anchors: Tensor  # [N/2] flat positions
    others: Tensor  # [N/2] flat positions
    rows: Tensor  # [N] row of each position
    columns: Tensor  # [N] column of each position
    neighbours: Tensor  # [N/2, K] flat anchor positions around each non-anchor (0 where outside)
    outside: Tensor  # [N/2, K] True where the neighbour lies outside

    def merge(self, anchors: Tensor, others: Tensor) -> Tensor:
        """Two halves ``[B, N/2, C]`` -> ``[B, N, C]``."""
        out = anchors.new_empty(anchors.shape[0], self.height * self.width, anchors.shape[2])
        return out.index_copy(1, self.anchors, anchors).index_copy(1, self.others, others)


@lru_cache(maxsize=32)
def checkerboard(height: int, width: int, window: int, device: torch.device) -> Checkerboard:
    """Index lists for a latent of ``height`` x ``width`` (even width) and a square window."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rows, columns = rows.reshape(-1), columns.reshape(-1)
    odd = (rows + columns) % 2 == 1
    anchors, others = odd.nonzero()[:, 0], (~odd).nonzero()[:, 0]
    reach = window // 2
    offsets = [
        (i, j)
        for i in range(-reach, reach + 1)
        for j in range(-reach, reach + 1)
        if (i + j) % 2  # from a non-anchor, anchors lie at odd distance
    ]
    delta = torch.tensor(offsets)  # [K, 2]
    row = rows[others, None] + delta[:, 0]
    column = columns[others, None] + delta[:, 1]
    outside = (row < 0) | (row >= height) | (column < 0) | (column >= width)
    neighbours = torch.where(outside, 0, row * width + column)
    tensors = (anchors, others, rows, columns, neighbours, outside)
    return Checkerboard(height, width, *(t.to(device) for t in tensors))
