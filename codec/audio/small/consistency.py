"""Makes the vocoder's samples keep to the spectrogram they were made from.

A vocoder that has been trained briefly places its phases so that overlapping frames cancel in part:
the samples' own spectrogram is then not the one that was asked for. Griffin and Lim (1984, "Signal
estimation from modified short-time Fourier transform") repair that by imposing the magnitudes and
keeping the phases, again and again. Only mel bands are known here, so each round multiplies every
bin by the ratio of wanted to found in the bands around it:

    X <- X * exp(sum_b w_b (log mel_b - log mel_b(x))),    x <- inverse STFT of X

Plain rounds crawl; the fast ones take their phases from beyond the last step (Perraudin, Balazs and
Soendergaard 2013, "A fast Griffin-Lim algorithm", algorithm 2):

    c_n = P(t_{n-1}),    t_n = |c_n| exp(..) at the phases of c_n + a (c_n - c_{n-1})
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from laconic.codec.audio.small.config import MEL_BANDS, MEL_HOP
from laconic.codec.audio.small.frontend import FFT, FLOOR, mel_bank
from laconic.codec.audio.small.vocoder import InverseStft

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
            spectrum = self._spectrum(wave)
            wave = self.inverse(spectrum * self._gain(spectrum.abs(), mel))
        return wave

    def fast(self, wave: Tensor, mel: Tensor, rounds: int) -> Tensor:
        """Fast rounds. Above 1 kHz they begin with random phases: those of a vocoder repeat from
        frame to frame, which hums at the frame rate."""
        spectrum = self._spectrum(wave)
        turns = np.random.RandomState(0).random_sample(spectrum.shape[1:])  # frozen by NEP 19
        phases = 2 * math.pi * torch.from_numpy(turns[:, KEPT:]).to(wave)
        above = torch.polar(
            spectrum[..., KEPT:].abs(), phases.expand_as(spectrum[..., KEPT:].abs())
        )
        spectrum = torch.cat([spectrum[..., :KEPT], above], dim=-1)
        spectrum = self._spectrum(self.inverse(spectrum))
        spectrum = spectrum * self._gain(spectrum.abs(), mel)
        before: Tensor | None = None
        for _ in range(rounds):
            found = self._spectrum(self.inverse(spectrum))
            ahead = found if before is None else found + AHEAD * (found - before)
            magnitude = found.abs()
            wanted = magnitude * self._gain(magnitude, mel)
            spectrum = ahead * (wanted / ahead.abs().clamp(min=1e-9))
            before = found
        return self.inverse(spectrum)

    def _spectrum(self, wave: Tensor) -> Tensor:
        edge = (FFT - MEL_HOP) // 2
        return torch.stft(
            F.pad(wave, (edge, edge)), FFT, MEL_HOP, window=self.inverse.window, center=False,
            return_complex=True,
        ).transpose(1, 2)  # [B, T, FFT / 2 + 1]  # fmt: skip

    def _gain(self, magnitude: Tensor, mel: Tensor) -> Tensor:
        """What brings the bands of ``[B, T, FFT / 2 + 1]`` to ``mel``."""
        found = (magnitude @ self.bank).clamp(min=FLOOR).log()
        return ((mel - found).clamp(-LIMIT, LIMIT) @ self.spread.T).exp()
