"""Networks of CompressAI's zoo that code y as a checkerboard, under their published names.

* ``cheng2020-anchor-checkerboard``: transforms of Cheng et al. (arXiv 2001.01568), context of He,
  Zheng, Sun, Wang and Qin, "Checkerboard Context Model for Efficient Learned Image Compression",
  CVPR 2021 (arXiv 2103.15306);
* ``elic2022-official``, ``elic2022-chandelier``: He, Yang, Peng, Ma, Qin and Wang, "ELIC: Efficient
  Learned Image Compression with Unevenly Grouped Space-Channel Contextual Adaptive Coding", CVPR
  2022 (arXiv 2203.10886). The second is V. Chandelier's: a group sees the first and the latest
  group and not all earlier ones.

Choose these over the serial kinds of ``networks.py`` for speed: each group takes two steps whatever
the size of the image. Shapes as there.
"""

from __future__ import annotations

from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.compressai.networks import (
    CONTEXT,
    AttentionBlock,
    ZooConfig,
    conv5x5,
    deconv5x5,
    entropy_net,
    hyper_2020,
    transforms_2020,
)
from laconic.codec.image.mlicpp.layers import conv3x3
from laconic.codec.image.mlicpp.slices import FactorizedPrior, GaussianSettings
from laconic.entropy import CdfTables

KINDS = ("cheng2020-anchor-checkerboard", "elic2022-official", "elic2022-chandelier")
CONTEXT_WIDTHS = (224, 128)  # of ELIC's channel context


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions at half the channels, plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(channels, half, 1)
        self.conv2 = conv3x3(half, half)
        self.conv3 = nn.Conv2d(half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))


