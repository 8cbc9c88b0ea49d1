"""Layers of the default image model, its transforms and hyperprior, at any rate.

Everything here is channels-last: a feature map is ``[B, H, W, C]`` and a 1x1 convolution is a plain
matrix product, which is what CPUs do best and what the same code can repeat in float64 for the
exact entropy path (``slices.py``). Depth-wise convolutions supply the spatial mixing at 1/8 and
1/16 of the resolution (Jia et al., "Towards Practical Real-Time Neural Video Compression", CVPR
2025, arXiv 2502.20762).

All work of the transforms happens at 1/8 and 1/16 of the resolution: full-resolution feature maps
cost most of the time and buy little rate (DCVC-RT, arXiv 2502.20762). Both transforms contain an
exact linear path - 8x8 DCT of opponent colours, then the Karhunen-Loeve transform of 2x2 neighbours
- to which the residual blocks add what a linear transform cannot do. A model therefore starts its
training as a block-transform codec and not as noise, which matters when hours of training are few
(compare the wavelet shortcuts of AuxT, arXiv 2411.10650).

h_a describes y in a few numbers at 1/64, h_s turns them into features at 1/16 (Balle et al.,
"Variational image compression with a scale hyperprior", ICLR 2018, arXiv 1802.01436). The prior of
the hyper-latent z is a Gaussian per channel whose mean and scale follow the quality, so that z uses
the same integer tables as y.

One set of weights serves every quality from 0 to 100. Quality q stands for a Lagrangian multiplier,
log-spaced:

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
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.image.config import MlicConfig

Rates = tuple[tuple[float, float], ...]
STRUCTURE = 1280.0  # weight of 1 - MS-SSIM beside 255^2 * MSE
CHANNELS = (0.8, 0.1, 0.1)  # of Y, Cb and Cr in it: the eye resolves colour less
SMALLEST = 161  # pixels a side for which MS-SSIM is defined
# Orthonormal opponent colours: luma-like sum, red-blue and green-magenta differences.
OPPONENT = (
    (3**-0.5, 3**-0.5, 3**-0.5),
    (2**-0.5, 0.0, -(2**-0.5)),
    (6**-0.5, -2 * 6**-0.5, 6**-0.5),
)


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


class DenseConv(nn.Conv2d):
    """3x3 convolution from all channels to all on ``[B, H, W, C]`` with zero padding."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # [B, H, W, C] -> [B, H, W, C]
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Residual block: spatial mixing, then a point-wise feed-forward.

    The mixing is a depth-wise convolution between two point-wise layers or, with ``dense``, a
    convolution of all channels behind the first of them: nine times the products of a point-wise
    layer, for processors whose matrix units do them in little more time than the depth-wise one.

    Both branches end in a layer that starts at zero, so that a fresh network is the linear
    transform it was initialised with. With ``mixed`` (set on the module it holds for training) the
    branches are computed in bfloat16; the sum stays in float32.
    """

    mixed = False

    def __init__(self, channels: int, expansion: int = 2, dense: bool = False) -> None:
        super().__init__()
        self.dense = dense
        self.mix_in = nn.Linear(channels, channels)
        self.mix = DenseConv(channels) if dense else DepthwiseConv(channels)
        if not dense:
            self.mix_out = nn.Linear(channels, channels)
        self.ffn_in = nn.Linear(channels, expansion * channels)
        self.ffn_out = nn.Linear(expansion * channels, channels)
        for last in (self.mix if dense else self.mix_out, self.ffn_out):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor, mixed: bool = False) -> Tensor:  # [B, H, W, C] -> [B, H, W, C]
        mixed = mixed or (self.mixed and self.training)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=mixed):
            spread = self.mix(F.gelu(self.mix_in(x)))
            x = x + (spread if self.dense else self.mix_out(spread))
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
    :func:`space_to_depth` of an RGB image: ``luma`` functions of the sum colour and ``chroma`` of
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


class Analysis(nn.Module):
    """g_a: ``[B, H, W, 3]`` in [0, 1] -> y in units of the quantisation step, ``[B, H/16, W/16,
    M]``. With ``mixed`` the blocks multiply in bfloat16, as they do in training."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        c, m = config.features, config.latent
        self.stem = nn.Linear(192, c)
        self.blocks = nn.ModuleList(
            Block(c, dense=config.dense) for _ in range(config.encoder_blocks)
        )
        self.feature_gain = RateTable(config.rate_anchors, c)
        self.down = nn.Linear(4 * c, m)
        self.tail = Block(m, dense=config.dense)
        self.gain = RateTable(config.rate_anchors, m)

    def forward(self, x: Tensor, quality: Tensor, mixed: bool = False) -> Tensor:
        x = self.stem(space_to_depth(x - 0.5, 8))  # [B, H/8, W/8, C]
        for i, block in enumerate(self.blocks):
            x = block(x, mixed)
            if i == 0:
                x = x * self.feature_gain(quality).exp()
        y = self.tail(self.down(space_to_depth(x, 2)), mixed)  # [B, H/16, W/16, M]
        return y * self.gain(quality).exp()


