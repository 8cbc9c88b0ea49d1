"""From latents to a waveform in the published SemantiCodec: VAE, HiFi-GAN.

HiFi-GAN generator with weight norm folded in: mel ``[B, 64, frames]`` -> audio.

Upsampling 5 x 4 x 2 x 2 x 2 = 160 samples per 10 ms frame; the published paddings give 32 samples
more. Paper: Kong et al., HiFi-GAN, NeurIPS 2020 (arXiv 2010.05646).

The autoencoder whose latent is diffused: mel ``[B, 1, T, 64]`` <-> latent ``[B, 8, T/4, 16]``.

From AudioLDM 2, frozen in SemantiCodec. The codec needs the decoder only; the encoder is built on
request, for training and for comparison. Names follow latent-diffusion checkpoints.

The decoder: dequantised tokens -> latent by diffusion -> mel by the VAE -> audio by HiFi-GAN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.semanticodec.config import POSITION_WIDTH, FullConfig
from laconic.codec.audio.semanticodec.unet import Schedule, UNet, sample

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
        """latent ``[B, 8, T, 16]`` -> audio ``[B, samples]``."""
        return self.vocoder(self.decode(z)[:, 0].transpose(1, 2))[:, 0]


GUIDANCE = 2.0  # the public code's default; the paper finds about 3 best


def positions(count: int) -> Tensor:
    """``[count, 192]``: sines at even and cosines at odd places."""
    rates = torch.exp(torch.arange(0, POSITION_WIDTH, 2) * -(math.log(10_000.0) / POSITION_WIDTH))
    angles = torch.arange(count)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class Diffusion(nn.Module):
    """Holder of the network under the name that checkpoints use."""

    def __init__(self, config: FullConfig) -> None:
        super().__init__()
        self.diffusion_model = UNet(config)


class FullDecoder(Schedule):
    """Published decoder; ``complete`` adds what only training needs, so that keys equal the public
    checkpoint's but for its second, averaged copy of the diffusion network (``averaged_keys``)."""

    scale_factor: Tensor

    def __init__(self, config: FullConfig, *, complete: bool = False) -> None:
        super().__init__(complete=complete)
        self.config = config
        self.register_buffer("scale_factor", torch.tensor(1.0))
        self.model = Diffusion(config)
        self.first_stage_model = FirstStage(config, complete=complete)

    def averaged_keys(self) -> list[str]:
        """Keys of the averaged copy in a public checkpoint: the network's without dots."""
        names = (name for name, _ in self.model.named_parameters())
        return ["model_ema.decay", "model_ema.num_updates"] + [
            "model_ema." + name.replace(".", "") for name in names
        ]

    @torch.no_grad()
    def forward(
        self, codes: Tensor, *, steps: int, seed: int, guidance: float = GUIDANCE, eta: float = 1.0
    ) -> Tensor:
        """``[B, positions, 1536 K]``, -1 where there is no audio -> a window of audio."""
        place = positions(codes.shape[1]).to(codes).expand(len(codes), -1, -1)
        condition = torch.cat([codes, place], -1)
        nothing = torch.cat([torch.zeros_like(codes), place], -1)
        network = self.model.diffusion_model

        def predict(z: Tensor, t: Tensor) -> Tensor:
            v = network(z, t, condition)
            if guidance == 1.0:
                return v
            blind = network(z, t, nothing)
            return blind + guidance * (v - blind)

        latent = sample(
            predict,
            self.alphas_cumprod,
            (len(codes), *self.config.latent_shape),
            steps=steps,
            seed=seed,
            eta=eta,
            like=codes,
        )
        return self.first_stage_model.synthesise(latent / self.scale_factor)
