"""Random samples of pictures with their contexts: what training and adaptation learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.lossless.photo.config import INPUT_BITS
from laconic.codec.lossless.photo.context import inputs_of
from laconic.codec.lossless.photo.loops import draw
from laconic.codec.lossless.photo.wave import UNSEEN, planes_of

Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # inputs [n, F], base, scale, value [n]


class Samples:
    """Pictures as planes (green, red - green, blue - green), to draw samples from.

    Args:
        pictures: integers below 2^bits, [H, W, C] with C = 1 or 3 for all; ``based``, the same
            number of channels of a lossy picture follows, for networks that see one.
        bits: 8 to 16.
    """

    def __init__(
        self, pictures: Sequence[NDArray[Any]], bits: int = 8, *, based: bool = False
    ) -> None:
        self.bits, self.based = bits, based
        self.channels = channels = pictures[0].shape[2] // (1 + based)
        self.planes = [planes_of(picture[..., :channels]) for picture in pictures]
        self.lossy = [planes_of(p[..., channels:]) if based else UNSEEN for p in pictures]
        area = np.array([p.shape[0] * p.shape[1] for p in pictures], np.float64)
        self.share = area / area.sum()

    def draw(self, random: np.random.Generator, count: int) -> list[Batch]:
        """A batch for each plane, of the same random pixels."""
        which = random.choice(len(self.planes), count, p=self.share)
        size = np.array([planes.shape[1:] for planes in self.planes], np.int64)[which]
        y, x = (random.random(count) * side for side in size.T)
        place = np.stack((y, x)).astype(np.int64)
        return [self._batch(plane, which, place) for plane in range(self.channels)]

    def _batch(self, plane: int, which: NDArray[Any], place: NDArray[np.int64]) -> Batch:
        inputs = np.empty((which.size, inputs_of(plane, based=self.based)), np.float32)
        base, scale = np.empty(which.size, np.float32), np.empty(which.size, np.int64)
        value = np.empty(which.size, np.float32)
        for number in np.unique(which):
            at = np.flatnonzero(which == number)
            planes, (y, x) = self.planes[number], np.ascontiguousarray(place[:, at])
            found = np.empty_like(inputs[at]), np.empty_like(base[at]), np.empty_like(scale[at])
            draw(plane, y, x, planes, self.lossy[number], self.bits, *found)
            inputs[at], base[at], scale[at] = found
            value[at] = planes[plane, y, x] + (planes[0, y, x] if plane else 0)
        return (
            torch.from_numpy(inputs) * 2.0**-INPUT_BITS,
            torch.from_numpy(base),
            torch.from_numpy(scale),
            torch.from_numpy(value),
        )
