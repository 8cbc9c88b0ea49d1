"""Simple token mixing: the transform block of MLICv2 (arXiv 2504.19119, section 3.3, eq. 6).

Two of them take the place of each residual block of MLIC++ at about half the operations: spatial
mixing by depth-wise convolutions, channel mixing by 1x1 ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.reference.layers import Depthwise


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position."""

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W]
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TokenMixer(nn.Module):
    """Depth-wise residual (3x3, GELU, 1x1, GELU), 5x5 depth-wise, 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = Depthwise(channels)
        self.inner = nn.Conv2d(channels, channels, 1)
        self.far = Depthwise(channels, 5)
        self.outer = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + F.gelu(self.inner(F.gelu(self.near(x))))
        return self.outer(self.far(x))


class Gate(nn.Module):
    """v * sigmoid of what a 1x1, a 3x3 depth-wise and a 1x1 convolution say about v."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 1)
        self.mix = Depthwise(channels)
        self.outer = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.outer(F.gelu(self.mix(F.gelu(self.inner(x))))))


class TokenMixing(nn.Module):
    """One block at constant width and size: mixer, then gate, each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.mixer = TokenMixer(channels)
        self.norm2 = ChannelNorm(channels)
        self.gate = Gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norm1(x))
        return x + self.gate(self.norm2(x))


def mixing_pair(channels: int) -> nn.Sequential:
    """What stands where MLIC++ has a residual block."""
    return nn.Sequential(TokenMixing(channels), TokenMixing(channels))
