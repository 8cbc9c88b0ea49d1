"""Random samples of pictures with their contexts: what training and adaptation learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from laconic.codec.lossless.photo.config import INPUT_BITS
from laconic.codec.lossless.photo.context import EARLIER, OWN, features, neighbour_index
from laconic.codec.lossless.photo.wave import CHANNEL

Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # inputs [n, F], base, scale, value [n]


class Samples:
    """Pictures as flat planes (green, red - green, blue - green), to draw samples from.

    Args:
        pictures: integers below 2^bits, [H, W, C] with C = 1 or 3 for all.
        bits: 8 to 16.
    """

    def __init__(self, pictures: Sequence[NDArray[Any]], bits: int = 8) -> None:
        self.bits = bits
        channels = pictures[0].shape[2]
        parts: list[NDArray[np.int32]] = []
        for picture in pictures:
            wide = picture.reshape(-1, channels).astype(np.int32)
            flat = wide[:, CHANNEL].T.copy() if channels == 3 else wide.T
            flat[1:] -= flat[0]
            end = np.zeros((channels, 1), np.int32)
            end[0] = 1 << (bits - 1)
            parts.append(np.concatenate((flat, end), axis=1))
        self.planes = np.concatenate(parts, axis=1)
        self.size = np.array([p.shape[:2] for p in pictures], np.int32)
        self.start = np.cumsum([0, *(p.shape[1] for p in parts)])[:-1].astype(np.int32)
        area = (self.size[:, 0] * self.size[:, 1]).astype(np.float64)
        self.share = area / area.sum()

    def draw(self, random: np.random.Generator, count: int) -> list[Batch]:
        """A batch for each plane, of the same random pixels."""
        which = random.choice(len(self.size), count, p=self.share)
        height, width = self.size[which].T
        y = (random.random(count) * height).astype(np.int32)
        x = (random.random(count) * width).astype(np.int32)
        start = self.start[which]
        around = neighbour_index(y, x, height, width, EARLIER[1], causal=False) + start
        result = []
        for plane, flat in enumerate(self.planes):
            own = neighbour_index(y, x, height, width, OWN[plane], causal=True) + start
            earlier = [p.take(around).astype(np.float32) for p in self.planes[:plane]]
            f = features(plane, flat.take(own).astype(np.float32), earlier, self.bits - 8)
            value = flat.take(y * width + x + start).astype(np.float32)
            if plane:
                value += earlier[0][0]
            inputs = torch.from_numpy(np.ascontiguousarray(f.inputs.T)) * 2.0**-INPUT_BITS
            base, scale = torch.from_numpy(f.base), torch.from_numpy(f.scale)
            result.append((inputs, base, scale, torch.from_numpy(value)))
        return result
