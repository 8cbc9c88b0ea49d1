"""The default image model: transforms, hyperprior and multi-reference entropy model in one module.

Choose this for everything that trains or evaluates the network; ``coding.py`` turns its symbols
into bytes and ``codec.py`` bytes into files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig
from laconic.codec.image.detail import DetailScales, to_detail
from laconic.codec.image.hyperprior import HyperAnalysis, HyperSynthesis, ZPrior
from laconic.codec.image.likelihood import gaussian_bits, straight_through_round
from laconic.codec.image.slices import SliceModel
from laconic.codec.image.transforms import Analysis, Synthesis, initialise_linear_path


@dataclass
class Forward:
    """Result of a training pass: x_hat ``[B, H, W, 3]`` and bits of each picture ``[B]``."""

    x_hat: Tensor
    y_bits: Tensor
    z_bits: Tensor


class Mlic(nn.Module):
    """Variable-rate MLIC-family model. Pictures are ``[B, H, W, 3]`` in [0, 1], sides multiples of
    64."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a = Analysis(config)
        self.g_s = Synthesis(config)
        self.h_a = HyperAnalysis(config)
        self.h_s = HyperSynthesis(config)
        self.z_prior = ZPrior(config)
        self.y_model = SliceModel(config)
        if config.detail:
            self.detail = DetailScales(config)

    def hyper_latent(self, y: Tensor, quality: Tensor) -> Tensor:
        """z of a latent in units of the quantisation step."""
        return self.h_a(y / self.y_model.unit(quality))

    def forward(self, x: Tensor, quality: Tensor) -> Forward:
        y = self.g_a(x, quality)
        z = self.hyper_latent(y, quality)
        z_mean, z_log_scale = self.z_prior(quality)
        z_hat = straight_through_round(z - z_mean) + z_mean
        z_bits = gaussian_bits(
            z - z_mean + torch.rand_like(z) - 0.5, z_log_scale.expand_as(z), self.config.scale_low
        )
        noisy = (y + torch.rand_like(y) - 0.5).flatten(1, 2)
        flat = y.flatten(1, 2)  # [B, N, M]
        y_bits: list[Tensor] = []

        def code(at: Tensor, first: int, end: int, mean: Tensor, log_scale: Tensor) -> Tensor:
            rate = noisy[:, at, first:end] - mean
            y_bits.append(gaussian_bits(rate, log_scale, self.config.scale_low).sum((1, 2)))
            return straight_through_round(flat[:, at, first:end] - mean) + mean

        y_hat = self.y_model(self.h_s(z_hat, quality), quality, code)
        return Forward(self.g_s(y_hat, quality), torch.stack(y_bits).sum(0), z_bits.sum((1, 2, 3)))

    def detail_bits(self, x: Tensor, step: Tensor) -> Tensor:
        """Bits ``[B]`` of the detail layer at steps ``[B]``; the latents are taken as they are."""
        with torch.no_grad():
            quality = torch.full((len(x),), self.config.detail_from, device=x.device)
            y = self.g_a(x, quality)
            mean, _ = self.z_prior(quality)
            hyper = self.h_s((self.hyper_latent(y, quality) - mean).round() + mean, quality)
            flat = y.flatten(1, 2)
            y_hat = self.y_model(
                hyper,
                quality,
                lambda at, first, end, mean, _: (flat[:, at, first:end] - mean).round() + mean,
            )
            rest = to_detail(x - self.g_s(y_hat, quality)) / step[:, None, None, None]
            noisy = rest + torch.rand_like(rest) - 0.5
            known = y_hat / self.y_model.unit(quality)
        log_scale = self.detail(hyper, known) - step.log()[:, None, None, None]
        return gaussian_bits(noisy, log_scale, self.config.scale_low).sum((1, 2, 3))

    @torch.no_grad()
    def initialise(self, pictures: Tensor) -> None:
        """Start from the Karhunen-Loeve codec of sample pictures ``[N, H, W, 3]`` in [0, 1]."""
        deviation = initialise_linear_path(self.g_a, self.g_s, self.config, pictures)  # [M]
        self.y_model.baseline.table.copy_(deviation.log() + self.g_a.gain.table)
