"""The toolkit's own decoder: a Laplacian pyramid of latents, and very few weights.

On a short clip the weights of HNeRV are most of the file, and they cost the same for one frame as
for a hundred. Here a frame is a pyramid of small latent maps, coded against those of the frame
before. A picture is built from coarse to fine: upsample bilinearly, add the latents of the level,
add what a few convolutions make of them. The convolutions start at zero, so that a fit starts from
Burt and Adelson's pyramid ("The Laplacian Pyramid as a Compact Image Code", 1983) and not from
noise. Fitted latents at several resolutions come from COOL-CHIC (Ladune et al., ICCV 2023) and C3
(Kim et al., CVPR 2024), bilinear upsampling between residual blocks from HiNeRV (Kwan et al.,
NeurIPS 2023). Nothing but the last addition works at full resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 2  # pixels along each side that one position of the finest level makes
COLOURS = 3
# Luma and two colour differences of BT.601 at full range, as JPEG has them.
TO_COLOUR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
FROM_COLOUR = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def level_sizes(rows: int, columns: int, levels: int) -> list[tuple[int, int]]:
    """Rows and columns of each level, coarsest first; the finest is at half resolution.

    >>> level_sizes(181, 320, 3)
    [(23, 40), (46, 80), (91, 160)]
    """
    sizes = []
    for _ in range(levels):
        rows, columns = -(-rows // 2), -(-columns // 2)
        sizes.append((rows, columns))
    return sizes[::-1]


def pyramid(
    frames: Tensor, channels: Sequence[int], sizes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Laplacian pyramids of frames ``[B, 3, H, W]`` in 0..1: where a fit starts.

    Args:
        channels, sizes: of each level, coarsest first.

    Returns:
        ``[B, d, h, w]`` of each level that has latents; channels beyond luma and the two colour
        differences are zero.
    """
    matrix = frames.new_tensor(TO_COLOUR)
    picture = torch.einsum("ij,bjhw->bihw", matrix, frames - 0.5)
    found, built = [], None
    for d, size in zip(channels, sizes, strict=True):
        wanted = F.adaptive_avg_pool2d(picture, size)
        before = torch.zeros_like(wanted) if built is None else _resize(built, size)
        built = before.clone()
        if d:
            kept = min(d, COLOURS)
            latent = wanted.new_zeros(wanted.shape[0], d, *size)
            latent[:, :kept] = (wanted - before)[:, :kept]
            built[:, :kept] = wanted[:, :kept]
            found.append(latent)
    return found


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with GELU between them, added to the input; starts as identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv1.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv1(F.gelu(self.conv0(x)))
        return out


class GridNetwork(nn.Module):
    """Latent pyramids to frames.

    Args:
        width: feature channels.
        channels: latent channels of each level, coarsest first; 0 for a level without.
        rows, columns: of the picture.
    """

    def __init__(self, width: int, channels: Sequence[int], rows: int, columns: int) -> None:
        super().__init__()
        self.size = (rows, columns)
        self.channels = tuple(channels)
        self.sizes = level_sizes(rows, columns, len(channels))
        self.reads = nn.ModuleList(nn.Conv2d(COLOURS + d, width, 1) for d in channels)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in channels)
        self.writes = nn.ModuleList(nn.Conv2d(width, COLOURS, 1) for _ in channels)
        self.head = nn.Conv2d(width, COLOURS * HEAD * HEAD, 3, padding=1)
        for conv in (self.head, *self.writes):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)
        self.register_buffer("to_rgb", torch.tensor(FROM_COLOUR), persistent=False)

    def forward(self, latents: Sequence[Tensor]) -> Tensor:
        """Frames ``[B, 3, H, W]``, unclipped, from ``[B, d, h, w]`` of each level that has any."""
        batch = latents[0].shape[0]
        picture = latents[0].new_zeros(batch, COLOURS, *self.sizes[0])
        features: Tensor | None = None
        maps = iter(latents)
        for level, (d, size) in enumerate(zip(self.channels, self.sizes, strict=True)):
            if level:
                assert features is not None
                picture, features = _resize(picture, size), _resize(features, size)
            seen = picture
            if d:
                latent = next(maps)
                added = latent[:, :COLOURS]
                if d < COLOURS:
                    added = F.pad(added, (0, 0, 0, 0, 0, COLOURS - d))
                picture = picture + added
                seen = torch.cat([picture, latent], 1)
            read = self.reads[level](seen)
            features = self.blocks[level](read if features is None else features + read)
            picture = picture + self.writes[level](features)
        rows, columns = self.sizes[-1]
        full = _resize(picture, (HEAD * rows, HEAD * columns))
        full = full + F.pixel_shuffle(self.head(features), HEAD)
        full = full[..., : self.size[0], : self.size[1]]
        assert isinstance(self.to_rgb, Tensor)
        return torch.einsum("ij,bjhw->bihw", self.to_rgb, full) + 0.5
