"""Transformers over feature maps, with the layout and names of latent-diffusion checkpoints.

A level of the diffusion network has two of them: one that attends the map itself twice, one whose
second attention reads the condition.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Attention of ``x`` to ``context``; positions whose ``mask`` is zero are not seen."""

    def __init__(self, width: int, context: int, head: int) -> None:
        super().__init__()
        self.head = head
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Identity())

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """``x`` ``[B, N, width]``, ``context`` ``[B, M, context]``, ``mask`` bool ``[B, M]``."""

        def heads(y: Tensor) -> Tensor:  # [B, heads, N, head]
            return y.unflatten(-1, (-1, self.head)).transpose(1, 2)

        seen = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(
            heads(self.to_q(x)), heads(self.to_k(context)), heads(self.to_v(context)), seen
        )
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class GatedLinear(nn.Module):
    """GEGLU: one half of the projection, weighted by GELU of the other."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Gated hidden layer, four times as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            GatedLinear(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, attention to the context (or to itself), feed-forward."""

    def __init__(self, width: int, context: int, head: int) -> None:
        super().__init__()
        self.attn1 = Attention(width, width, head)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, context, head)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        y = self.norm2(x)
        x = x + self.attn2(y, y if context is None else context, mask)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """Transformer block over all positions of a map ``[B, C, H, W]``."""

    def __init__(self, width: int, context: int | None, head: int) -> None:
        super().__init__()
        self.conditioned = context is not None
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, context or width, head)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)  # [B, H W, C]
        for block in self.transformer_blocks:
            y = block(y, context, mask) if self.conditioned else block(y, None, None)
        return x + self.proj_out(y.transpose(1, 2).unflatten(2, x.shape[2:]))