class Synthesis(nn.Module):
    """g_s: y_hat ``[B, H/16, W/16, M]`` -> x_hat ``[B, H, W, 3]`` (not clipped).

    With ``mixed`` the blocks multiply in bfloat16: a third of the time on matrix units, and samples
    that differ by less than one level.
    """

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        c, m = config.features, config.latent
        self.gain = RateTable(config.rate_anchors, m)
        self.head = Block(m, dense=config.dense)
        self.up = nn.Linear(m, 4 * c)
        self.blocks = nn.ModuleList(
            Block(c, dense=config.dense) for _ in range(config.decoder_blocks)
        )
        self.feature_gain = RateTable(config.rate_anchors, c)
        self.tail = nn.Linear(c, 192)

    def forward(self, y: Tensor, quality: Tensor, mixed: bool = False) -> Tensor:
        y = self.head(y * self.gain(quality).exp(), mixed)
        x = depth_to_space(self.up(y), 2)  # [B, H/8, W/8, C]
        for i, block in enumerate(self.blocks):
            if i == len(self.blocks) - 1:
                x = x * self.feature_gain(quality).exp()
            x = block(x, mixed)
        return depth_to_space(self.tail(x), 8) + 0.5


@torch.no_grad()
def initialise_linear_path(
    g_a: Analysis, g_s: Synthesis, config: MlicConfig, images: Tensor
) -> Tensor:
    """Set the linear path of both transforms from sample images ``[N, H, W, 3]`` in [0, 1].

    Stem and tail become the 8x8 DCT of opponent colours with its outputs scaled to standard
    deviation^(1/2), which conditions the residual blocks; down and up become the Karhunen-Loeve
    transform of 2x2 neighbours. Returns the standard deviations of y before its gain, ``[M]``.
    """
    c, m = config.features, config.latent
    basis = patch_basis(config.luma, config.chroma)  # [C, 192]
    coefficients = space_to_depth(images - 0.5, 8).double() @ basis.T  # [N, h, w, C]
    flat = coefficients.reshape(-1, c)
    condition = flat.std(0).clamp_min(1e-3).rsqrt()  # [C]
    grouped = space_to_depth(coefficients, 2).reshape(-1, 4 * c)
    covariance = grouped.T @ grouped / len(grouped)
    energy, vectors = torch.linalg.eigh(covariance)
    klt = vectors[:, -m:].flip(1).T  # [M, 4C], decreasing energy
    scale = condition.repeat(4)  # phase-major, channels innermost
    g_a.stem.weight.copy_(basis * condition[:, None])
    g_a.down.weight.copy_(klt / scale)
    g_s.up.weight.copy_((klt * scale).T)
    g_s.tail.weight.copy_((basis / condition[:, None]).T)
    for layer in (g_a.stem, g_a.down, g_s.up, g_s.tail):
        layer.bias.zero_()
    anchors = g_a.gain.table.shape[0]
    for k in range(anchors):
        log_step = torch.tensor(step_of(lambda_of(100 * k / (anchors - 1), config.rates))).log()
        g_a.gain.table[k] = -log_step
        g_s.gain.table[k] = log_step
    return energy.flip(0)[:m].clamp_min(1e-12).sqrt()


class HyperAnalysis(nn.Module):
    """h_a: normalised y ``[B, H, W, M]`` -> z ``[B, H/4, W/4, Z]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        width = config.z_channels
        self.inner = nn.Linear(config.latent, 2 * width)
        self.middle = nn.Linear(8 * width, 2 * width)
        self.block = Block(2 * width)
        self.outer = nn.Linear(8 * width, width)

    def forward(self, y: Tensor) -> Tensor:
        x = F.gelu(self.inner(y))
        x = self.block(F.gelu(self.middle(space_to_depth(x, 2))))
        return self.outer(space_to_depth(x, 2))


class HyperSynthesis(nn.Module):
    """h_s: z_hat ``[B, H/4, W/4, Z]`` -> hyper features ``[B, H, W, hyper]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        width, hyper = 2 * config.z_channels, config.hyper
        self.inner = nn.Linear(config.z_channels, 4 * width)
        self.block = Block(width)
        self.outer = nn.Linear(width, 4 * hyper)
        self.tail = Block(hyper)
        self.quality = RateTable(config.rate_anchors, hyper)

    def forward(self, z: Tensor, quality: Tensor) -> Tensor:
        x = self.block(depth_to_space(self.inner(z), 2))
        x = depth_to_space(self.outer(F.gelu(x)), 2)
        return self.tail(x + self.quality(quality))


class ZPrior(nn.Module):
    """Mean and log-scale of each channel of z at a quality, both ``[B, 1, 1, Z]``."""

    def __init__(self, config: MlicConfig) -> None:
        super().__init__()
        self.mean = RateTable(config.rate_anchors, config.z_channels)
        self.log_scale = RateTable(config.rate_anchors, config.z_channels)

    def forward(self, quality: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(quality), self.log_scale(quality)
