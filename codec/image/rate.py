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
