"""What MLICv2 adds to the entropy model of MLIC++ (arXiv 2504.19119, sections 3.4.1 to 3.4.4).

Attention and reweighting are those of the small model (``laconic.codec.image.contexts``), so that
there is one family; only the widths differ.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.checkerboard import Checkerboard
from laconic.codec.image.contexts import ChannelReweighting, LinearAttention
from laconic.codec.image.reference.layers import conv3x3

KEEP_BIAS = 4.0  # a fresh network codes every element
THRESHOLD = 0.3  # |y - mean| from which an element is worth coding


class GuidedContext(nn.Module):
    """Hyperprior-guided global correlation prediction for slice 0, which has no slice before it
    (section 3.4.1, eq. 7): each half of the checkerboard attends to the hyper features of the
    other."""

    def __init__(self, hyper: int, latent: int, channels: int) -> None:
        super().__init__()
        heads = max(1, latent // 32)
        self.attention = LinearAttention(hyper, hyper, hyper, latent, heads)
        self.merge = conv3x3(latent, channels)
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, hyper: Tensor, board: Checkerboard) -> Tensor:
        """``[B, hyper, H, W]`` -> ``[B, channels, H, W]``."""
        tokens = hyper.flatten(2).transpose(1, 2)  # [B, N, hyper]
        anchors, others = tokens[:, board.anchors], tokens[:, board.others]
        merged = board.merge(
            self.attention(anchors, others, others), self.attention(others, anchors, anchors)
        )
        x = self.merge(merged.transpose(1, 2).unflatten(2, (board.height, board.width)))
        return x + x * torch.sigmoid(self.gate(x))


class Reweighted(nn.Module):
    """Channel reweighting of a captured context map (section 3.4.2, eq. 8)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reweight = ChannelReweighting(channels)

    def forward(self, context: Tensor) -> Tensor:  # [B, C, N] or [B, C, H, W], same shape out
        tokens = context.flatten(2).transpose(1, 2)
        return self.reweight(tokens).transpose(1, 2).reshape(context.shape)


class KeepNet(nn.Module):
    """Guided selective compression (section 3.4.4, eq. 11-13): logit that |y - mean| exceeds
    ``THRESHOLD``, for each element.

    An element with a negative logit is not coded and takes its mean. Both sides compute the logits
    in float64 and the stream lists those close to zero, so that no decoder decides a close call.
    """

    def __init__(self, inputs: int, channels: int, hidden: int = 64) -> None:
        super().__init__()
        self.inner = nn.Linear(inputs + channels, hidden)
        self.outer = nn.Linear(hidden, channels)
        nn.init.zeros_(self.outer.weight)
        nn.init.constant_(self.outer.bias, KEEP_BIAS)

    def forward(self, known: Tensor, scale: Tensor) -> Tensor:
        """``known`` [B, K, N/2] (hyper features and earlier slices), ``scale`` [B, N/2, c] ->
        logits [B, N/2, c]."""
        x = torch.cat((known.transpose(1, 2), scale), -1)
        return self.outer(F.gelu(self.inner(x)))
