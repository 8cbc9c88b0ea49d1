"""From decoded mels to a waveform in the small SemantiCodec.

Vocoder: log-mel frames to samples through an inverse STFT.

Vocos (Siuzdak 2023, arXiv 2306.00814): ConvNeXt blocks at the frame rate predict a magnitude and a
phase per bin, so nothing is ever up-sampled by convolutions; that makes it an order of magnitude
faster on a processor than HiFi-GAN.

Makes the vocoder's samples keep to the spectrogram they were made from.

A vocoder that has been trained briefly places its phases so that overlapping frames cancel in part:
the samples' own spectrogram is then not the one that was asked for. Griffin and Lim (1984, "Signal
estimation from modified short-time Fourier transform") repair that by imposing the magnitudes and
keeping the phases, again and again. Only mel bands are known here, so each round multiplies every
bin by the ratio of wanted to found in the bands around it:

    X <- X * exp(sum_b w_b (log mel_b - log mel_b(x))),    x <- inverse STFT of X

Plain rounds crawl; the fast ones take their phases from beyond the last step (Perraudin, Balazs and
Soendergaard 2013, "A fast Griffin-Lim algorithm", algorithm 2):

    c_n = P(t_{n-1}),    t_n = |c_n| exp(..) at the phases of c_n + a (c_n - c_{n-1})

Flow-matching refiner: the detail that a regression averages away, in a few steps.

Conditional flow matching (Lipman et al. 2023, arXiv 2210.02747) on straight paths

    x_t = (1 - t) x_0 + t x_1,    v = x_1 - x_0                        (equations 22 and 23)

from x_0 = the decoded spectrogram plus noise to x_1 = the true one. Starting at the regression and
not at noise leaves so little to do that two to four Euler steps suffice. The noise comes from a
generator whose stream is frozen (NEP 19), so that a seed means the same everywhere.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.config import MEL_BANDS, MEL_HOP, SmallConfig
from laconic.codec.audio.semanticodec_small.mae import FFT, FLOOR, ConvBlock, mel_bank

MEL_MEAN, MEL_SCALE = -6.0, 2.5  # about the mean and deviation of log-mel frames


class InverseStft(nn.Module):
    """``[B, T, FFT / 2 + 1]`` complex -> ``[B, T * 256]``: overlap-add with 384 samples cut from
    both ends, the counterpart of :class:`~laconic.codec.audio.semanticodec_small.mae.LogMel`."""

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


ROUNDS = 12
LIMIT = 2.0  # largest change of a band in one round, in nepers
AHEAD = 0.9  # the weight a of fast rounds
KEPT = 64  # bins whose phases are the vocoder's: 1 kHz


class Consistency(nn.Module):
    """``[B, T * 256]`` samples, ``[B, T, 80]`` log-mel -> samples nearer to that spectrogram."""

    bank: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        bank = mel_bank(MEL_BANDS)  # [FFT / 2 + 1, 80]
        weight = bank / bank.amax(0).clamp(min=1e-9)
        # Bins that no band covers keep their level.
        spread = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("spread", spread, persistent=False)
        self.inverse = InverseStft()

    def forward(self, wave: Tensor, mel: Tensor, rounds: int = ROUNDS) -> Tensor:
        """Plain rounds."""
        for _ in range(rounds):
            spectrum = self.spectrum(wave)
            wave = self.inverse(spectrum * self._gain(spectrum.abs(), mel))
        return wave

    def fast(self, wave: Tensor, mel: Tensor, rounds: int) -> Tensor:
        """Fast rounds. Above 1 kHz they begin with random phases: those of a vocoder repeat from
        frame to frame, which hums at the frame rate."""
        spectrum = self.spectrum(wave)
        turns = np.random.RandomState(0).random_sample(spectrum.shape[1:])  # frozen by NEP 19
        phases = 2 * math.pi * torch.from_numpy(turns[:, KEPT:]).to(wave)
        above = torch.polar(
            spectrum[..., KEPT:].abs(), phases.expand_as(spectrum[..., KEPT:].abs())
        )
        spectrum = torch.cat([spectrum[..., :KEPT], above], dim=-1)
        spectrum = self.spectrum(self.inverse(spectrum))
        spectrum = spectrum * self._gain(spectrum.abs(), mel)
        before: Tensor | None = None
        for _ in range(rounds):
            found = self.spectrum(self.inverse(spectrum))
            ahead = found if before is None else found + AHEAD * (found - before)
            magnitude = found.abs()
            wanted = magnitude * self._gain(magnitude, mel)
            spectrum = ahead * (wanted / ahead.abs().clamp(min=1e-9))
            before = found
        return self.inverse(spectrum)

    def spectrum(self, wave: Tensor) -> Tensor:
        """``[B, T * 256]`` samples -> complex spectra ``[B, T, FFT / 2 + 1]`` of the frames."""
        edge = (FFT - MEL_HOP) // 2
        return torch.stft(
            F.pad(wave, (edge, edge)), FFT, MEL_HOP, window=self.inverse.window, center=False,
            return_complex=True,
        ).transpose(1, 2)  # [B, T, FFT / 2 + 1]  # fmt: skip

    def _gain(self, magnitude: Tensor, mel: Tensor) -> Tensor:
        """What brings the bands of ``[B, T, FFT / 2 + 1]`` to ``mel``."""
        found = (magnitude @ self.bank).clamp(min=FLOOR).log()
        return ((mel - found).clamp(-LIMIT, LIMIT) @ self.spread.T).exp()


NOISE = 0.15  # deviation in normalised log-mel, about the regression's own error
TIME_WIDTH = 64


class Refiner(nn.Module):
    """Velocity of ``[B, T, 80]`` spectrograms, given the decoded one."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        dim = config.refiner_dim
        self.stem = nn.Linear(2 * MEL_BANDS, dim)
        self.time = nn.Linear(TIME_WIDTH, 2 * dim * config.refiner_depth)
        self.blocks = nn.ModuleList(
            ConvBlock(dim, 3 * dim, 1 / config.refiner_depth) for _ in range(config.refiner_depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, MEL_BANDS)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.zeros_(self.time.weight)
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, t: Tensor, coarse: Tensor) -> Tensor:
        """Velocity at ``x`` ``[B, T, 80]`` and time ``t`` ``[B]``; all in normalised units."""
        rates = torch.exp(torch.arange(TIME_WIDTH // 2, device=x.device) * -0.2) * 100
        angle = t[:, None] * rates
        modulation = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        parts = modulation[:, None, :].chunk(2 * len(self.blocks), dim=-1)
        y = self.stem(torch.cat([x, coarse], dim=-1))
        for i, block in enumerate(self.blocks):
            y = block(y, parts[2 * i], parts[2 * i + 1])
        velocity: Tensor = self.head(self.norm(y))
        return velocity.float()

    def loss(self, mel: Tensor, coarse: Tensor) -> Tensor:
        """Flow-matching loss for true ``mel`` and decoded ``coarse`` ``[B, T, 80]``."""
        x1, start = (mel - MEL_MEAN) / MEL_SCALE, (coarse - MEL_MEAN) / MEL_SCALE
        x0 = start + NOISE * torch.randn_like(start)
        t = torch.rand(len(x1), device=x1.device)
        x = torch.lerp(x0, x1, t[:, None, None])
        return F.mse_loss(self(x, t, start), x1 - x0)

    def refine(self, coarse: Tensor, steps: int, seed: int) -> Tensor:
        """``steps`` Euler steps from ``coarse`` ``[B, T, 80]``; the noise depends on ``seed`` and
        T alone, not on the batch."""
        start = (coarse - MEL_MEAN) / MEL_SCALE
        noise = np.random.RandomState(seed).standard_normal(start.shape[1:])  # frozen by NEP 19
        x = start + NOISE * torch.from_numpy(noise).to(start)
        for i in range(steps):
            t = torch.full((len(x),), i / steps, device=x.device)
            x = x + self(x, t, start) / steps
        return x * MEL_SCALE + MEL_MEAN
