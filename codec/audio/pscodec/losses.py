"""What PSCodec is trained with: losses and discriminators (DRL-ICT).

Losses of PSCodec: multi-scale mel, multi-resolution STFT, and the SSIM that disentangles.

Discriminator of PSCodec's training: small convolutional networks on log magnitudes of three
resolutions, with least-squares loss and feature matching (as HiFi-Codec, with fewer of them).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.pscodec.config import RATE

MEL_SCALES = ((2048, 128), (1024, 80), (512, 40), (256, 20))  # FFT length, bins
STFT_SCALES = (1024, 512, 256)
SSIM_WINDOW = 11
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


@cache
def mel_filters(fft: int, bins: int, rate: int) -> Tensor:
    """``[bins, fft / 2 + 1]``: triangles on the HTK mel scale, 0 Hz to half the rate."""
    top = 2595 * torch.log10(torch.tensor(1 + rate / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), bins + 2) / 2595) - 1)
    frequency = torch.linspace(0, rate / 2, fft // 2 + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequency - left) / (centre - left), (right - frequency) / (right - centre)
    return torch.minimum(rising, falling).clamp_min(0)


def magnitude(wave: Tensor, fft: int) -> Tensor:
    """``[B, samples]`` -> ``[B, fft / 2 + 1, frames]``, hop a quarter."""
    window = torch.hann_window(fft, device=wave.device)
    spectrum = torch.stft(wave, fft, fft // 4, window=window, return_complex=True)
    return spectrum.abs().clamp_min(1e-7)


def spectral_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """L1 between log mels of four resolutions, plus linear and log magnitudes of three."""
    loss = found.new_zeros(())
    for fft in sorted({s for s, _ in MEL_SCALES} | set(STFT_SCALES)):
        a, b = magnitude(found, fft), magnitude(wanted, fft)
        for bins in (n for s, n in MEL_SCALES if s == fft):
            filters = mel_filters(fft, bins, RATE).to(a)
            p, q = (torch.log((filters @ x).clamp_min(1e-5)) for x in (a, b))
            loss = loss + F.l1_loss(p, q) / len(MEL_SCALES)
        if fft in STFT_SCALES:
            convergence = (a - b).norm() / b.norm().clamp_min(1e-3)
            logs = F.l1_loss(a.clamp_min(1e-5).log(), b.clamp_min(1e-5).log())
            loss = loss + 0.3 * (convergence + 0.3 * logs) / len(STFT_SCALES)
    return loss


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of the magnitudes of two feature maps ``[B, T, C]``, in -1..1, over windows of 11
    frames (Wang et al. 2004, eq. 13, in one dimension). Maps are scaled to unit mean."""
    a, b = (x.abs().transpose(1, 2) for x in (a, b))
    a, b = (x / x.mean((1, 2), keepdim=True).clamp_min(1e-6) for x in (a, b))
    size = min(SSIM_WINDOW, a.shape[2])

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool1d(x, size, 1)

    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    cov = mean(a * b) - mu_a * mu_b
    score = (2 * mu_a * mu_b + SSIM_C1) * (2 * cov + SSIM_C2)
    score = score / ((mu_a**2 + mu_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2))
    return score.mean()


CHANNELS = 16


class Discriminator(nn.Module):
    """Scores and features of recordings ``[B, samples]``."""

    def __init__(self) -> None:
        super().__init__()

        def network() -> nn.ModuleList:
            layers = [nn.Conv2d(1, CHANNELS, (9, 3), (2, 1), (4, 1))]
            layers += [
                nn.Conv2d(CHANNELS, CHANNELS, (9, 3), (2, stride), (4, 1)) for stride in (1, 2, 1)
            ]
            return nn.ModuleList([*layers, nn.Conv2d(CHANNELS, 1, 3, padding=1)])

        self.networks = nn.ModuleList(network() for _ in STFT_SCALES)

    def forward(self, wave: Tensor) -> list[list[Tensor]]:
        """Per resolution the outputs of all layers; the last one is the score map."""
        found = []
        for fft, layers in zip(STFT_SCALES, self.networks, strict=True):
            assert isinstance(layers, nn.ModuleList)
            x = magnitude(wave, fft).clamp_min(1e-4).log()[:, None]
            outputs = []
            for layer in layers:
                x = layer(x)
                outputs.append(x)
                x = F.leaky_relu(x, 0.2)
            found.append(outputs)
        return found


def discriminator_loss(real: list[list[Tensor]], false: list[list[Tensor]]) -> Tensor:
    """Least squares: real ones score 1, decoded ones 0."""
    losses = [(1 - r[-1]).square().mean() + f[-1].square().mean()
              for r, f in zip(real, false, strict=True)]  # fmt: skip
    return torch.stack(losses).mean()


def generator_loss(real: list[list[Tensor]], false: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    """Adversarial loss and feature matching."""
    scores = [(1 - f[-1]).square().mean() for f in false]
    matches = [
        F.l1_loss(b, a.detach()) / a.detach().abs().mean().clamp_min(1e-3)
        for r, f in zip(real, false, strict=True)
        for a, b in zip(r[:-1], f[:-1], strict=True)
    ]
    return torch.stack(scores).mean(), torch.stack(matches).mean()