class CheckerboardConv(nn.Conv2d):
    """5x5 convolution from positions of the other colour."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, CONTEXT, padding=CONTEXT // 2)
        odd = torch.arange(CONTEXT * CONTEXT).reshape(CONTEXT, CONTEXT) % 2
        self.register_buffer("mask", odd.to(self.weight.dtype).expand_as(self.weight).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=CONTEXT // 2)


class Group(nn.Module):
    """Spatial context and parameter network of one group of channels."""

    def __init__(self, channels: int, parameters: nn.Sequential) -> None:
        super().__init__()
        self.channels = channels
        self.entropy_parameters = parameters
        self.context_prediction = CheckerboardConv(channels, 2 * channels)
        self.y = nn.ModuleDict({"gaussian_conditional": GaussianSettings()})


class Groups(nn.Module):
    """All groups and their channel contexts."""

    def __init__(self, config: ZooConfig) -> None:
        super().__init__()
        n, m, sizes = config.channels, config.latent, config.groups
        official = config.kind == "elic2022-official"
        before = [0, *accumulate(sizes)]
        self.latent_codec = nn.ModuleDict()
        self.channel_context = nn.ModuleDict()
        for k, size in enumerate(sizes):
            side = 2 * n if official else 2 * m
            known = (2 + 2 * (k > 0)) * size + side
            widths = _ramp(known, 2 * size, 2 * n) if official else (known, 2 * m, 512, 2 * size)
            net = entropy_net(*widths, activation=nn.ReLU)
            self.latent_codec[f"y{k}"] = Group(size, net)
            if k:
                seen = before[k] if official else sizes[0] + (k > 1) * sizes[k - 1]
                self.channel_context[f"y{k}"] = nn.Sequential(
                    conv5x5(seen, CONTEXT_WIDTHS[0], stride=1),
                    nn.ReLU(),
                    conv5x5(*CONTEXT_WIDTHS, stride=1),
                    nn.ReLU(),
                    conv5x5(CONTEXT_WIDTHS[1], 2 * size, stride=1),
                )


def _ramp(first: int, last: int, least: int) -> tuple[int, int, int, int]:
    """Widths that fall evenly; inner ones are at least ``least``."""
    inner = [max(first + (last - first) * i // 3, least) for i in (1, 2)]
    return first, inner[0], inner[1], last


class Hyper(nn.Module):
    """The hyperprior."""

    def __init__(self, config: ZooConfig) -> None:
        super().__init__()
        n, m = config.channels, config.latent
        self.entropy_bottleneck = FactorizedPrior(n)
        if config.kind.startswith("cheng2020"):
            self.h_a, self.h_s = hyper_2020(n)
            return
        self.h_a = nn.Sequential(conv3x3(m, n), nn.ReLU(), conv5x5(n, n), nn.ReLU(), conv5x5(n, n))
        wide = n * 3 // 2
        last = (
            nn.ConvTranspose2d(wide, 2 * n, 3, padding=1)
            if config.kind == "elic2022-official"
            else conv3x3(wide, 2 * m)
        )
        self.h_s = nn.Sequential(deconv5x5(n, n), nn.ReLU(), deconv5x5(n, wide), nn.ReLU(), last)


def _transforms_2022(n: int, m: int) -> tuple[nn.Sequential, nn.Sequential]:
    def blocks() -> list[nn.Module]:
        return [Bottleneck(n) for _ in range(3)]

    g_a = nn.Sequential(
        conv5x5(3, n),
        *blocks(),
        conv5x5(n, n),
        *blocks(),
        AttentionBlock(n),
        conv5x5(n, n),
        *blocks(),
        conv5x5(n, m),
        AttentionBlock(m),
    )
    g_s = nn.Sequential(
        AttentionBlock(m),
        deconv5x5(m, n),
        *blocks(),
        deconv5x5(n, n),
        AttentionBlock(n),
        *blocks(),
        deconv5x5(n, n),
        *blocks(),
        deconv5x5(n, 3),
    )
    return g_a, g_s


class GroupedNetwork(nn.Module):
    """All parts of one model; ``latent_codec`` holds what codes y and z."""

    variable = False

    def __init__(self, config: ZooConfig) -> None:
        super().__init__()
        self.config = config
        n, m = config.channels, config.latent
        y: Group | Groups
        if config.kind.startswith("cheng2020"):
            self.g_a, self.g_s = transforms_2020(n, attention=False)
            y = Group(m, entropy_net(4 * n, n * 10 // 3, n * 8 // 3, 2 * n))
        else:
            self.g_a, self.g_s = _transforms_2022(n, m)
            y = Groups(config)
        self.latent_codec = nn.ModuleDict({"y": y, "hyper": Hyper(config)})

    @property
    def hyper(self) -> Hyper:
        """The hyperprior."""
        part = self.latent_codec["hyper"]
        assert isinstance(part, Hyper)
        return part

    @property
    def groups(self) -> list[Group]:
        """The groups in coding order."""
        y = self.latent_codec["y"]
        parts = y.latent_codec.values() if isinstance(y, Groups) else [y]
        return [part for part in parts if isinstance(part, Group)]

    @property
    def entropy_bottleneck(self) -> FactorizedPrior:
        """Prior of z."""
        return self.hyper.entropy_bottleneck

    def prior_tables(self) -> CdfTables:
        """Integer tables of z, one per channel."""
        return self.entropy_bottleneck.tables()

    def hyper_latent(self, y: Tensor) -> Tensor:
        """z of a latent ``[B, M, H, W]``."""
        z: Tensor = self.hyper.h_a(y)
        return z

    def side(self, hyper: Tensor, decoded: list[Tensor]) -> Tensor:
        """What is known of a group before its first step, ``[B, K, H, W]``: contexts of the groups
        decoded so far and the hyperprior's features."""
        if not decoded:
            return hyper
        y = self.latent_codec["y"]
        assert isinstance(y, Groups)
        seen = decoded
        if self.config.kind == "elic2022-chandelier" and len(decoded) > 1:
            seen = [decoded[0], decoded[-1]]
        context = y.channel_context[f"y{len(decoded)}"](torch.cat(seen, 1))
        return torch.cat((context, hyper), 1)

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Means and scales among the channels (dimension 1) of a parameter network's output."""
        first, second = parameters.chunk(2, 1)
        return (first, second) if self.config.kind == "elic2022-chandelier" else (second, first)
