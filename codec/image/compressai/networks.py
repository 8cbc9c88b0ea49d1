"""Networks of CompressAI's zoo under their published state-dict names.

* ``bmshj2018-factorized``, ``bmshj2018-factorized-relu``, ``bmshj2018-hyperprior``: Balle, Minnen,
  Singh, Hwang and Johnston, ICLR 2018 (arXiv 1802.01436);
* ``mbt2018-mean``, ``mbt2018``: Minnen, Balle and Toderici, NeurIPS 2018 (arXiv 1809.02736);
* ``cheng2020-anchor``, ``cheng2020-attn``: Cheng, Sun, Takeuchi and Katto, CVPR 2020 (arXiv
  2001.01568), with single Gaussians;
* ``bmshj2018-hyperprior-vbr``, ``mbt2018-mean-vbr``, ``mbt2018-vbr``: Kamisli, Racape and Choi, DCC
  2024 (arXiv 2402.18930); what they add is in ``variable.py``.

Models with a checkerboard are in ``groups.py``. Images are ``[B, 3, H, W]`` in [0, 1], sides
multiples of 64; y lives at 1/16, z at 1/64. How y is coded given z is in ``adapter.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.compressai.variable import add_variable_rate, z_tables
from laconic.codec.image.mlicpp.layers import (
    GDN,
    ResidualBlock,
    ResidualDown,
    ResidualUp,
    conv3x3,
    subpixel3x3,
)
from laconic.codec.image.mlicpp.slices import FactorizedPrior, GaussianSettings
from laconic.entropy import CdfTables
from laconic.formats.errors import ModelError

MAX_WIDTH = 4096
MAX_GROUPS = 64
CONTEXT = 5  # side of the serial context's window


@dataclass(frozen=True)
class ZooConfig:
    """``kind`` is the zoo's name, ``channels`` N and ``latent`` M, ``groups`` the channels of each
    group of ELIC; ``variable_z``: the step of z follows the quality, too."""

    kind: str
    channels: int
    latent: int
    groups: tuple[int, ...] = ()
    variable_z: bool = False

    def __post_init__(self) -> None:
        for width in (self.channels, self.latent):
            if not isinstance(width, int) or not 2 <= width <= MAX_WIDTH:
                raise ModelError(f"no {self.kind} has {width} channels: expected 2 to {MAX_WIDTH}")
        if self.groups and not (
            len(self.groups) <= MAX_GROUPS
            and all(isinstance(g, int) and g > 0 for g in self.groups)
            and sum(self.groups) == self.latent
        ):
            raise ModelError(
                f"no {self.kind} has groups of {', '.join(map(str, self.groups))} channels:"
                f" expected at most {MAX_GROUPS} that add up to {self.latent}"
            )
        if not isinstance(self.variable_z, bool):
            raise ModelError(f"variable_z of a {self.kind} is {self.variable_z!r}: expected a bool")


def conv5x5(inputs: int, outputs: int, stride: int = 2, size: int = 5) -> nn.Conv2d:
    """The strided convolution of the 2018 models."""
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2)


def deconv5x5(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Its transpose: twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


def entropy_net(*widths: int, activation: type[nn.Module] = nn.LeakyReLU) -> nn.Sequential:
    """1x1 convolutions through ``widths`` that give the parameters of the entropy model."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Conv2d(inner, outer, 1), activation()]
    return nn.Sequential(*layers[:-1])


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


def _transforms_2018(n: int, m: int, *, relu: bool) -> tuple[nn.Sequential, nn.Sequential]:
    def activation(*, inverse: bool = False) -> nn.Module:
        return nn.ReLU() if relu else GDN(n, inverse=inverse)

    g_a = nn.Sequential(
        conv5x5(3, n),
        activation(),
        conv5x5(n, n),
        activation(),
        conv5x5(n, n),
        activation(),
        conv5x5(n, m),
    )
    g_s = nn.Sequential(
        deconv5x5(m, n),
        activation(inverse=True),
        deconv5x5(n, n),
        activation(inverse=True),
        deconv5x5(n, n),
        activation(inverse=True),
        deconv5x5(n, 3),
    )
    return g_a, g_s


def transforms_2020(n: int, *, attention: bool) -> tuple[nn.Sequential, nn.Sequential]:
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


def hyper_2020(n: int) -> tuple[nn.Sequential, nn.Sequential]:
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
            self.g_a, self.g_s = transforms_2020(n, attention=kind == "cheng2020-attn")
        else:
            relu = kind == "bmshj2018-factorized-relu"
            self.g_a, self.g_s = _transforms_2018(n, m, relu=relu)
        if self.factorized:
            self.entropy_bottleneck = FactorizedPrior(m)
            return
        self.entropy_bottleneck = FactorizedPrior(n)
        if modern:
            self.h_a, self.h_s = hyper_2020(n)
        else:
            self.h_a, self.h_s = _hyper_2018(n, m, m if self.scales_only else 2 * m)
        self.gaussian_conditional = GaussianSettings()
        if self.serial:
            self.context_prediction = CausalConv(m, 2 * m)
            self.entropy_parameters = entropy_net(4 * m, m * 10 // 3, m * 8 // 3, 2 * m)
        if self.variable:
            add_variable_rate(self, 2 * m if self.serial else 0, of_z=config.variable_z)

    @property
    def factorized(self) -> bool:
        """Whether y itself has the factorised prior."""
        return self.config.kind.startswith("bmshj2018-factorized")

    @property
    def scales_only(self) -> bool:
        """Whether the hyperprior gives scales alone: all means are zero."""
        return self.config.kind.startswith("bmshj2018-hyperprior")

    @property
    def serial(self) -> bool:
        """Whether y is coded position after position with a causal context."""
        return self.config.kind in ("mbt2018", "mbt2018-vbr", "cheng2020-anchor", "cheng2020-attn")

    @property
    def variable(self) -> bool:
        """Whether one set of weights serves all rates."""
        return self.config.kind.endswith("-vbr")

    def prior_tables(self) -> CdfTables:
        """Integer tables of what the factorised prior codes, one per channel; with a variable step
        of z all sets of :data:`~laconic.codec.image.compressai.variable.SETS` qualities."""
        prior = self.entropy_bottleneck
        return z_tables(self, prior) if self.config.variable_z else prior.tables()

    def hyper_latent(self, y: Tensor) -> Tensor | None:
        """z of a latent ``[B, M, H, W]``; None without a hyperprior."""
        if self.factorized:
            return None
        return self.h_a(y.abs() if self.scales_only else y)

    def parameters_of(self, hyper: Tensor, y_hat: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Means and scales ``[B, M, H, W]`` from h_s(z_hat), and for serial kinds from the whole
        y_hat, as the published forward pass computes them."""
        if self.scales_only:
            return torch.zeros_like(hyper), hyper
        if self.serial:
            assert y_hat is not None
            context = self.context_prediction(y_hat)
            hyper = self.entropy_parameters(torch.cat((hyper, context), 1))
        scales, means = hyper.chunk(2, 1)
        return means, scales
