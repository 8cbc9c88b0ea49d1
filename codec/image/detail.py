"""Detail layer: what the latents leave over, for qualities that they cannot reach.

Nonlinear transforms with fewer latents than samples saturate: more bits stop helping near 40 dB.
Above ``MlicConfig.detail_from`` the latents stay at that quality, and the difference between
picture and synthesis is coded with an orthonormal transform, whose error is that of its
quantisation alone. Its scales are predicted from the decoded latents, in float64 like theirs, so a
stream needs no side information. The synthesis that the encoder subtracts is in float32: machines
may differ there by what is far below one level, and symbols depend on none of it.

Choose qualities below the threshold for everything that is looked at; the layer serves masters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from laconic.codec.image.checkerboard import checkerboard
from laconic.codec.image.config import MlicConfig
from laconic.codec.image.contexts import ChannelContext
from laconic.codec.image.layers import depth_to_space, patch_basis, space_to_depth

CHANNELS = 768  # 16 x 16 pixels of three colours
COARSEST, FINEST = 40.0, 3.0  # steps in levels of 8 bits just above the threshold and at 100


def detail_step(quality: float, start: float) -> float:
    """Quantisation step on the [0, 1] scale; ``start`` is the quality where the layer begins."""
    share = (quality - start) / (100 - start)
    return COARSEST * (FINEST / COARSEST) ** share / 255


def to_detail(difference: Tensor) -> Tensor:
    """``[B, H, W, 3]`` -> orthonormal coefficients ``[B, H/16, W/16, 768]``: 8x8 DCT of opponent
    colours, phase-major."""
    basis = patch_basis(64, 64).to(difference)
    return space_to_depth(space_to_depth(difference, 8) @ basis.T, 2)


def from_detail(coefficients: Tensor) -> Tensor:
    """Inverse of :func:`to_detail`."""
    basis = patch_basis(64, 64).to(coefficients)
    return depth_to_space(depth_to_space(coefficients, 2) @ basis, 8)


class DetailScales(nn.Module):
    """Log of the standard deviation of every coefficient, on the [0, 1] scale."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        self.window = config.window
        self.channel = ChannelContext(config.latent, config.context)
        self.inner = nn.Linear(config.hyper + config.context, config.detail)
        self.outer = nn.Linear(config.detail, CHANNELS)
        nn.init.zeros_(self.outer.weight)
        nn.init.constant_(self.outer.bias, math.log(3 / 255))

    def forward(self, hyper: Tensor, y: Tensor) -> Tensor:
        """Hyper features ``[B, H, W, h]`` and y_hat over its unit ``[B, H, W, M]`` ->
        ``[B, H, W, 768]``."""
        height, width = y.shape[1:3]
        board = checkerboard(height, width, self.window, y.device)
        context = self.channel(y.flatten(1, 2), board)
        seen = torch.cat((hyper.flatten(1, 2), context), -1)
        return self.outer(nn.functional.gelu(self.inner(seen))).unflatten(1, (height, width))
