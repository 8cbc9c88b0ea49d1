"""HiFi-GAN generator with weight norm folded in: mel ``[B, 64, frames]`` -> sound.

Upsampling 5 x 4 x 2 x 2 x 2 = 160 samples per 10 ms frame; the published paddings give 32 samples
more. Paper: Kong et al., HiFi-GAN, NeurIPS 2020 (arXiv 2010.05646).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.full.config import FullConfig

RATES = (5, 4, 2, 2, 2)
KERNELS = (16, 16, 8, 4, 4)
RESIDUAL_KERNELS = (3, 7, 11)
DILATIONS = (1, 3, 5)
SLOPE = 0.1


class ResidualBlock(nn.Module):
    """Three pairs of convolutions, the first of each pair dilated."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2)
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class Vocoder(nn.Module):
    """The generator; residual blocks of three kernel sizes are averaged at each resolution."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        channels = config.vocoder_channels
        self.conv_pre = nn.Conv1d(config.mel_bins, channels, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(RATES, KERNELS, strict=True):
            up = nn.ConvTranspose1d(
                channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2
            )
            channels //= 2
            self.ups.append(up)
            self.resblocks.extend(ResidualBlock(channels, k) for k in RESIDUAL_KERNELS)
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, mel: Tensor) -> Tensor:
        """``[B, 64, frames]`` -> ``[B, 1, 160 frames + 32]`` in (-1, 1)."""
        x = self.conv_pre(mel)
        count = len(RESIDUAL_KERNELS)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = list(self.resblocks)[i * count : (i + 1) * count]
            x = torch.stack([block(x) for block in blocks]).mean(0)
        return torch.tanh(self.conv_post(F.leaky_relu(x)))
