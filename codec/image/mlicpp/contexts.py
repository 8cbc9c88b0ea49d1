"""Context modules of MLIC++ and MLICv2.

The contexts of MLIC++ under their published names (Jiang et al., arXiv 2307.15421).

Maps are ``[B, C, H, W]``; ``c`` is the number of channels of a slice. The small model's own
contexts (``laconic.codec.image.slices``) say the same in fewer operations; these must equal the
authors' numbers.

What MLICv2 adds to the entropy model of MLIC++ (arXiv 2504.19119, sections 3.4.1 to 3.4.4).

Attention and reweighting are those of the small model (``laconic.codec.image.slices``), so that
there is one family; only the widths differ.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.mlicpp.layers import Depthwise, conv3x3
from laconic.codec.image.mlicpp.winograd import Seen
from laconic.codec.image.slices import (
    ChannelReweighting,
    Checkerboard,
    LinearAttention,
    RotaryPositions,
)

KEEP_BIAS = 4.0  # a fresh network codes every element
THRESHOLD = 0.3  # |y - mean| from which an element is worth coding


class Mlp(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def relative_positions(window: int) -> Tensor:
    """Row of the bias table for each pair of window tokens, ``[w^2, w^2]`` (Swin indexing)."""
    axis = torch.arange(window)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)  # [2, w^2]
    offset = grid[:, :, None] - grid[:, None] + window - 1  # [2, w^2, w^2]
    return offset[0] * (2 * window - 1) + offset[1]


class LocalContext(nn.Module):
    """Checkerboard window attention (section 3.2): all pairs of a window of anchors attend to each
    other, and a convolution merges the window into its centre."""

    relative_position_index: Tensor

    def __init__(self, channels: int, window: int, heads: int, *, rotary: bool = False) -> None:
        super().__init__()
        self.window, self.heads, self.rotary = window, heads, None
        if rotary:  # MLICv2, section 3.4.3: learned bases that start at 10,000
            self.rotary = RotaryPositions(channels // heads)
            nn.init.constant_(self.rotary.log_theta, math.log(10_000))
        else:
            self.relative_position_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
            nn.init.trunc_normal_(self.relative_position_table, std=0.02)
            self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv_proj = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(2 * channels, 2 * channels)
        self.mlp = Mlp(2 * channels, 4 * channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(2 * channels)
        self.fusion = nn.Conv2d(channels, 2 * channels, window)

    def forward(self, anchors: Tensor, board: Checkerboard) -> Tensor:
        """Anchors of a slice (zero elsewhere) -> ``[B, 2c, N/2]`` at the non-anchors."""
        b, c = anchors.shape[:2]
        tokens, heads = self.window**2, self.heads
        index, mask = windows(board.height, board.width, self.window, anchors.dtype)
        x = self.norm1(anchors.flatten(2).transpose(1, 2))  # [B, N, c]
        qkv = self._turned(self.qkv_proj(x), board)
        # Channel c is (dimension, head) on the way in ...
        qkv = qkv.reshape(b, -1, 3, c // heads, heads).permute(2, 0, 4, 1, 3)
        qkv = F.pad(qkv, (0, 0, 0, 1))  # [3, B, heads, N + 1, d], zero outside of the map
        found = qkv.index_select(3, index).unflatten(3, (-1, tokens))
        q, k, v = found.unbind(0)  # [B, heads, N/2, w^2, d]
        logits = (q * (c // heads) ** -0.5) @ k.transpose(-1, -2)
        if self.rotary is None:
            bias = self.relative_position_table[self.relative_position_index.reshape(-1)]
            logits = logits + bias.T.reshape(heads, 1, tokens, tokens)
        logits = logits + mask
        out = (logits.softmax(-1) @ v).flatten(3)  # [B, heads, N/2, w^2 * d]
        # ... and (head, dimension) on the way out, which checkpoints rely on.
        weight = self.fusion.weight.reshape(2 * c, heads, -1, tokens)
        weight = weight.permute(1, 3, 2, 0).flatten(1, 2)  # [heads, w^2 * d, 2c]
        out = self.proj((out @ weight).sum(1) + self.fusion.bias)  # [B, N/2, 2c]
        out = out + self.mlp(self.norm2(out))
        return out.transpose(1, 2)

    def _turned(self, qkv: Tensor, board: Checkerboard) -> Tensor:
        """``[B, N, 3c]`` with queries and keys turned by their positions."""
        if self.rotary is None:
            return qkv
        parts = list(qkv.chunk(3, -1))
        for i in range(2):
            by_head = parts[i].unflatten(-1, (-1, self.heads)).transpose(2, 3)  # [B, N, heads, d]
            parts[i] = self.rotary(by_head, board).transpose(2, 3).flatten(2)
        return torch.cat(parts, -1)


@lru_cache(maxsize=16)
def windows(height: int, width: int, window: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Windows around the non-anchors of a map: flat positions of their tokens, ``[N/2 * w^2]``, N
    outside of the map; and what is added to logits, 0 where both tokens are anchors and -100
    elsewhere, ``[N/2, w^2, w^2]``."""
    reach = window // 2
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    plane = F.pad(rows * width + columns, (reach,) * 4, value=height * width)
    others = (rows + columns) % 2 == 0
    around = plane.unfold(0, window, 1).unfold(1, window, 1)[others].flatten(1)  # [N/2, w^2]
    anchor = around != height * width
    anchor &= (around // width + around % width) % 2 == 1
    mask = (anchor[:, :, None] & anchor[:, None]).to(dtype)
    return around.reshape(-1), (mask - 1) * 100


class ChannelContext(nn.Module):
    """Earlier slices -> ``4c`` channels."""

    def __init__(self, previous: int, channels: int, widths: tuple[int, int]) -> None:
        super().__init__()
        self.fushion = nn.Sequential(
            nn.Conv2d(previous, widths[0], 3, padding=1),
            nn.GELU(),
            nn.Conv2d(widths[0], widths[1], 3, padding=1),
            nn.GELU(),
            nn.Conv2d(widths[1], 4 * channels, 3, padding=1),
        )

    def forward(self, seen: Seen) -> Tensor:
        first, *others = self.fushion
        x = seen.convolved(first, first=1)
        for layer in others:
            x = layer(x)
        return x


def _projection(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, channels, 1), Depthwise(channels))


