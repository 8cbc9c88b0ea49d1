"""The autoencoder whose latent is diffused: mel ``[B, 1, T, 64]`` <-> latent ``[B, 8, T/4, 16]``.

From AudioLDM 2, frozen in SemantiCodec. The codec needs the decoder only; the encoder is built on
request, for training and for comparison. Names follow latent-diffusion checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.full.config import FullConfig
from laconic.codec.audio.full.hifigan import Vocoder

BLOCKS = 2


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """norm, SiLU, conv, twice, plus the input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class AttentionBlock(nn.Module):
    """Attention of one head over all positions of the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (f(y).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v)  # [B, H W, C]
        return x + self.proj_out(mixed.transpose(1, 2).unflatten(2, x.shape[2:]))


class Middle(nn.Module):
    """Residual block, attention, residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels)
        self.attn_1 = AttentionBlock(channels)
        self.block_2 = ResnetBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Resampler(nn.Module):
    """Convolution that halves the map (padded at the far edges) or doubles it."""

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(channels, channels, 3, 1 if up else 2, padding=1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Level(nn.Module):
    """Residual blocks of one resolution and, where it is set, the way to the next."""

    downsample: nn.Module
    upsample: nn.Module

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            ResnetBlock(inputs if i == 0 else outputs, outputs) for i in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return x


class Encoder(nn.Module):
    """mel ``[B, 1, T, F]`` -> ``[B, 2 latent, T/4, F/4]``."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        widths = [config.vae_channels * m for m in config.vae_multipliers]
        self.conv_in = nn.Conv2d(1, config.vae_channels, 3, padding=1)
        self.down = nn.ModuleList()
        channels = config.vae_channels
        for i, width in enumerate(widths):
            level = Level(channels, width, BLOCKS)
            channels = width
            if i < len(widths) - 1:
                level.downsample = Resampler(channels, up=False)
            self.down.append(level)
        self.mid = Middle(channels)
        self.norm_out = norm(channels)
        self.conv_out = nn.Conv2d(channels, 2 * config.latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            assert isinstance(level, Level)
            x = level(x)
            if hasattr(level, "downsample"):
                x = level.downsample(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """latent ``[B, latent, T, F]`` -> mel ``[B, 1, 4 T, 4 F]``."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        widths = [config.vae_channels * m for m in config.vae_multipliers]
        channels = widths[-1]
        self.conv_in = nn.Conv2d(config.latent, channels, 3, padding=1)
        self.mid = Middle(channels)
        levels = []
        for i, width in reversed(list(enumerate(widths))):
            level = Level(channels, width, BLOCKS + 1)
            channels = width
            if i:
                level.upsample = Resampler(channels, up=True)
            levels.append(level)
        self.up = nn.ModuleList(reversed(levels))  # index 0 is the finest, as in checkpoints
        self.norm_out = norm(channels)
        self.conv_out = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid(self.conv_in(z))
        for level in reversed(list(self.up)):
            assert isinstance(level, Level)
            x = level(x)
            if hasattr(level, "upsample"):
                x = level.upsample(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class FirstStage(nn.Module):
    """Autoencoder and vocoder; ``complete`` adds the encoder."""

    def __init__(self, config: FullConfig, *, complete: bool = False) -> None:
        super().__init__()
        if complete:
            self.encoder = Encoder(config)
            self.quant_conv = nn.Conv2d(2 * config.latent, 2 * config.latent, 1)
        self.decoder = Decoder(config)
        self.post_quant_conv = nn.Conv2d(config.latent, config.latent, 1)
        self.vocoder = Vocoder(config)

    def moments(self, mel: Tensor) -> Tensor:
        """mel ``[B, 1, T, 64]`` -> mean and log variance ``[B, 16, T/4, 16]``."""
        return self.quant_conv(self.encoder(mel))

    def decode(self, z: Tensor) -> Tensor:
        """latent ``[B, 8, T, 16]`` -> mel ``[B, 1, 4 T, 64]``."""
        return self.decoder(self.post_quant_conv(z))

    @torch.no_grad()
    def synthesise(self, z: Tensor) -> Tensor:
        """latent ``[B, 8, T, 16]`` -> sound ``[B, samples]``."""
        return self.vocoder(self.decode(z)[:, 0].transpose(1, 2))[:, 0]
