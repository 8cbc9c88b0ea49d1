"""Variable rate: one set of weights for every quality from 0 to 100.

Quality q stands for a Lagrangian multiplier, log-spaced:

    lambda(q) = 0.0008 * 150^(q / 100)         of  lambda * 255^2 * MSE + bpp

for the first model; a configuration may give other points of the curve (``MlicConfig.rates``).
Every place where the network must know the quality holds a small table of vectors at equally spaced
control points, interpolated linearly (the values are logarithms of gains, so gains are interpolated
geometrically; Cui et al., "Asymmetric Gained Deep Image Compression", CVPR 2021, arXiv 2003.02012,
and the per-QP vectors of DCVC-RT, arXiv 2502.20762).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

QUALITY_STEPS = 1000  # a stream stores the quality in tenths
Rates = tuple[tuple[float, float], ...]


def lambda_of(quality: float, rates: Rates) -> float:
    """Multiplier of ``255^2 * MSE`` for a quality in 0..100, on the curve through ``rates``."""
    for (low, start), (high, end) in pairwise(rates):
        if quality <= high:
            return float(start * (end / start) ** ((quality - low) / (high - low)))
    return rates[-1][1]


def lambdas_of(quality: Tensor, rates: Rates) -> Tensor:
    """As :func:`lambda_of` for every quality of a batch."""
    return torch.tensor(
        [lambda_of(q, rates) for q in quality.tolist()], dtype=quality.dtype, device=quality.device
    )


def quality_of(multiplier: float, rates: Rates) -> float:
    """Inverse of :func:`lambda_of`; beyond the ends the outer pieces go on."""
    pieces = list(pairwise(rates))
    (low, start), (high, end) = next((p for p in pieces if multiplier <= p[1][1]), pieces[-1])
    return low + (high - low) * math.log(multiplier / start) / math.log(end / start)


def step_of(multiplier: float) -> float:
    """Quantisation step of an orthonormal transform of [0, 1] RGB that is optimal at high rate.

    From d/dD (lambda * 255^2 * D^2 / 12 / 3 - log2 D) = 0 with D the step: the squared error is
    averaged over three sub-pixels and the rate is counted per pixel.
    """
    return math.sqrt(18 / (multiplier * 255**2 * math.log(2)))


STRUCTURE = 1280.0  # weight of 1 - MS-SSIM beside 255^2 * MSE
CHANNELS = (0.8, 0.1, 0.1)  # of Y, Cb and Cr in it: the eye resolves colour less
SMALLEST = 161  # pixels a side for which MS-SSIM is defined


def structural_similarity(x_hat: Tensor, x: Tensor) -> Tensor:
    """MS-SSIM ``[B]`` of images ``[B, H, W, 3]`` in [0, 1] of at least 161 pixels a side, weighed
    over the channels of YCbCr (BT.601)."""
    from pytorch_msssim import ms_ssim

    to_ycbcr = x.new_tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    planes = [(v @ to_ycbcr.T + x.new_tensor([0, 0.5, 0.5])) for v in (x_hat, x)]
    result = x.new_zeros(len(x))
    for channel, weight in enumerate(CHANNELS):
        a, b = (p[..., channel, None].permute(0, 3, 1, 2) for p in planes)  # [B, 1, H, W]
        result = result + weight * ms_ssim(a, b, data_range=1.0, size_average=False)
    return result


def distortion(x_hat: Tensor, x: Tensor, visual: float = 0.0) -> Tensor:
    """Distortion ``[B]`` of images ``[B, H, W, 3]`` in [0, 1], on the scale of lambda:

        D = (1 - v) * 255^2 * MSE + v * 1280 * (1 - MS-SSIM).

    The factor makes both halves weigh about the same over the range of qualities, as the two scales
    of lambda of published codecs do (CompressAI's tables). Images too small for MS-SSIM have the
    squared error alone.
    """
    error = 255**2 * (x_hat - x).square().mean((1, 2, 3))
    if not visual or min(x.shape[1:3]) < SMALLEST:
        return error
    return (1 - visual) * error + visual * STRUCTURE * (1 - structural_similarity(x_hat, x))


class RateTable(nn.Module):
    """Per-quality vectors: ``[anchors, channels]`` control points, linear interpolation."""

    def __init__(self, anchors: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(anchors, channels))

    def forward(self, quality: Tensor) -> Tensor:  # [B] in 0..100 -> [B, 1, 1, C]
        last = self.table.shape[0] - 1
        position = quality.to(self.table.dtype) * last / 100
        low = position.floor().clamp(0, last - 1)
        fraction = (position - low)[:, None]
        index = low.long()
        vector = self.table[index] * (1 - fraction) + self.table[index + 1] * fraction
        return vector[:, None, None]
