"""The ConvNeXt encoder of HNeRV: frames to embeddings while fitting; it is never sent.

A network that sees the frame gives embeddings that resemble each other where frames do, which
the decoder learns faster than free numbers. Liu et al., "A ConvNet for the 2020s", CVPR 2022, in
the arrangement of HNeRV (arXiv 2304.02633).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of ``[B, C, H, W]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        moved = x.permute(0, 2, 3, 1)  # [B, H, W, C]
        normal = F.layer_norm(moved, self.weight.shape, self.weight, self.bias, 1e-6)
        return normal.permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """7 x 7 depthwise convolution and an inverted bottleneck, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)  # [B, H, W, C]
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ConvNextEncoder(nn.Module):
    """Frames ``[B, 3, H, W]`` in [0, 1] to embeddings ``[B, channels, H / P, W / P]``.

    Args:
        strides: one stage each; P is their product and divides H and W.
        channels: of the embedding.
        hidden: of all stages but the last.
    """

    def __init__(self, strides: Sequence[int], channels: int, hidden: int = 64) -> None:
        super().__init__()
        widths = [hidden] * (len(strides) - 1) + [channels]
        layers, before = [], 3
        for i, (stride, width) in enumerate(zip(strides, widths, strict=True)):
            conv = nn.Conv2d(before, width, stride, stride)
            norm = ChannelNorm(before if i else width)
            layers.append(nn.Sequential(norm, conv) if i else nn.Sequential(conv, norm))
            before = width
        self.downsample_layers = nn.ModuleList(layers)
        self.stages = nn.ModuleList(nn.Sequential(ConvNextBlock(width)) for width in widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        for down, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(down(x))
        return x
