"""Vocoder: log-mel frames to samples through an inverse STFT.

Vocos (Siuzdak 2023, arXiv 2306.00814): ConvNeXt blocks at the frame rate predict a magnitude and a
phase per bin, so nothing is ever up-sampled by convolutions; that makes it an order of magnitude
faster on a processor than HiFi-GAN.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.small.config import MEL_BANDS, MEL_HOP
from laconic.codec.audio.small.frontend import FFT
from laconic.codec.audio.small.layers import ConvBlock

MEL_MEAN, MEL_SCALE = -6.0, 2.5  # about the mean and deviation of log-mel frames


class InverseStft(nn.Module):
    """``[B, T, FFT / 2 + 1]`` complex -> ``[B, T * 256]``: overlap-add with 384 samples cut from
    both ends, the counterpart of :class:`~laconic.codec.audio.small.frontend.LogMel`."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        frames = torch.fft.irfft(spectrum, FFT, dim=-1) * self.window  # [B, T, FFT]
        wave = overlap_add(frames)
        envelope = overlap_add(self.window.square().expand(1, frames.shape[1], FFT))
        edge = (FFT - MEL_HOP) // 2
        return wave[:, edge:-edge] / envelope[:, edge:-edge]


def overlap_add(frames: Tensor) -> Tensor:
    """``[B, T, FFT]`` -> ``[B, (T - 1) * 256 + FFT]``."""
    batch, count, size = frames.shape
    folds = size // MEL_HOP
    parts = frames.view(batch, count, folds, MEL_HOP)
    out = frames.new_zeros(batch, count + folds - 1, MEL_HOP)
    for i in range(folds):
        out[:, i : i + count] += parts[:, :, i]
    return out.reshape(batch, -1)


class Vocoder(nn.Module):
    """``[B, T, 80]`` natural log-mel -> ``[B, T * 256]`` samples."""

    def __init__(self, dim: int, depth: int, channels: int = MEL_BANDS) -> None:
        super().__init__()
        self.stem = nn.Conv1d(channels, dim, 7, padding=3)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.ModuleList(ConvBlock(dim, 3 * dim, 1 / depth) for _ in range(depth))
        self.last = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, 3 * (FFT // 2 + 1))
        self.inverse = InverseStft()

    def forward(self, mel: Tensor) -> Tensor:
        x = (mel - MEL_MEAN) / MEL_SCALE
        x = self.norm(self.stem(x.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        level, real, imaginary = self.head(self.last(x)).float().chunk(3, dim=-1)
        magnitude = level.clamp(max=6.0).exp()
        # The phase is the direction of a vector: no wrapping, no sine of a large number.
        norm = torch.sqrt(real.square() + imaginary.square() + 1e-6)
        phase = torch.complex(real / norm, imaginary / norm)
        wave: Tensor = self.inverse(magnitude * phase)
        return wave


def spectral_distance(x: Tensor, y: Tensor) -> Tensor:
    """Multi-resolution STFT distance: spectral convergence and log magnitudes (Yamamoto et al.
    2020, equations 6 and 7) of ``[B, samples]``."""
    total = x.new_zeros(())
    for size in (256, 512, 1024):
        window = torch.hann_window(size, device=x.device)
        p, q = (
            torch.view_as_real(
                torch.stft(s, size, size // 4, window=window, center=False, return_complex=True)
            )
            .square()
            .sum(-1)
            .clamp(min=1e-9)
            .sqrt()
            for s in (x, y)
        )
        convergence = torch.linalg.vector_norm(p - q) / torch.linalg.vector_norm(q)
        total = total + convergence + F.l1_loss(p.log(), q.log())
    return total / 3
