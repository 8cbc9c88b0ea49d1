"""Prediction from decoded frames: blocks displaced by quarters of a sample.

Samples between samples come from the eight-tap filters of HEVC (Sullivan et al., 2012). A
reference keeps its sixteen displaced pictures where they are small, and makes them when asked for
where they are large.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.video.motion.blocks import CELL

FEW_PHASES = 9  # up to so many displaced pictures are made one by one
KEPT_SAMPLES = 1 << 20  # of one plane; larger references keep displaced pictures of the first only
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
        """Forget displaced pictures; they are made again when asked for."""
        self._every.clear()
        self._some.clear()

    def _stack(self, channels: int) -> Tensor:
        """All displaced pictures of the first planes ``[channels, 16 H W]``, kept."""
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
        """Samples of few displaced pictures, which are kept."""
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
