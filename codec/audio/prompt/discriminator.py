"""Discriminator of PSCodec's training: small convolutional networks on log magnitudes of three
resolutions, with least-squares loss and feature matching (as HiFi-Codec, with fewer of them)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from laconic.codec.audio.prompt.losses import STFT_SCALES, magnitude

CHANNELS = 16


class Discriminator(nn.Module):
    """Scores and features of sounds ``[B, samples]``."""

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
