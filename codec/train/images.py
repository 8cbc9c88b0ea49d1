"""Training pictures: decoded once, kept in memory as uint8, cropped and scaled at random.

Random down-scaling hides what an earlier lossy coding left behind and multiplies a small
collection; flips and transpositions do the rest.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from torch import Tensor

from laconic.formats.errors import ParameterError
from laconic.formats.image import SUFFIXES

HELD_OUT_EVERY = 45


def iterate_files(folder: Path) -> Iterator[bytes]:
    """Bytes of every picture below ``folder``, inside ``.tar`` shards too, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            yield path.read_bytes()
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                members = sorted((m for m in tar if m.isfile()), key=lambda m: m.name)
                for member in members:
                    handle = tar.extractfile(member)
                    if handle and Path(member.name).suffix.lower() in SUFFIXES:
                        yield handle.read()


def load_pictures(folders: list[Path], smallest: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and held-out pictures, uint8 ``[H, W, 3]``; every 45th is held out.

    Raises ``ParameterError`` when no picture of at least ``smallest`` pixels a side is found.
    """
    train: list[np.ndarray] = []
    held_out: list[np.ndarray] = []
    count = 0
    for folder in folders:
        for data in iterate_files(folder):
            with PillowImage.open(BytesIO(data)) as picture:
                array = np.asarray(picture.convert("RGB"))
            if min(array.shape[:2]) < smallest:
                continue
            (held_out if count % HELD_OUT_EVERY == 0 else train).append(array)
            count += 1
    if not train or not held_out:
        raise ParameterError(
            f"{count} pictures of at least {smallest} pixels a side in"
            f" {', '.join(map(str, folders))}: at least 2 are needed to train and validate"
        )
    return train, held_out


class Crops:
    """Endless random crops ``[B, size, size, 3]`` in [0, 1]; large pictures are drawn more
    often."""

    def __init__(self, pictures: list[np.ndarray], size: int, seed: int) -> None:
        self.pictures = pictures
        self.size = size
        self.random = np.random.default_rng(seed)
        area = np.array([p.shape[0] * p.shape[1] for p in pictures], dtype=np.float64)
        self.weights = area / area.sum()

    def batch(self, count: int) -> Tensor:
        chosen = self.random.choice(len(self.pictures), count, p=self.weights)
        return torch.stack([self.crop(self.pictures[i]) for i in chosen])

    def crop(self, picture: np.ndarray) -> Tensor:
        """One crop; half of them are scaled down by up to two."""
        height, width = picture.shape[:2]
        scale = self.random.uniform(1, min(2, min(height, width) / self.size))
        source = self.size if self.random.random() < 0.5 else round(self.size * scale)
        top = self.random.integers(0, height - source + 1)
        left = self.random.integers(0, width - source + 1)
        region = picture[top : top + source, left : left + source]
        if self.random.random() < 0.5:
            region = region[:, ::-1]
        if self.random.random() < 0.25:
            region = region.transpose(1, 0, 2)
        x = torch.from_numpy(np.ascontiguousarray(region)).permute(2, 0, 1)[None].float() / 255
        if source != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True).clamp(0, 1)
        return x[0].permute(1, 2, 0)


def validation_batch(pictures: list[np.ndarray], size: int) -> Tensor:
    """Centre crops of the held-out pictures, ``[N, size, size, 3]`` in [0, 1]."""
    crops = []
    for picture in pictures:
        top, left = (picture.shape[0] - size) // 2, (picture.shape[1] - size) // 2
        crops.append(picture[top : top + size, left : left + size])
    return torch.from_numpy(np.stack(crops)).float() / 255
