"""Transforms of MLIC++ (Jiang et al., arXiv 2307.15421): g_a, g_s, h_a and h_s. MLICv2 puts two
token mixing blocks where MLIC++ has a residual block.

Pictures are ``[B, 3, H, W]`` in [0, 1], sides multiples of 64; y lives at 1/16, z at 1/64.
"""

from __future__ import annotations

from torch import Tensor, nn

from laconic.codec.image.reference.config import ReferenceConfig
from laconic.codec.image.reference.layers import (
    ResidualBlock,
    ResidualDown,
    ResidualUp,
    conv3x3,
    subpixel3x3,
)
from laconic.codec.image.reference.mixing import mixing_pair


def _block(config: ReferenceConfig, inputs: int, outputs: int) -> nn.Module:
    return mixing_pair(outputs) if config.second else ResidualBlock(inputs, outputs)


class Analysis(nn.Module):
    """g_a: picture -> y ``[B, M, H/16, W/16]``."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        self.analysis_transform = nn.Sequential(
            ResidualDown(3, n),
            _block(config, n, n),
            ResidualDown(n, n),
            _block(config, n, n),
            ResidualDown(n, n),
            _block(config, n, n),
            conv3x3(n, m, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.analysis_transform(x)


class Synthesis(nn.Module):
    """g_s: y_hat -> picture, not clipped."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        first = n if config.narrow_synthesis else m
        self.synthesis_transform = nn.Sequential(
            _block(config, m, first),
            ResidualUp(first, n),
            _block(config, n, n),
            ResidualUp(n, n),
            _block(config, n, n),
            ResidualUp(n, n),
            _block(config, n, n),
            subpixel3x3(n, 3),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.synthesis_transform(y)


class HyperAnalysis(nn.Module):
    """h_a: y -> z ``[B, N, H/64, W/64]``."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        self.reduction = nn.Sequential(
            conv3x3(m, n),
            nn.GELU(),
            conv3x3(n, n),
            nn.GELU(),
            conv3x3(n, n, stride=2),
            nn.GELU(),
            conv3x3(n, n),
            nn.GELU(),
            conv3x3(n, n, stride=2),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.reduction(y)


class HyperSynthesis(nn.Module):
    """h_s: z_hat -> ``[B, 2M, H/16, W/16]``, named scales (first half) and means (second)."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        wide = m * 3 // 2
        self.increase = nn.Sequential(
            conv3x3(n, m),
            nn.GELU(),
            subpixel3x3(m, m),
            nn.GELU(),
            conv3x3(m, wide),
            nn.GELU(),
            subpixel3x3(wide, wide),
            nn.GELU(),
            conv3x3(wide, 2 * m),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.increase(z)
