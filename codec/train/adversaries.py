"""Discriminators for the vocoder: periods of the wave and resolutions of its spectrum.

Multi-period (Kong et al. 2020, arXiv 2010.05646, section 2.3) and multi-resolution spectrogram
(Jang et al. 2021, arXiv 2106.07889) discriminators with a tenth of the published channels, because
on a processor they would otherwise cost many times what the vocoder does. Least-squares losses and
feature matching as in HiFi-GAN, equations 1 to 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PERIODS = (2, 3, 5, 7)
RESOLUTIONS = (256, 512, 1024)
SLOPE = 0.1


class PeriodDiscriminator(nn.Module):
    """Two-dimensional convolutions over the wave folded at one period."""

    def __init__(self, period: int, channels: tuple[int, ...] = (8, 24, 48, 64)) -> None:
        super().__init__()
        self.period = period
        widths = zip((1, *channels), channels, strict=False)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in widths
        )
        self.last = nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Features of every layer of ``[B, samples]``, the verdict last."""
        padded = F.pad(wave, (0, -wave.shape[1] % self.period))
        x = padded.view(len(wave), 1, -1, self.period)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return [*features, self.last(x)]


class SpectrumDiscriminator(nn.Module):
    """Convolutions over log magnitudes at one resolution."""

    window: Tensor

    def __init__(self, size: int, channels: int = 16) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, channels, (3, 7), (1, stride), padding=(1, 3))
            for a, stride in ((1, 2), (channels, 2), (channels, 2))
        )
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Features of every layer of ``[B, samples]``, the verdict last."""
        spectrum = torch.stft(
            wave, self.size, self.size // 4, window=self.window, center=False, return_complex=True
        )
        magnitude = torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-8).sqrt()
        x = magnitude.log().transpose(1, 2)[:, None]  # [B, 1, T, bins]
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return [*features, self.last(x)]


class Adversaries(nn.Module):
    """All discriminators."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [PeriodDiscriminator(p) for p in PERIODS]
            + [SpectrumDiscriminator(s) for s in RESOLUTIONS]
        )

    def forward(self, wave: Tensor) -> list[list[Tensor]]:
        """Features per discriminator."""
        return [member(wave) for member in self.members]

    def own_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminators minimise."""
        total = real.new_zeros(())
        both = torch.cat([real, fake.detach()])
        for member in self.members:
            p, q = member(both)[-1].float().chunk(2)
            total = total + (1 - p).square().mean() + q.square().mean()
        return total / len(self.members)

    def generator_loss(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Adversarial and feature-matching loss of the generator."""
        with torch.no_grad():
            truth = self(real)
        adversarial, matching = real.new_zeros(()), real.new_zeros(())
        for p, q in zip(truth, self(fake), strict=True):
            adversarial = adversarial + (1 - q[-1].float()).square().mean()
            for a, b in zip(p[:-1], q[:-1], strict=True):
                scale = a.float().abs().mean() + 1e-4
                matching = matching + F.l1_loss(b.float(), a.float()) / scale / (len(p) - 1)
        return adversarial / len(self.members), matching / len(self.members)
