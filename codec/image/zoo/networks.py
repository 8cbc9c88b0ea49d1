"""Networks of CompressAI's zoo under their published state-dict names.

* ``bmshj2018-factorized``, ``bmshj2018-hyperprior``: Balle, Minnen, Singh, Hwang and Johnston, ICLR
  2018 (arXiv 1802.01436);
* ``mbt2018-mean``, ``mbt2018``: Minnen, Balle and Toderici, NeurIPS 2018 (arXiv 1809.02736);
* ``cheng2020-anchor``, ``cheng2020-attn``: Cheng, Sun, Takeuchi and Katto, CVPR 2020 (arXiv
  2001.01568), with single Gaussians.

Pictures are ``[B, 3, H, W]`` in [0, 1], sides multiples of 64; y lives at 1/16, z at 1/64. How y is
coded given z is in ``walks.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.reference.bottleneck import FactorizedPrior, GaussianSettings
from laconic.codec.image.reference.layers import (
    GDN,
    ResidualBlock,
    ResidualDown,
    ResidualUp,
    conv3x3,
    subpixel3x3,
)
from laconic.formats.errors import ModelError

MAX_WIDTH = 4096
CONTEXT = 5  # side of the serial context's window


@dataclass(frozen=True)
class ZooConfig:
    """``kind`` is the zoo's name, ``channels`` N and ``latent`` M."""

    kind: str
    channels: int
    latent: int

    def __post_init__(self) -> None:
        for width in (self.channels, self.latent):
            if not isinstance(width, int) or not 2 <= width <= MAX_WIDTH:
                raise ModelError(f"no {self.kind} has {width} channels: expected 2 to {MAX_WIDTH}")


def conv5x5(inputs: int, outputs: int, stride: int = 2, size: int = 5) -> nn.Conv2d:
    """The strided convolution of the 2018 models."""
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)


