"""Layers of PSCodec: ConvNeXt blocks for frames, HiFi-GAN's residual blocks for samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1


class FrameBlock(nn.Module):
    """ConvNeXt block on ``[B, T, width]``: depthwise 7, norm, three times as wide, back."""

    def __init__(self, width: int, kernel: int = 7) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 3 * width)
        self.outer = nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.outer(F.gelu(self.inner(self.norm(y))))


class SampleBlock(nn.Module):
    """HiFi-GAN residual block of three dilations on ``[B, C, N]``; ``groups`` adds GroupNorm."""

    def __init__(self, channels: int, kernel: int, groups: int = 0) -> None:
        super().__init__()

        def pair(dilation: int) -> nn.Sequential:
            spread = nn.Conv1d(
                channels, channels, kernel, dilation=dilation, padding=dilation * (kernel // 2)
            )
            plain = nn.Conv1d(channels, channels, kernel, padding=kernel // 2)
            norms = [nn.GroupNorm(groups, channels) if groups else nn.Identity() for _ in range(2)]
            activation = nn.LeakyReLU(SLOPE)
            return nn.Sequential(norms[0], activation, spread, norms[1], activation, plain)

        self.pairs = nn.ModuleList(pair(d) for d in (1, 3, 5))

    def forward(self, x: Tensor) -> Tensor:
        for pair in self.pairs:
            x = x + pair(x)
        return x


def mean_of(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    """Average of several blocks on the same input."""
    return torch.stack([block(x) for block in blocks]).mean(0)
