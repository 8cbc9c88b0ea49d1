"""Analysis and synthesis transforms g_a and g_s.

All work happens at 1/8 and 1/16 of the resolution: full-resolution feature maps cost most of the
time and buy little rate (DCVC-RT, arXiv 2502.20762). Both transforms contain an exact linear
path - 8x8 DCT of opponent colours, then the Karhunen-Loeve transform of 2x2 neighbours - to which
the residual blocks add what a linear transform cannot do. A model therefore starts its training as
a block-transform codec and not as noise, which matters when hours of training are few (compare the
wavelet shortcuts of AuxT, arXiv 2411.10650).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig
from laconic.codec.image.layers import Block, depth_to_space, patch_basis, space_to_depth
from laconic.codec.image.rate import RateTable, lambda_of, step_of


class Analysis(nn.Module):
    """g_a: ``[B, H, W, 3]`` in [0, 1] -> y in units of the quantisation step, ``[B, H/16, W/16,
    M]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        c, m = config.features, config.latent
        self.stem = nn.Linear(192, c)
        self.blocks = nn.ModuleList(Block(c) for _ in range(config.encoder_blocks))
        self.feature_gain = RateTable(config.rate_anchors, c)
        self.down = nn.Linear(4 * c, m)
        self.tail = Block(m)
        self.gain = RateTable(config.rate_anchors, m)

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        x = self.stem(space_to_depth(x - 0.5, 8))  # [B, H/8, W/8, C]
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0:
                x = x * self.feature_gain(quality).exp()
        y = self.tail(self.down(space_to_depth(x, 2)))  # [B, H/16, W/16, M]
        return y * self.gain(quality).exp()


class Synthesis(nn.Module):
    """g_s: y_hat ``[B, H/16, W/16, M]`` -> x_hat ``[B, H, W, 3]`` (not clipped)."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        c, m = config.features, config.latent
        self.gain = RateTable(config.rate_anchors, m)
        self.head = Block(m)
        self.up = nn.Linear(m, 4 * c)
        self.blocks = nn.ModuleList(Block(c) for _ in range(config.decoder_blocks))
        self.feature_gain = RateTable(config.rate_anchors, c)
        self.tail = nn.Linear(c, 192)

    def forward(self, y: Tensor, quality: Tensor) -> Tensor:
        y = self.head(y * self.gain(quality).exp())
        x = depth_to_space(self.up(y), 2)  # [B, H/8, W/8, C]
        for i, block in enumerate(self.blocks):
            if i == len(self.blocks) - 1:
                x = x * self.feature_gain(quality).exp()
            x = block(x)
        return depth_to_space(self.tail(x), 8) + 0.5


@torch.no_grad()
def initialise_linear_path(
    g_a: Analysis, g_s: Synthesis, config: MlicConfig, pictures: Tensor
) -> Tensor:
    """Set the linear path of both transforms from sample pictures ``[N, H, W, 3]`` in [0, 1].

    Stem and tail become the 8x8 DCT of opponent colours with its outputs scaled to standard
    deviation^(1/2), which conditions the residual blocks; down and up become the Karhunen-Loeve
    transform of 2x2 neighbours. Returns the standard deviations of y before its gain, ``[M]``.
    """
    c, m = config.features, config.latent
    basis = patch_basis(config.luma, config.chroma)  # [C, 192]
    coefficients = space_to_depth(pictures - 0.5, 8).double() @ basis.T  # [N, h, w, C]
    flat = coefficients.reshape(-1, c)
    condition = flat.std(0).clamp_min(1e-3).rsqrt()  # [C]
    grouped = space_to_depth(coefficients, 2).reshape(-1, 4 * c)
    covariance = grouped.T @ grouped / len(grouped)
    energy, vectors = torch.linalg.eigh(covariance)
    klt = vectors[:, -m:].flip(1).T  # [M, 4C], decreasing energy
    scale = condition.repeat(4)  # phase-major, channels innermost
    g_a.stem.weight.copy_(basis * condition[:, None])
    g_a.down.weight.copy_(klt / scale)
    g_s.up.weight.copy_((klt * scale).T)
    g_s.tail.weight.copy_((basis / condition[:, None]).T)
    for layer in (g_a.stem, g_a.down, g_s.up, g_s.tail):
        layer.bias.zero_()
    anchors = g_a.gain.table.shape[0]
    for k in range(anchors):
        log_step = torch.tensor(step_of(lambda_of(100 * k / (anchors - 1), config.rates))).log()
        g_a.gain.table[k] = -log_step
        g_s.gain.table[k] = log_step
    return energy.flip(0)[:m].clamp_min(1e-12).sqrt()
