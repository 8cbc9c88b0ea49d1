"""The default image model as a network: transforms, hyperprior, entropy model and detail layer.

Choose this for everything that trains or evaluates the network; ``coding.py`` turns its symbols
into bytes and ``codec.py`` bytes into files. Its rate is differentiable: the rate term sees y +
noise, context and synthesis see round(y - mean) + mean (Minnen & Singh 2020, arXiv 2007.08739).

The detail layer reaches qualities that nonlinear transforms with fewer latents than samples cannot:
they saturate near 40 dB. Above ``MlicConfig.detail_from`` the latents stay at that quality, and the
difference between image and synthesis is coded with an orthonormal transform, whose error is that
of its quantisation alone. Its scales are predicted from the decoded latents, in float64 like
theirs, so a stream needs no side information. The synthesis that the encoder subtracts is in
float32: machines may differ there by what is far below one level, and symbols depend on none of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig
from laconic.codec.image.layers import (
    Analysis,
    HyperAnalysis,
    HyperSynthesis,
    Synthesis,
    ZPrior,
    depth_to_space,
    initialise_linear_path,
    patch_basis,
    space_to_depth,
)
from laconic.codec.image.slices import ChannelContext, SliceModel, checkerboard

CHANNELS = 768  # 16 x 16 pixels of three colours
COARSEST, FINEST = 40.0, 3.0  # steps in levels of 8 bits just above the threshold and at 100
LIKELIHOOD_FLOOR = 1e-9


def detail_step(quality: float, start: float) -> float:
    """Quantisation step on the [0, 1] scale; ``start`` is the quality where the layer begins."""
    share = (quality - start) / (100 - start)
    return COARSEST * (FINEST / COARSEST) ** share / 255


def to_detail(difference: Tensor) -> Tensor:
    """``[B, H, W, 3]`` -> orthonormal coefficients ``[B, H/16, W/16, 768]``: 8x8 DCT of opponent
    colours, phase-major."""
    basis = patch_basis(64, 64).to(difference)
    return space_to_depth(space_to_depth(difference, 8) @ basis.T, 2)


def from_detail(coefficients: Tensor) -> Tensor:
    """Inverse of :func:`to_detail`."""
    basis = patch_basis(64, 64).to(coefficients)
    return depth_to_space(depth_to_space(coefficients, 2) @ basis, 8)


class DetailScales(nn.Module):
    """Log of the standard deviation of every coefficient, on the [0, 1] scale."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        self.window = config.window
        self.channel = ChannelContext(config.latent, config.context)
        self.inner = nn.Linear(config.hyper + config.context, config.detail)
        self.outer = nn.Linear(config.detail, CHANNELS)
        nn.init.zeros_(self.outer.weight)
        nn.init.constant_(self.outer.bias, math.log(3 / 255))

    def forward(self, hyper: Tensor, y: Tensor) -> Tensor:
        """Hyper features ``[B, H, W, h]`` and y_hat over its unit ``[B, H, W, M]`` ->
        ``[B, H, W, 768]``."""
        height, width = y.shape[1:3]
        board = checkerboard(height, width, self.window, y.device)
        context = self.channel(y.flatten(1, 2), board)
        seen = torch.cat((hyper.flatten(1, 2), context), -1)
        return self.outer(nn.functional.gelu(self.inner(seen))).unflatten(1, (height, width))


def straight_through_round(x: Tensor) -> Tensor:
    """round(x) with the gradient of the identity."""
    return x + (x.round() - x).detach()


class LowerBound(torch.autograd.Function):
    """max(x, bound) whose gradient passes where it would push x up (Balle et al. 2018)."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        passes = (x >= ctx.bound) | (gradient < 0)
        return gradient * passes, None


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """Typed entry to :class:`LowerBound`."""
    result = LowerBound.apply(x, bound)
    assert isinstance(result, Tensor)
    return result


def gaussian_bits(residual: Tensor, log_scale: Tensor, scale_low: float) -> Tensor:
    """Bits of ``residual`` = value - mean under a Gaussian integrated over unit bins; same
    shape."""
    scale = lower_bound(log_scale.clamp_max(8.0).exp(), scale_low)
    distance = residual.abs()
    root_half = 2**-0.5
    upper = torch.erfc((distance - 0.5) / scale * root_half)
    lower = torch.erfc((distance + 0.5) / scale * root_half)
    return -torch.log2(lower_bound(0.5 * (upper - lower), LIKELIHOOD_FLOOR))


@dataclass
class Forward:
    """Result of a training pass: x_hat ``[B, H, W, 3]`` and bits of each image ``[B]``."""

    x_hat: Tensor
    y_bits: Tensor
    z_bits: Tensor


class Mlic(nn.Module):
    """Variable-rate MLIC-family model. Images are ``[B, H, W, 3]`` in [0, 1], sides multiples of
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
    def initialise(self, images: Tensor) -> None:
        """Start from the Karhunen-Loeve codec of sample images ``[N, H, W, 3]`` in [0, 1]."""
        deviation = initialise_linear_path(self.g_a, self.g_s, self.config, images)  # [M]
        self.y_model.baseline.table.copy_(deviation.log() + self.g_a.gain.table)
