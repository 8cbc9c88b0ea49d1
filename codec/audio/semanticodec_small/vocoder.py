"""From decoded mels to a waveform in the small SemantiCodec.

Excitation: where frames are short, harmonics of the coded pitch and noise, as in the vocoders of
speech coding (Griffin and Lim 1988, "Multiband excitation vocoder"); no network.

Vocoder: where they are long, log-mel frames to samples through an inverse STFT.

Vocos (Siuzdak 2023, arXiv 2306.00814): ConvNeXt blocks at the frame rate predict a magnitude and a
phase per bin, so nothing is ever up-sampled by convolutions; that makes it an order of magnitude
faster on a processor than HiFi-GAN.

Consistency: makes the samples keep to the spectrogram they were made from.

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
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from laconic.codec.audio.semanticodec_small.config import (
    MEL_BANDS,
    MEL_HOP,
    MEL_WINDOW,
    RATE,
    SmallConfig,
)
from laconic.codec.audio.semanticodec_small.mae import FFT, FLOOR, ConvBlock, mel_bank
from laconic.codec.audio.side_information import HOP as PITCH_HOP
from laconic.codec.audio.side_information import Track, hertz

MEL_MEAN, MEL_SCALE = -6.0, 2.5  # about the mean and deviation of log-mel frames


class InverseStft(nn.Module):
    """``[B, T, FFT / 2 + 1]`` complex -> ``[B, T * hop]``: overlap-add of the frames' middles with
    what reaches beyond them cut from both ends, the counterpart of
    :class:`~laconic.codec.audio.semanticodec_small.mae.LogMel`."""

    window: Tensor

    def __init__(self, hop: int = MEL_HOP, window: int = MEL_WINDOW) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(window), persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        size = len(self.window)
        left = (FFT - size) // 2
        frames = torch.fft.irfft(spectrum, FFT, dim=-1)[..., left : left + size] * self.window
        wave = overlap_add(frames, self.hop)
        envelope = overlap_add(self.window.square().expand(1, frames.shape[1], size), self.hop)
        edge = (size - self.hop) // 2
        return wave[:, edge:-edge] / envelope[:, edge:-edge]


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """``[B, T, window]`` -> ``[B, (T - 1) * hop + window]``."""
    batch, count, size = frames.shape
    folds = size // hop
    parts = frames.reshape(batch, count, folds, hop)
    out = frames.new_zeros(batch, count + folds - 1, hop)
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
IMPOSED = 2  # times that an excitation is brought to the spectrogram before the rounds
HARMONIC = 4000.0  # Hz; harmonics of an excitation end there
PERIOD = 1 << 18  # samples of noise, 16 s
KEPT = 64  # bins whose phases are the vocoder's: 1 kHz


class Excitation(nn.Module):
    """What takes the place of a vocoder's phases where frames are short: a flat row of harmonics of
    the pitch, noise above them and where there is no pitch, all of the same power per hertz.

    Rounds of consistency give it the spectrogram. Frames of 32 ms every 8 ms say nearly all about a
    sound (those of 64 ms every 16 ms do not: a pulse may lie anywhere in them), so little is left
    for a network to know. Windows that overlap have the same excitation, but for a voice that sets
    in before one of them.
    """

    def forward(self, samples: int, track: Tensor | None, batch: int, start: int = 0) -> Tensor:
        """``[batch, samples]`` for a pitch ``[batch, samples / 512]``; ``start`` is the number of
        the first sample in the recording."""
        index = np.arange(start, start + samples) % PERIOD
        noise, high = (table[index] for table in _noise())
        found = np.tile(noise, (batch, 1))
        if track is not None:
            for row, steps in zip(found, track.cpu().numpy(), strict=True):
                for first, end in _runs(steps > 0):
                    at = slice(first * PITCH_HOP, end * PITCH_HOP)
                    row[at] = _harmonics(steps[first:end]) + high[at]
        return torch.from_numpy(found.astype(np.float32))


@cache
def _noise() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """White noise of unit deviation, and what of it lies above the harmonics."""
    noise = np.random.RandomState(0).standard_normal(PERIOD)  # frozen by NEP 19
    spectrum = np.fft.rfft(noise)
    spectrum[: round(HARMONIC / RATE * PERIOD)] = 0
    return noise, np.fft.irfft(spectrum, PERIOD)


def _runs(voiced: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First knots of voices, and the knots behind them: ``[n, 2]``."""
    edges: NDArray[np.int64] = np.flatnonzero(np.diff(voiced, prepend=False, append=False))
    return edges.reshape(-1, 2)


def _harmonics(steps: Track) -> NDArray[np.float64]:
    """A sum of cosines of the harmonics up to ``HARMONIC``, of the power per hertz of white noise
    of unit deviation, for the pitch of one voice ``[knots]``."""
    middles = (np.arange(len(steps)) + 0.5) * PITCH_HOP
    f0 = np.interp(np.arange(len(steps) * PITCH_HOP), middles, hertz(steps))
    phase = np.cumsum(2 * np.pi * f0 / RATE)
    count = np.floor(HARMONIC / f0)
    half = np.sin(phase / 2)
    flat = np.abs(half) < 1e-6
    # Of cos(k phase) over k = 1 to count.
    total = np.sin(count * phase / 2) * np.cos((count + 1) * phase / 2) / np.where(flat, 1.0, half)
    found: NDArray[np.float64] = np.where(flat, count, total) * np.sqrt(4 * f0 / RATE)
    return found


class Consistency(nn.Module):
    """``[B, T * hop]`` samples, ``[B, T, 80]`` log-mel -> samples nearer to that spectrogram."""

    bank: Tensor
    spread: Tensor

    def __init__(self, hop: int = MEL_HOP, window: int = MEL_WINDOW) -> None:
        super().__init__()
        bank = mel_bank(MEL_BANDS)  # [FFT / 2 + 1, 80]
        weight = bank / bank.amax(0).clamp(min=1e-9)
        # Bins that no band covers keep their level.
        spread = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("spread", spread, persistent=False)
        self.inverse = InverseStft(hop, window)

    def forward(self, wave: Tensor, mel: Tensor, rounds: int = ROUNDS) -> Tensor:
        """Plain rounds."""
        for _ in range(rounds):
            spectrum = self.spectrum(wave)
            wave = self.inverse(spectrum * self._gain(spectrum.abs(), mel))
        return wave

    def sounding(self, excitation: Tensor, mel: Tensor, rounds: int) -> Tensor:
        """Fast rounds that begin with the phases of an excitation ``[B, T * hop]``; bins that no
        band covers, 0 and 8 kHz, begin as zero."""
        spectrum = self.spectrum(excitation) * (self.spread.sum(1) > 0)
        for _ in range(IMPOSED):
            found = (spectrum.abs() @ self.bank).clamp(min=FLOOR).log()
            spectrum = spectrum * ((mel - found) @ self.spread.T).exp()
        return self._rounds(spectrum, mel, rounds)

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
        return self._rounds(spectrum * self._gain(spectrum.abs(), mel), mel, rounds)

    def _rounds(self, spectrum: Tensor, mel: Tensor, rounds: int) -> Tensor:
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
        """``[B, T * hop]`` samples -> complex spectra ``[B, T, FFT / 2 + 1]`` of the frames."""
        hop, window = self.inverse.hop, self.inverse.window
        edge, left = (FFT - hop) // 2, (FFT - len(window)) // 2
        return torch.stft(
            F.pad(wave, (edge, edge)), FFT, hop, window=F.pad(window, (left, left)), center=False,
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
