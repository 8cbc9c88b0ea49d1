"""Blocks of the small model: ConvNeXt over frames, transformer over tokens.

The feed-forward parts use squared ReLU (So et al. 2021, arXiv 2109.08668): on a processor GELU
costs as much time as the matrix product before it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def squared_relu(x: Tensor) -> Tensor:
    """max(x, 0)^2."""
    return F.relu(x).square()


class ConvBlock(nn.Module):
    """ConvNeXt block over time (Liu et al. 2022, in one dimension as in Vocos)."""

    def __init__(self, dim: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)
        self.gain = nn.Parameter(torch.full((dim,), scale))

    def forward(
        self, x: Tensor, shift: Tensor | None = None, scale: Tensor | None = None
    ) -> Tensor:
        """``[B, T, dim]`` -> same; ``shift`` and ``scale`` ``[B, 1, dim]`` modulate the norm."""
        y = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        if shift is not None and scale is not None:
            y = y * (1 + scale) + shift
        return x + self.gain * self.down(squared_relu(self.up(y)))


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, rotation: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """``[B, N, dim]`` -> same; ``mask`` ``[N, N]`` is added to the scores."""
        batch, length, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [B, heads, N, dim / heads]
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, dim))
        return x + self.down(squared_relu(self.up(self.norm2(x))))


def rotary(times: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``[N, width / 2]`` of rotary positions (Su et al. 2021)."""
    rates = 100.0 ** (-torch.arange(width // 2, device=times.device) / (width // 2))
    angle = times[:, None].float() * rates
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the halves of ``[..., N, width]`` as pairs."""
    a, b = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def sincos(count: int, dim: int) -> Tensor:
    """Fixed sine and cosine positions ``[count, dim]``."""
    rates = 10_000.0 ** (-torch.arange(dim // 2) / (dim // 2))
    angle = torch.arange(count)[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], dim=1)
