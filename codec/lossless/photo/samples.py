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
        pictures: integers below 2^bits, [H, W, C] with C = 1 or 3 for all; ``based``, the same
            number of channels of a lossy picture follows, for networks that see one.
        bits: 8 to 16.
    """

    def __init__(
        self, pictures: Sequence[NDArray[Any]], bits: int = 8, *, based: bool = False
    ) -> None:
        self.bits, self.based = bits, based
        channels = pictures[0].shape[2] // (1 + based)
        parts: list[NDArray[np.int32]] = []
        for picture in pictures:
            wide = picture.reshape(-1, 1 + based, channels).astype(np.int32)
            flat = wide[..., list(CHANNEL) if channels == 3 else [0]].transpose(1, 2, 0).copy()
            flat[:, 1:] -= flat[:, :1]
            end = np.zeros((1 + based, channels, 1), np.int32)
            end[:, 0] = 1 << (bits - 1)
            parts.append(np.concatenate((flat, end), axis=2))
        self.planes, *lossy = np.concatenate(parts, axis=2)
        self.lossy = lossy[0] if based else None
        self.size = np.array([p.shape[:2] for p in pictures], np.int32)
        self.start = np.cumsum([0, *(p.shape[2] for p in parts)])[:-1].astype(np.int32)
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
            lossy = None
            if self.lossy is not None:
                lossy = self.lossy[plane].take(around).astype(np.float32)
            near = flat.take(own).astype(np.float32)
            f = features(plane, near, earlier, self.bits - 8, lossy)
            value = flat.take(y * width + x + start).astype(np.float32)
            if plane:
                value += earlier[0][0]
            inputs = torch.from_numpy(np.ascontiguousarray(f.inputs.T)) * 2.0**-INPUT_BITS
            base, scale = torch.from_numpy(f.base), torch.from_numpy(f.scale)
            result.append((inputs, base, scale, torch.from_numpy(value)))
        return result
