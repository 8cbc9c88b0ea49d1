"""Hyperprior: h_a describes y in a few numbers at 1/64, h_s turns them into features at 1/16.

Reference: Balle et al., "Variational image compression with a scale hyperprior", ICLR 2018
(arXiv 1802.01436). The prior of the hyper-latent z is a Gaussian per channel whose mean and scale
follow the quality, so that z uses the same integer tables as y.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig
from laconic.codec.image.layers import Block, depth_to_space, space_to_depth
from laconic.codec.image.rate import RateTable


class HyperAnalysis(nn.Module):
    """h_a: normalised y ``[B, H, W, M]`` -> z ``[B, H/4, W/4, Z]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        width = config.z_channels
        self.inner = nn.Linear(config.latent, 2 * width)
        self.middle = nn.Linear(8 * width, 2 * width)
        self.block = Block(2 * width)
        self.outer = nn.Linear(8 * width, width)

    def forward(self, y: Tensor) -> Tensor:
        x = F.gelu(self.inner(y))
        x = self.block(F.gelu(self.middle(space_to_depth(x, 2))))
        return self.outer(space_to_depth(x, 2))


class HyperSynthesis(nn.Module):
    """h_s: z_hat ``[B, H/4, W/4, Z]`` -> hyper features ``[B, H, W, hyper]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        width, hyper = 2 * config.z_channels, config.hyper
        self.inner = nn.Linear(config.z_channels, 4 * width)
        self.block = Block(width)
        self.outer = nn.Linear(width, 4 * hyper)
        self.tail = Block(hyper)
        self.quality = RateTable(config.rate_anchors, hyper)

    def forward(self, z: Tensor, quality: Tensor) -> Tensor:
        x = self.block(depth_to_space(self.inner(z), 2))
        x = depth_to_space(self.outer(F.gelu(x)), 2)
        return self.tail(x + self.quality(quality))


class ZPrior(nn.Module):
    """Mean and log-scale of each channel of z at a quality, both ``[B, 1, 1, Z]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        self.mean = RateTable(config.rate_anchors, config.z_channels)
        self.log_scale = RateTable(config.rate_anchors, config.z_channels)

    def forward(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(quality), self.log_scale(quality)
