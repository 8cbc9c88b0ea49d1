"""The diffusion network: a U-Net with two transformers per block ("T-UNet") on the VAE's latent.

Four levels of 64, 128, 192 and 320 channels; the three lower ones attend to themselves and to the
condition. It predicts v (``diffusion.py``). Names follow the public checkpoints.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.full.attention import SpatialTransformer
from laconic.codec.audio.full.config import FullConfig

BLOCKS = 2  # residual blocks per level on the way down, one more on the way up
GROUPS = 32


def time_features(steps: Tensor, width: int) -> Tensor:
    """int ``[B]`` -> ``[B, width]``: cosines, then sines, of geometric frequencies."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
    angles = steps[:, None].float() * rates.to(steps.device)
    return torch.cat([angles.cos(), angles.sin()], 1)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, plus the time's vector, norm, SiLU, conv, plus the input."""

    def __init__(self, inputs: int, outputs: int, time: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, outputs),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
        )
        self.skip_connection: nn.Module = (
            nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(y)


class Downsample(nn.Module):
    """Convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Stage(nn.ModuleList):
    """Modules in a row, each given what it takes beside the map."""

    def forward(self, x: Tensor, time: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        for module in self:
            if isinstance(module, ResidualBlock):
                x = module(x, time)
            elif isinstance(module, SpatialTransformer):
                x = module(x, context, mask)
            else:
                x = module(x)
        return x


class UNet(nn.Module):
    """v of a noisy latent ``[B, 8, T, F]`` at time steps ``[B]`` given a condition."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        base, head = config.unet_channels, config.head_width
        time = 4 * base
        self.base = base
        self.time_embed = nn.Sequential(nn.Linear(base, time), nn.SiLU(), nn.Linear(time, time))

        def attended(channels: int) -> list[nn.Module]:
            return [SpatialTransformer(channels, c, head) for c in (None, config.context)]

        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(config.latent, base, 3, padding=1)])])
        channels, widths = base, [base]
        last = len(config.unet_multipliers) - 1
        for level, multiplier in enumerate(config.unet_multipliers):
            for _ in range(BLOCKS):
                block: list[nn.Module] = [ResidualBlock(channels, base * multiplier, time)]
                channels = base * multiplier
                self.input_blocks.append(Stage(block + (attended(channels) if level else [])))
                widths.append(channels)
            if level < last:
                self.input_blocks.append(Stage([Downsample(channels)]))
                widths.append(channels)
        self.middle_block = Stage(
            [
                ResidualBlock(channels, channels, time),
                *attended(channels),
                ResidualBlock(channels, channels, time),
            ]
        )
        self.output_blocks = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(config.unet_multipliers))):
            for index in range(BLOCKS + 1):
                inputs, outputs = channels + widths.pop(), base * multiplier
                channels = outputs
                block = [ResidualBlock(inputs, outputs, time)]
                block += attended(channels) if level else []
                if level and index == BLOCKS:
                    block.append(Upsample(channels))
                self.output_blocks.append(Stage(block))
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, config.latent, 3, padding=1),
        )

    def forward(
        self, x: Tensor, steps: Tensor, context: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """``context`` ``[B, positions, 1536 K + 192]``; ``mask`` bool ``[B, positions]``, false
        where nothing is to be seen."""
        time = self.time_embed(time_features(steps, self.base).to(x.dtype))
        kept = []
        for stage in self.input_blocks:
            x = stage(x, time, context, mask)
            kept.append(x)
        x = self.middle_block(x, time, context, mask)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, kept.pop()], 1), time, context, mask)
        return self.out(x)
