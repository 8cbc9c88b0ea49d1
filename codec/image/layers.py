"""Building blocks of the image transforms and of the entropy model.

Everything here is channels-last: a feature map is ``[B, H, W, C]`` and a 1x1 convolution is a plain
matrix product, which is what CPUs do best and what the same code can repeat in float64 for the
exact entropy path (``contexts.py``, ``slices.py``). Depth-wise convolutions supply the spatial
mixing at 1/8 and 1/16 of the resolution (Jia et al., "Towards Practical Real-Time Neural Video
Compression", CVPR 2025, arXiv 2502.20762).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Orthonormal opponent colours: luma-like sum, red-blue and green-magenta differences.
OPPONENT = (
    (3**-0.5, 3**-0.5, 3**-0.5),
    (2**-0.5, 0.0, -(2**-0.5)),
    (6**-0.5, -2 * 6**-0.5, 6**-0.5),
)


class DepthwiseConv(nn.Module):
    """3x3 depth-wise convolution on ``[B, H, W, C]`` with zero padding.

    In float32 it calls the library's kernel. In float64 it adds nine shifted products: PyTorch's
    float64 depth-wise kernel is eight times slower on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.uniform_(self.weight, -1 / 3, 1 / 3)

    def forward(self, x: Tensor) -> Tensor:  # [B, H, W, C] -> [B, H, W, C]
        if x.dtype != torch.float64:
            y = F.conv2d(
                x.permute(0, 3, 1, 2), self.weight, self.bias, padding=1, groups=x.shape[-1]
            )
            return y.permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        padded = F.pad(x, (0, 0, 1, 1, 1, 1))
        out = self.bias.expand_as(x)
        for i in range(3):
            for j in range(3):
                out = torch.addcmul(
                    out, padded[:, i : i + height, j : j + width], self.weight[:, 0, i, j]
                )
        return out


class Block(nn.Module):
    """Residual block: depth-wise spatial mixing, then a point-wise feed-forward.

    Both branches end in a layer that starts at zero, so that a fresh network is the linear
    transform it was initialised with. With ``mixed`` set, training computes the branches in
    bfloat16; the sum stays in float32.
    """

    mixed = False

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.mix_in = nn.Linear(channels, channels)
        self.mix = DepthwiseConv(channels)
        self.mix_out = nn.Linear(channels, channels)
        self.ffn_in = nn.Linear(channels, expansion * channels)
        self.ffn_out = nn.Linear(expansion * channels, channels)
        for last in (self.mix_out, self.ffn_out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:  # [B, H, W, C] -> [B, H, W, C]
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed and self.training):
            x = x + self.mix_out(self.mix(F.gelu(self.mix_in(x))))
            return x + self.ffn_out(F.gelu(self.ffn_in(x)))


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """``[B, H, W, C]`` -> ``[B, H/f, W/f, f*f*C]``; phase-major, channels innermost."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // factor, factor, w // factor, factor, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(b, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """Inverse of :func:`space_to_depth`."""
    b, h, w, c = x.shape
    c //= factor * factor
    x = x.reshape(b, h, w, factor, factor, c).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * factor, w * factor, c)


def dct_matrix(size: int) -> Tensor:
    """Orthonormal DCT-II matrix, ``[size, size]``, rows are basis functions."""
    n = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (n[None] + 0.5) * n[:, None]) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def patch_basis(luma: int, chroma: int, size: int = 8) -> Tensor:
    """Lowest DCT basis functions of a colour patch.

    Returns ``[luma + 2*chroma, size*size*3]`` orthonormal rows that act on the output of
    :func:`space_to_depth` of an RGB picture: ``luma`` functions of the sum colour and ``chroma`` of
    each difference colour, in zigzag order of frequency.
    """
    dct = dct_matrix(size)
    order = sorted(((u, v) for u in range(size) for v in range(size)), key=lambda p: (sum(p), p))
    colours = torch.tensor(OPPONENT, dtype=torch.float64)
    rows = []
    for colour, count in zip(colours, (luma, chroma, chroma), strict=True):
        for u, v in order[:count]:
            plane = torch.outer(dct[u], dct[v])  # [size, size]
            rows.append((plane[..., None] * colour).reshape(-1))
    return torch.stack(rows)
