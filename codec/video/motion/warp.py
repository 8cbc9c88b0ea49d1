"""Prediction from decoded frames: blocks displaced by quarters of a sample.

Samples between samples come from the eight-tap filters of HEVC (Sullivan et al., 2012). A
reference keeps its sixteen displaced pictures where they are small, and makes them when asked for
where they are large.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion.blocks import CELL

KEPT_SAMPLES = 1 << 19  # of one plane; larger references keep no displaced pictures
_TAPS = (
    (0, 0, 0, 64, 0, 0, 0, 0),
    (-1, 4, -10, 58, 17, -5, 1, 0),
    (-1, 4, -11, 40, 40, -11, 4, -1),
    (0, 1, -5, 17, 58, -10, 4, -1),
)


@cache
def _filters() -> Tensor:
    return torch.tensor(_TAPS) / 64.0


class Reference:
    """A decoded frame that others are predicted from.

    Args:
        planes: ``[C, H, W]``.
    """

    def __init__(self, planes: Tensor) -> None:
        self.planes = planes
        self._all: Tensor | None = None

    def displaced(self, phase: int) -> Tensor:
        """Planes at (y + phase // 4 / 4, x + phase % 4 / 4)."""
        channels, rows, columns = self.planes.shape
        down, across = _filters()[phase // 4], _filters()[phase % 4]
        x = self.planes[:, None]
        if phase % 4:
            x = F.conv2d(F.pad(x, (3, 4, 0, 0), mode="replicate"), across.view(1, 1, 1, 8))
        if phase // 4:
            x = F.conv2d(F.pad(x, (0, 0, 3, 4), mode="replicate"), down.view(1, 1, 8, 1))
        return x.view(channels, rows, columns)

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
        if rows * columns <= KEPT_SAMPLES:
            if self._all is None:
                found = [self.displaced(p) for p in range(16)]
                self._all = torch.stack(found, 1).view(self.planes.shape[0], -1)
            flat = place + phase.reshape(-1) * (rows * columns)
            return self._all[:channels].index_select(1, flat).view(shape)
        out = torch.empty(channels, place.numel())
        which = phase.reshape(-1)
        for p in torch.unique(which).tolist():
            chosen = torch.nonzero(which == p).view(-1)
            out[:, chosen] = self.displaced(p)[:channels].reshape(channels, -1)[:, place[chosen]]
        return out.view(shape)
