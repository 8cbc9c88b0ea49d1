"""MLIC++ and MLICv2 as one module: transforms, hyperprior and the walk over slices.

Jiang, Yang, Zhai, Ning, Gao and Wang, "MLIC++: Linear complexity multi-reference entropy modeling
for learned image compression", arXiv 2307.15421, whose keys ``state_dict()`` has; "MLICv2", arXiv
2504.19119, for which no code was published. Choose this to train or evaluate; ``adapter.py`` makes
files with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from laconic.codec.image.likelihood import gaussian_bits, lower_bound, straight_through_round
from laconic.codec.image.reference.bottleneck import FactorizedPrior, GaussianSettings
from laconic.codec.image.reference.config import ReferenceConfig
from laconic.codec.image.reference.guidance import THRESHOLD
from laconic.codec.image.reference.slices import SliceWalk
from laconic.codec.image.reference.transforms import (
    Analysis,
    HyperAnalysis,
    HyperSynthesis,
    Synthesis,
)
from laconic.entropy import CdfTables

SCALE_LOW = 0.11


@dataclass
class Pass:
    """One evaluation: everything the network computed on the way. Maps are ``[B, C, H, W]``."""

    y: Tensor
    z: Tensor
    z_hat: Tensor
    hyper: Tensor
    means: Tensor
    scales: Tensor  # before the floor
    y_hat: Tensor
    x_hat: Tensor
    y_bits: Tensor  # [B, slices]
    z_bits: Tensor  # [B]
    keep_loss: Tensor  # mean cross entropy of the selection, 0 without one


class MlicPlusPlus(SliceWalk):
    """The published model. Pictures are ``[B, 3, H, W]`` in [0, 1], sides multiples of 64."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__(config)
        self.entropy_bottleneck = FactorizedPrior(config.transform_channels)
        self.g_a = Analysis(config)
        self.g_s = Synthesis(config)
        self.h_a = HyperAnalysis(config)
        self.h_s = HyperSynthesis(config)
        self.gaussian_conditional = GaussianSettings()

    def prior_tables(self) -> CdfTables:
        """Integer tables of z, one per channel."""
        return self.entropy_bottleneck.tables()

    def forward(self, x: Tensor) -> Pass:
        """Training mode: rates see uniform noise, context and synthesis see rounded values with
        straight-through gradients. Evaluation mode: both see rounded values."""
        y = self.g_a(x)
        z = self.h_a(y)
        median = self.entropy_bottleneck.medians[:, None, None]
        z_hat = straight_through_round(z - median) + median
        z_bits = self.entropy_bottleneck.bits(z + _noise(z) if self.training else z_hat)
        hyper = self.h_s(z_hat)
        flat = y.flatten(2).transpose(1, 2)  # [B, N, M]
        noisy = flat + _noise(flat) if self.training else None
        means, scales = torch.zeros_like(flat), torch.zeros_like(flat)
        bits: list[Tensor] = []
        keep_losses = [y.new_zeros(())]

        def code(
            at: Tensor, first: int, end: int, mean: Tensor, scale: Tensor, keep: Tensor | None
        ) -> Tensor:
            value = flat[:, at, first:end]
            rounded = straight_through_round(value - mean)
            kept = torch.ones_like(rounded)
            if keep is not None:
                large = ((value - mean).detach().abs() > THRESHOLD).to(keep.dtype)
                keep_losses.append(F.binary_cross_entropy_with_logits(keep, large))
                if not self.training:  # the selection is learned after everything else
                    kept = (keep >= 0).to(keep.dtype)
                    rounded = rounded * kept
            residual = rounded if noisy is None else noisy[:, at, first:end] - mean
            log_scale = lower_bound(scale, SCALE_LOW).log()
            bits.append((gaussian_bits(residual, log_scale, SCALE_LOW) * kept).sum((1, 2)))
            means[:, at, first:end] = mean.detach()
            scales[:, at, first:end] = scale.detach()
            return rounded + mean

        y_hat = self.walk(hyper, code)
        halves = torch.stack(bits, 1)  # [B, 2 * slices]
        return Pass(
            y=y,
            z=z,
            z_hat=z_hat,
            hyper=hyper,
            means=means.transpose(1, 2).reshape_as(y),
            scales=scales.transpose(1, 2).reshape_as(y),
            y_hat=y_hat,
            x_hat=self.g_s(y_hat),
            y_bits=halves[:, 0::2] + halves[:, 1::2],
            z_bits=z_bits.sum((1, 2, 3)),
            keep_loss=torch.stack(keep_losses).sum() / max(1, len(keep_losses) - 1),
        )


def _noise(x: Tensor) -> Tensor:
    return torch.rand_like(x) - 0.5
