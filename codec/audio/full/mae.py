"""AudioMAE: the vision transformer whose features the semantic tokens quantise.

Patches of 16 frames by 16 bins, ViT-Base, fixed sine-cosine positions. The codec's feature is the
mean over the last three blocks, each through the final norm. The decoder of the masked
pre-training is part of published checkpoints and of no codec; it is built on request only.
Paper: Huang et al., Masked Autoencoders that Listen, NeurIPS 2022 (arXiv 2207.06405).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.full.config import GRID, PATCH, FullConfig

AVERAGED = 3  # last blocks whose outputs make the feature
EPSILON = 1e-6


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, width = x.shape
        # [3, B, heads, N, width of a head]
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(b, n, width))


class Mlp(nn.Module):
    """Two layers with GELU between, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, EPSILON)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """``[B, 1, frames, bins]`` -> ``[B, patches, width]``, time-major."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, PATCH, PATCH)

    def forward(self, mel: Tensor) -> Tensor:
        return self.proj(mel).flatten(2).transpose(1, 2)


def sine_cosine(width: int) -> Tensor:
    """``[1, 1 + patches, width]``; the class token's vector is zero.

    The public code lays its table out for a grid of 8 x 64 although patches come as 64 x 8: the
    patch 8 t + f gets the place of column (8 t + f) mod 64 (first half) and row (8 t + f) div 64.
    Vectors stay distinct, and trained weights depend on it.
    """
    omega = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    index = torch.arange(GRID[0] * GRID[1])
    places = (index % GRID[0], index // GRID[0])
    angles = [torch.outer(place.double(), omega) for place in places]
    table = torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1)
    return F.pad(table, (0, 0, 1, 0))[None].float()


class AudioMae(nn.Module):
    """The encoder, with the names of the public checkpoint below ``audiomae.model.``."""

    def __init__(self, config: FullConfig, *, pretraining: bool = False) -> None:
        super().__init__()
        width = config.width
        self.patch_embed = PatchEmbedding(width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(sine_cosine(width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, EPSILON)
        if pretraining:
            small = config.pretraining_width
            heads = max(1, small // 32)
            self.mask_token = nn.Parameter(torch.zeros(1, 1, small))
            self.decoder_pos_embed = nn.Parameter(sine_cosine(small), requires_grad=False)
            self.decoder_embed = nn.Linear(width, small)
            self.decoder_blocks = nn.ModuleList(
                Block(small, heads) for _ in range(config.pretraining_depth)
            )
            self.decoder_norm = nn.LayerNorm(small, EPSILON)
            self.decoder_pred = nn.Linear(small, PATCH * PATCH)

    def embed(self, mel: Tensor) -> Tensor:
        """``[B, 1024, 128]`` -> ``[B, 513, width]``: class token and patches with positions."""
        patches = self.patch_embed(mel[:, None]) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(mel), -1, -1)
        return torch.cat([first, patches], 1)

    def forward(self, mel: Tensor) -> Tensor:
        """``[B, 1024, 128]`` -> ``[B, 512, width]``, index 8 t + f."""
        x = self.embed(mel)
        kept = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index >= len(self.blocks) - AVERAGED:
                kept.append(self.norm(x))
        return torch.stack(kept).mean(0)[:, 1:]
