"""The toolkit's own decoder: latents at several resolutions, and very few weights.

On a short clip the weights of HNeRV are most of the file, and they cost the same for one frame as
for a hundred. Here a frame is a pyramid of small latent maps, coded against those of the frame
before; the network that turns them into a picture has some ten thousand weights, works at half
resolution at most and upsamples bilinearly, so that it is also fast. The pyramid is that of
COOL-CHIC (Ladune et al., ICCV 2023) and C3 (Kim et al., CVPR 2024); bilinear upsampling between
residual blocks comes from HiNeRV (Kwan et al., NeurIPS 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.video.widths import REDUCTION

ENCODER_WIDTHS = (16, 24, 32)  # finest level first; the last for all coarser ones

HEAD = 2  # pixels along each side that one position of the finest level makes
NARROWEST = 8


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


def level_widths(width: int, levels: int) -> list[int]:
    """Channels of each level, coarsest first."""
    return [max(NARROWEST, round(width / REDUCTION**level)) for level in range(levels)]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with GELU between them, added to the input."""

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
        width: channels at the coarsest level.
        channels: latent channels of each level, coarsest first; 0 for a level without.
        rows, columns: of the picture.
    """

    def __init__(self, width: int, channels: Sequence[int], rows: int, columns: int) -> None:
        super().__init__()
        self.size = (rows, columns)
        self.sizes = level_sizes(rows, columns, len(channels))
        widths = level_widths(width, len(channels))
        self.inputs = nn.ModuleList(
            nn.Conv2d(d, c, 1) if d else nn.Identity()
            for d, c in zip(channels, widths, strict=True)
        )
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(ResidualBlock(c) for c in widths)
        self.head = nn.Conv2d(widths[-1], 3 * HEAD * HEAD, 3, padding=1)

    def forward(self, latents: Sequence[Tensor | None]) -> Tensor:
        """Frames ``[B, 3, H, W]``, unclipped, from one ``[B, d, h, w]`` a level."""
        x: Tensor | None = None
        for level, (latent, size) in enumerate(zip(latents, self.sizes, strict=True)):
            if x is not None:
                x = F.interpolate(
                    self.narrow[level - 1](x), size=size, mode="bilinear", align_corners=False
                )
            if latent is not None:
                added = self.inputs[level](latent)
                x = added if x is None else x + added
            assert x is not None
            x = self.blocks[level](x)
        picture = F.pixel_shuffle(self.head(x), HEAD) + 0.5
        return picture[..., : self.size[0], : self.size[1]]


class GridEncoder(nn.Module):
    """Frames to latent pyramids while fitting; never sent.

    Args:
        channels: latent channels of each level, coarsest first; 0 for a level without.
        sizes: rows and columns of each level, coarsest first.
    """

    def __init__(self, channels: Sequence[int], sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.sizes = list(sizes)[::-1]
        finest_first = list(channels)[::-1]
        last = len(ENCODER_WIDTHS) - 1
        widths = [ENCODER_WIDTHS[min(i, last)] for i in range(len(finest_first))]
        before = [3 * HEAD * HEAD, *widths]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(before, widths, strict=False)
        )
        self.outputs = nn.ModuleList(
            nn.Conv2d(c, d, 1) if d else nn.Identity()
            for c, d in zip(widths, finest_first, strict=True)
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """``[B, d, h, w]`` of each level with latents, coarsest first."""
        rows, columns = self.sizes[0]
        below, right = HEAD * rows - frames.shape[2], HEAD * columns - frames.shape[3]
        x = F.pixel_unshuffle(F.pad(frames, (0, right, 0, below), mode="replicate") - 0.5, HEAD)
        found = []
        for conv, output, size in zip(self.convs, self.outputs, self.sizes, strict=True):
            x = F.gelu(conv(F.adaptive_avg_pool2d(x, size) if x.shape[-2:] != size else x))
            if isinstance(output, nn.Conv2d):
                found.append(output(x))
        return found[::-1]
