"""Layers and transforms of MLIC++ and MLICv2, with the parameter names of published models.

Feature maps are ``[B, C, H, W]``. Residual blocks as in Cheng et al., "Learned Image Compression
with Discretized Gaussian Mixture Likelihoods and Attention Modules", CVPR 2020 (arXiv 2001.01568);
GDN as in Balle, Laparra and Simoncelli, ICLR 2016 (arXiv 1511.06281).

Simple token mixing: the transform block of MLICv2 (arXiv 2504.19119, section 3.3, eq. 6).

Two of them take the place of each residual block of MLIC++ at about half the operations: spatial
mixing by depth-wise convolutions, channel mixing by 1x1 ones.

Transforms of MLIC++ (Jiang et al., arXiv 2307.15421): g_a, g_s, h_a and h_s. MLICv2 puts two
token mixing blocks where MLIC++ has a residual block.

Images are ``[B, 3, H, W]`` in [0, 1], sides multiples of 64; y lives at 1/16, z at 1/64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.mlicpp.config import ReferenceConfig

Activation = Callable[[Tensor], Tensor]
PEDESTAL = 2.0**-36
BETA_MIN = 1e-6


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution that keeps the size (or halves it with stride 2)."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def subpixel3x3(inputs: int, outputs: int, factor: int = 2) -> nn.Sequential:
    """3x3 convolution to ``factor^2`` phases, interleaved to a map ``factor`` times as large."""
    return nn.Sequential(conv3x3(inputs, outputs * factor**2), nn.PixelShuffle(factor))


class Bound(nn.Module):
    """Holder of a lower bound under the name that checkpoints use."""

    bound: Tensor

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.register_buffer("bound", torch.tensor([float(bound)]))


class SquareRoot(nn.Module):
    """A non-negative parameter stored as sqrt(value + pedestal), which keeps gradients alive."""

    pedestal: Tensor

    def __init__(self, minimum: float) -> None:
        super().__init__()
        self.register_buffer("pedestal", torch.tensor([PEDESTAL]))
        self.lower_bound = Bound((minimum + PEDESTAL) ** 0.5)

    def store(self, value: Tensor) -> Tensor:
        return torch.sqrt(torch.clamp_min(value + PEDESTAL, PEDESTAL))

    def forward(self, stored: Tensor) -> Tensor:
        return torch.maximum(stored, self.lower_bound.bound) ** 2 - self.pedestal


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2); the inverse multiplies."""

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_reparam = SquareRoot(BETA_MIN)
        self.gamma_reparam = SquareRoot(0.0)
        self.beta = nn.Parameter(self.beta_reparam.store(torch.ones(channels)))
        self.gamma = nn.Parameter(self.gamma_reparam.store(0.1 * torch.eye(channels)))

    def forward(self, x: Tensor) -> Tensor:
        gamma = self.gamma_reparam(self.gamma)[:, :, None, None]
        norm = F.conv2d(x * x, gamma, self.beta_reparam(self.beta))
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