def deconv5x5(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Its transpose: twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.01."""
    return F.leaky_relu(x, 0.01)


class ResidualUnit(nn.Module):
    """Bottleneck of 1x1, 3x3 and 1x1 convolutions, plus the input, rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv = nn.Sequential(
            nn.Conv2d(channels, half, 1),
            nn.ReLU(),
            conv3x3(half, half),
            nn.ReLU(),
            nn.Conv2d(half, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class AttentionBlock(nn.Module):
    """Simplified attention: one branch gates the other (arXiv 2001.01568, figure 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_a = nn.Sequential(*(ResidualUnit(channels) for _ in range(3)))
        self.conv_b = nn.Sequential(
            *(ResidualUnit(channels) for _ in range(3)), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_a(x) * torch.sigmoid(self.conv_b(x))


class CausalConv(nn.Conv2d):
    """5x5 convolution over what precedes a position in raster order (mask type A)."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, CONTEXT, padding=CONTEXT // 2)
        centre = CONTEXT * CONTEXT // 2
        taps = (torch.arange(CONTEXT * CONTEXT) < centre).reshape(CONTEXT, CONTEXT)
        self.register_buffer("mask", taps.to(self.weight.dtype).expand_as(self.weight).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=CONTEXT // 2)


def _transforms_2018(n: int, m: int) -> tuple[nn.Sequential, nn.Sequential]:
    g_a = nn.Sequential(
        conv5x5(3, n), GDN(n), conv5x5(n, n), GDN(n), conv5x5(n, n), GDN(n), conv5x5(n, m)
    )
    g_s = nn.Sequential(
        deconv5x5(m, n),
        GDN(n, inverse=True),
        deconv5x5(n, n),
        GDN(n, inverse=True),
        deconv5x5(n, n),
        GDN(n, inverse=True),
        deconv5x5(n, 3),
    )
    return g_a, g_s


def _transforms_2020(n: int, *, attention: bool) -> tuple[nn.Sequential, nn.Sequential]:
    def block() -> list[nn.Module]:
        return [AttentionBlock(n)] if attention else []

    def residual() -> nn.Module:
        return ResidualBlock(n, n, leaky)

    g_a = nn.Sequential(
        ResidualDown(3, n, leaky),
        residual(),
        ResidualDown(n, n, leaky),
        *block(),
        residual(),
        ResidualDown(n, n, leaky),
        residual(),
        conv3x3(n, n, stride=2),
        *block(),
    )
    g_s = nn.Sequential(
        *block(),
        residual(),
        ResidualUp(n, n, leaky),
        residual(),
        ResidualUp(n, n, leaky),
        *block(),
        residual(),
        ResidualUp(n, n, leaky),
        residual(),
        subpixel3x3(n, 3),
    )
    return g_a, g_s


def _hyper_2018(n: int, m: int, outputs: int) -> tuple[nn.Sequential, nn.Sequential]:
    """``outputs`` is M for scales alone, 2M for scales and means."""
    scales_only = outputs == m
    activation = nn.ReLU if scales_only else nn.LeakyReLU
    first, second = (n, n) if scales_only else (m, m * 3 // 2)
    h_a = nn.Sequential(
        conv5x5(m, n, stride=1, size=3), activation(), conv5x5(n, n), activation(), conv5x5(n, n)
    )
    tail = [nn.ReLU()] if scales_only else []
    h_s = nn.Sequential(
        deconv5x5(n, first),
        activation(),
        deconv5x5(first, second),
        activation(),
        conv5x5(second, outputs, stride=1, size=3),
        *tail,
    )
    return h_a, h_s


def _hyper_2020(n: int) -> tuple[nn.Sequential, nn.Sequential]:
    wide = n * 3 // 2
    h_a = nn.Sequential(
        conv3x3(n, n),
        nn.LeakyReLU(),
        conv3x3(n, n),
        nn.LeakyReLU(),
        conv3x3(n, n, stride=2),
        nn.LeakyReLU(),
        conv3x3(n, n),
        nn.LeakyReLU(),
        conv3x3(n, n, stride=2),
    )
    h_s = nn.Sequential(
        conv3x3(n, n),
        nn.LeakyReLU(),
        subpixel3x3(n, n),
        nn.LeakyReLU(),
        conv3x3(n, wide),
        nn.LeakyReLU(),
        subpixel3x3(wide, wide),
        nn.LeakyReLU(),
        conv3x3(wide, 2 * n),
    )
    return h_a, h_s


class ZooNetwork(nn.Module):
    """All parts of one model; which exist depends on the kind."""

    def __init__(self, config: ZooConfig) -> None:
        super().__init__()
        self.config = config
        n, m, kind = config.channels, config.latent, config.kind
        modern = kind.startswith("cheng2020")
        if modern:
            self.g_a, self.g_s = _transforms_2020(n, attention=kind == "cheng2020-attn")
        else:
            self.g_a, self.g_s = _transforms_2018(n, m)
        if kind == "bmshj2018-factorized":
            self.entropy_bottleneck = FactorizedPrior(m)
            return
        self.entropy_bottleneck = FactorizedPrior(n)
        if modern:
            self.h_a, self.h_s = _hyper_2020(n)
        else:
            self.h_a, self.h_s = _hyper_2018(n, m, m if kind == "bmshj2018-hyperprior" else 2 * m)
        self.gaussian_conditional = GaussianSettings()
        if self.serial:
            self.context_prediction = CausalConv(m, 2 * m)
            widths = (m * 12 // 3, m * 10 // 3, m * 8 // 3, m * 6 // 3)
            self.entropy_parameters = nn.Sequential(
                nn.Conv2d(widths[0], widths[1], 1),
                nn.LeakyReLU(),
                nn.Conv2d(widths[1], widths[2], 1),
                nn.LeakyReLU(),
                nn.Conv2d(widths[2], widths[3], 1),
            )

    @property
    def serial(self) -> bool:
        """Whether y is coded position after position with a causal context."""
        return self.config.kind in ("mbt2018", "cheng2020-anchor", "cheng2020-attn")

    def hyper_latent(self, y: Tensor) -> Tensor | None:
        """z of a latent ``[B, M, H, W]``; None without a hyperprior."""
        kind = self.config.kind
        if kind == "bmshj2018-factorized":
            return None
        return self.h_a(y.abs() if kind == "bmshj2018-hyperprior" else y)

    def parameters_of(self, hyper: Tensor, y_hat: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Means and scales ``[B, M, H, W]`` from h_s(z_hat), and for serial kinds from the whole
        y_hat, as the published forward pass computes them."""
        if self.config.kind == "bmshj2018-hyperprior":
            return torch.zeros_like(hyper), hyper
        if self.serial:
            assert y_hat is not None
            context = self.context_prediction(y_hat)
            hyper = self.entropy_parameters(torch.cat((hyper, context), 1))
        scales, means = hyper.chunk(2, 1)
        return means, scales