def _mixer(inputs: int, outputs: int) -> nn.Sequential:
    hidden = 2 * outputs
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1),
        nn.GELU(),
        Depthwise(hidden),
        nn.GELU(),
        nn.Conv2d(hidden, outputs, 1),
    )


def linear_attention(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """softmax_channels(Q) [softmax_positions(K) V^T] (eq. 12); ``[B, C, Nq], [B, C, Nk], [B, C,
    Nk] -> [B, C, Nq]``, at a cost linear in positions."""
    b = query.shape[0]
    q = query.reshape(b, heads, -1, query.shape[2]).softmax(2)
    k = key.reshape(b, heads, -1, key.shape[2]).softmax(3)
    v = value.reshape(b, heads, -1, value.shape[2])
    summary = k @ v.transpose(2, 3)  # [B, heads, d, d]
    return (summary.transpose(2, 3) @ q).reshape(b, -1, query.shape[2])


class InterContext(nn.Module):
    """Global correlations within everything decoded before the slice (section 3.4)."""

    def __init__(self, previous: int, channels: int) -> None:
        super().__init__()
        self.heads = max(1, previous // 32)
        out = 2 * channels
        self.keys = _projection(previous, previous)
        self.queries = _projection(previous, previous)
        self.values = _projection(previous, previous)
        self.reprojection = nn.Conv2d(previous, out * 3 // 2, 5, padding=2)
        self.mlp = _mixer(out * 3 // 2, out)
        self.skip = nn.Conv2d(out * 3 // 2, out, 1)

    def forward(self, previous: Tensor) -> Tensor:
        height, width = previous.shape[2:]
        q, k, v = (f(previous).flatten(2) for f in (self.queries, self.keys, self.values))
        attended = linear_attention(q, k, v, self.heads).unflatten(2, (height, width))
        out = self.reprojection(attended)
        return self.skip(out) + self.mlp(out)


class IntraContext(nn.Module):
    """Correlations of the slice before, applied to the anchors of the current one (section
    3.3)."""

    heads = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.keys = _projection(channels, channels)
        self.queries = _projection(channels, channels)
        self.values = _projection(channels, channels)
        self.reprojection = nn.Conv2d(channels, 2 * channels, 5, padding=2)
        self.mlp = _mixer(2 * channels, 2 * channels)

    def forward(self, last: Tensor, anchors: Tensor, board: Checkerboard) -> Tensor:
        """``last`` is the slice before, ``anchors`` the current one with zeros elsewhere."""
        b, c, height, width = last.shape
        flat = torch.zeros_like(last.flatten(2))
        of_anchors = flat.index_copy(2, board.anchors, last.flatten(2)[..., board.anchors])
        of_others = flat.index_copy(2, board.others, last.flatten(2)[..., board.others])
        shape = (b, c, height, width)
        q = self.queries(of_others.reshape(shape)).flatten(2)[..., board.others]
        k = self.keys(of_anchors.reshape(shape)).flatten(2)[..., board.anchors]
        v = self.values(anchors).flatten(2)[..., board.anchors]
        attended = flat.index_copy(2, board.others, linear_attention(q, k, v, self.heads))
        out = self.reprojection(attended.reshape(shape))
        return out + self.mlp(out)


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
