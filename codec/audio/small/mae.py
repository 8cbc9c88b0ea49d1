"""Masked spectrogram autoencoder: where the semantic features come from.

AudioMAE (Huang et al. 2022, arXiv 2207.06405) at a sixtieth of its size: 16 x 16 patches of the
log-mel spectrogram, most of them hidden, the encoder sees the rest and a throw-away decoder
predicts the hidden ones. The feature of a patch is the mean of the last blocks' outputs, each
after the final norm, as in SemantiCodec (Liu et al. 2024, section III-A). Windows of every length
are trained, so that the last window of a file needs no padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from laconic.codec.audio.small.config import PATCH, PATCH_ROWS, PATCHES, SmallConfig
from laconic.codec.audio.small.layers import TransformerBlock, sincos

PIXELS = PATCH * PATCH


def patches_of(spectrogram: Tensor) -> Tensor:
    """``[B, 16 T, 128]`` -> ``[B, 8 T, 256]``, time-major, frequency inner."""
    batch, frames, bands = spectrogram.shape
    grid = spectrogram.view(batch, frames // PATCH, PATCH, bands // PATCH, PATCH)
    return grid.transpose(2, 3).reshape(batch, -1, PIXELS)


def stacked(tokens: Tensor, config: SmallConfig) -> Tensor:
    """Join neighbouring patches: ``[B, 8 T, C]`` -> ``[B, 8 T / K, K C]``, K = ``config.stack``."""
    batch, count, width = tokens.shape
    shape = (batch, count // (8 * config.span), config.span, config.positions, config.rows, width)
    grid = tokens.reshape(shape).transpose(2, 3)  # [B, columns, positions, span, rows, C]
    return grid.reshape(batch, -1, config.stack * width)


class MaskedAutoencoder(nn.Module):
    """The encoder; :class:`MaskedDecoder` is only needed to train it."""

    position: Tensor

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        dim = config.mae_dim
        self.features = config.mae_features
        self.embed = nn.Linear(PIXELS, dim)
        self.register_buffer("position", grid_positions(dim), persistent=False)
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, config.mae_heads, 4 * dim) for _ in range(config.mae_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def embedded(self, patches: Tensor) -> Tensor:
        """Patches ``[B, 8 T, 256]`` -> tokens with positions ``[B, 8 T, dim]``."""
        embedded: Tensor = self.embed(patches) + self.position[: patches.shape[1]]
        return embedded

    def forward(self, patches: Tensor) -> Tensor:
        """Features ``[B, 8 T, dim]`` of patches ``[B, 8 T, 256]``, T <= 64."""
        x = self.embedded(patches)
        total = torch.zeros_like(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i >= len(self.blocks) - self.features:
                total = total + self.norm(x)
        return total / self.features

    def visible(self, patches: Tensor, keep: Tensor) -> Tensor:
        """Last block's output for the patches ``keep`` ``[B, visible]`` alone."""
        x = self.embedded(patches)
        x = x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class MaskedDecoder(nn.Module):
    """Predicts hidden patches from visible tokens."""

    position: Tensor

    def __init__(self, width: int, dim: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(width, dim)
        self.hidden = nn.Parameter(torch.zeros(dim))
        self.register_buffer("position", grid_positions(dim), persistent=False)
        self.blocks = nn.ModuleList(TransformerBlock(dim, 4, 4 * dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, PIXELS)

    def forward(self, visible: Tensor, keep: Tensor, count: int) -> Tensor:
        """All ``count`` patches ``[B, count, 256]``."""
        y = self.embed(visible)
        x = self.hidden.to(y.dtype).expand(len(y), count, -1)
        x = x.scatter(1, keep[:, :, None].expand_as(y), y) + self.position[:count]
        for block in self.blocks:
            x = block(x)
        prediction: Tensor = self.head(self.norm(x))
        return prediction


def grid_positions(dim: int) -> Tensor:
    """Fixed two-dimensional positions ``[512, dim]``: half the width for time, half for bands."""
    time = sincos(PATCHES, dim // 2).repeat_interleave(PATCH_ROWS, dim=0)
    rows = sincos(PATCH_ROWS, dim // 2).repeat(PATCHES, 1)
    return torch.cat([time, rows], dim=1)


def masked_loss(encoder: MaskedAutoencoder, decoder: MaskedDecoder, patches: Tensor) -> Tensor:
    """Mean squared error on four fifths of the patches, each normalised by its own mean and
    deviation (He et al. 2022, section 3; masking as in AudioMAE)."""
    batch, count, _ = patches.shape
    order = torch.rand(batch, count, device=patches.device).argsort(dim=1)
    keep = order[:, : max(1, count // 5)]
    prediction = decoder(encoder.visible(patches, keep), keep, count).float()
    mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    target = (patches - mean) / (variance + 1e-2).sqrt()
    hidden = torch.ones(batch, count, device=patches.device).scatter(1, keep, 0.0)
    error = (prediction - target).square().mean(-1)
    return (error * hidden).sum() / hidden.sum()
