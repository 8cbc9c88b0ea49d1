"""Distortions that fitting minimises, over the picture without its padding.

`squared` gives the best PSNR for its time. `boosted` is HNeRV-Boost's mix of L1, MS-SSIM and a
frequency term (arXiv 2402.18152, eq. 6); it costs several times as much a step. Wang, Simoncelli
and Bovik, "Multiscale structural similarity", 2003.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
L1_SHARE, PIXEL_WEIGHT = 0.7, 60.0


def squared(frames: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of ``[B, 3, H, W]`` in 0..1."""
    return F.mse_loss(frames, target)


def boosted(frames: Tensor, target: Tensor) -> Tensor:
    """60 (0.7 L1 + 0.3 (1 - MS-SSIM)) + mean |FFT difference|."""
    pixels = L1_SHARE * F.l1_loss(frames, target)
    pixels = pixels + (1 - L1_SHARE) * (1 - ms_ssim(frames, target))
    spectrum = torch.view_as_real(torch.fft.fft2(frames - target))
    return PIXEL_WEIGHT * pixels + spectrum.abs().mean()


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM, with fewer scales and a smaller window where the picture is small.

    A picture of at least 161 pixels a side is measured as in the literature, with five scales and
    a window of 11; a smaller one with as many scales as leave the window inside the picture.
    """
    side = min(a.shape[-2:])
    window = WINDOW if side >= WINDOW else side - 1 + side % 2
    scales = 1
    while scales < len(SCALE_WEIGHTS) and side // 2**scales >= window:
        scales += 1
    weights = a.new_tensor(SCALE_WEIGHTS[:scales])
    weights = weights / weights.sum()
    kernel = _gaussian(window, a)
    factors = []
    for scale in range(scales):
        if scale:
            a, b = (F.avg_pool2d(x, 2, padding=(x.shape[-2] % 2, x.shape[-1] % 2)) for x in (a, b))
        similarity, structure = _ssim(a, b, kernel)
        factors.append(similarity if scale == scales - 1 else structure)
    stacked = torch.stack(factors).clamp_min(1e-6)  # [scales, B, C]
    return (stacked ** weights[:, None, None]).prod(0).mean()


def _ssim(a: Tensor, b: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Mean similarity and its contrast-structure part, ``[B, C]`` each, for values in 0..1."""
    c1, c2 = 0.01**2, 0.03**2
    maps = torch.cat([a, b, a * a, b * b, a * b], 1)
    blurred = _blur(maps, kernel)
    mean_a, mean_b, aa, bb, ab = blurred.chunk(5, 1)
    structure = (2 * (ab - mean_a * mean_b) + c2) / (
        aa - mean_a.square() + bb - mean_b.square() + c2
    )
    similarity = structure * (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    return similarity.mean((2, 3)), structure.mean((2, 3))


def _gaussian(window: int, like: Tensor) -> Tensor:
    x = torch.arange(window, dtype=like.dtype, device=like.device) - window // 2
    kernel = torch.exp(-x.square() / (2 * SIGMA**2))
    return kernel / kernel.sum()


def _blur(x: Tensor, kernel: Tensor) -> Tensor:
    channels = x.shape[1]
    row = kernel.expand(channels, 1, 1, -1)
    x = F.conv2d(x, row, groups=channels)
    return F.conv2d(x, row.transpose(2, 3), groups=channels)


LOSSES = {"squared": squared, "boosted": boosted}