class ResidualBlock(nn.Module):
    """conv3x3, activation, conv3x3, activation, plus the input."""

    def __init__(self, inputs: int, outputs: int, activation: Activation = F.gelu) -> None:
        super().__init__()
        self.activation = activation
        self.conv1 = conv3x3(inputs, outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.activation(self.conv2(self.activation(self.conv1(x))))
        return out + (x if self.skip is None else self.skip(x))


class ResidualDown(nn.Module):
    """conv3x3 with stride 2, activation, conv3x3, GDN, plus a strided 1x1 of the input."""

    def __init__(self, inputs: int, outputs: int, activation: Activation = F.gelu) -> None:
        super().__init__()
        self.activation = activation
        self.conv1 = conv3x3(inputs, outputs, stride=2)
        self.conv2 = conv3x3(outputs, outputs)
        self.gdn = GDN(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.gdn(self.conv2(self.activation(self.conv1(x)))) + self.skip(x)


class ResidualUp(nn.Module):
    """Sub-pixel convolution x2, activation, conv3x3, inverse GDN, plus a sub-pixel shortcut."""

    def __init__(self, inputs: int, outputs: int, activation: Activation = F.gelu) -> None:
        super().__init__()
        self.activation = activation
        self.subpel_conv = subpixel3x3(inputs, outputs)
        self.conv = conv3x3(outputs, outputs)
        self.igdn = GDN(outputs, inverse=True)
        self.upsample = subpixel3x3(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.igdn(self.conv(self.activation(self.subpel_conv(x)))) + self.upsample(x)


class Depthwise(nn.Conv2d):
    """Depth-wise convolution with zero padding.

    In float64 it adds shifted products: PyTorch's float64 depth-wise kernel is several times
    slower on a CPU.
    """

    def __init__(self, channels: int, size: int = 3) -> None:
        super().__init__(channels, channels, size, padding=size // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float64:
            return super().forward(x)
        assert self.bias is not None
        size, reach = self.kernel_size[0], self.kernel_size[0] // 2
        height, width = x.shape[2:]
        padded = F.pad(x, (reach, reach, reach, reach))
        out = self.bias[:, None, None].expand_as(x)
        for i in range(size):
            for j in range(size):
                weight = self.weight[:, 0, i, j, None, None]
                out = torch.addcmul(out, padded[:, :, i : i + height, j : j + width], weight)
        return out


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position."""

    def forward(self, x: Tensor) -> Tensor:  # [B, C, H, W]
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TokenMixer(nn.Module):
    """Depth-wise residual (3x3, GELU, 1x1, GELU), 5x5 depth-wise, 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.near = Depthwise(channels)
        self.inner = nn.Conv2d(channels, channels, 1)
        self.far = Depthwise(channels, 5)
        self.outer = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + F.gelu(self.inner(F.gelu(self.near(x))))
        return self.outer(self.far(x))


class Gate(nn.Module):
    """v * sigmoid of what a 1x1, a 3x3 depth-wise and a 1x1 convolution say about v."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 1)
        self.mix = Depthwise(channels)
        self.outer = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.outer(F.gelu(self.mix(F.gelu(self.inner(x))))))


class TokenMixing(nn.Module):
    """One block at constant width and size: mixer, then gate, each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.mixer = TokenMixer(channels)
        self.norm2 = ChannelNorm(channels)
        self.gate = Gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.norm1(x))
        return x + self.gate(self.norm2(x))


def mixing_pair(channels: int) -> nn.Sequential:
    """What stands where MLIC++ has a residual block."""
    return nn.Sequential(TokenMixing(channels), TokenMixing(channels))


def _block(config: ReferenceConfig, inputs: int, outputs: int) -> nn.Module:
    return mixing_pair(outputs) if config.second else ResidualBlock(inputs, outputs)


class Analysis(nn.Module):
    """g_a: image -> y ``[B, M, H/16, W/16]``."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        self.analysis_transform = nn.Sequential(
            ResidualDown(3, n),
            _block(config, n, n),
            ResidualDown(n, n),
            _block(config, n, n),
            ResidualDown(n, n),
            _block(config, n, n),
            conv3x3(n, m, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.analysis_transform(x)


class Synthesis(nn.Module):
    """g_s: y_hat -> image, not clipped."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        first = n if config.narrow_synthesis else m
        self.synthesis_transform = nn.Sequential(
            _block(config, m, first),
            ResidualUp(first, n),
            _block(config, n, n),
            ResidualUp(n, n),
            _block(config, n, n),
            ResidualUp(n, n),
            _block(config, n, n),
            subpixel3x3(n, 3),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.synthesis_transform(y)


class HyperAnalysis(nn.Module):
    """h_a: y -> z ``[B, N, H/64, W/64]``."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        self.reduction = nn.Sequential(
            conv3x3(m, n),
            nn.GELU(),
            conv3x3(n, n),
            nn.GELU(),
            conv3x3(n, n, stride=2),
            nn.GELU(),
            conv3x3(n, n),
            nn.GELU(),
            conv3x3(n, n, stride=2),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.reduction(y)


class HyperSynthesis(nn.Module):
    """h_s: z_hat -> ``[B, 2M, H/16, W/16]``, named scales (first half) and means (second)."""

    def __init__(self, config: ReferenceConfig) -> None:
        super().__init__()
        n, m = config.transform_channels, config.latent_channels
        wide = m * 3 // 2
        self.increase = nn.Sequential(
            conv3x3(n, m),
            nn.GELU(),
            subpixel3x3(m, m),
            nn.GELU(),
            conv3x3(m, wide),
            nn.GELU(),
            subpixel3x3(wide, wide),
            nn.GELU(),
            conv3x3(wide, 2 * m),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.increase(z)
