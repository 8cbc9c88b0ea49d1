"""Where the harmonics of a pitch lie in the bands of the synthesis spectrogram.

The decoder is told the pitch (:mod:`laconic.codec.audio.pitch`) as what it does to a spectrogram:
how much the log-mel of a flat row of harmonics stands above or below that of noise of equal power.
Bands that hold several harmonics get zero, so the same input serves low and high voices.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from laconic.codec.audio.pitch import LOWEST, MAX_JUMP, PER_OCTAVE, STEPS, hertz
from laconic.codec.audio.semanticodec_small.config import MEL_BANDS, RATE
from laconic.codec.audio.semanticodec_small.mae import FFT, mel_bank

FINE = 4  # rows of the table per step
EVEN = 60  # bands from 3 kHz on, where harmonics are never told apart
LEAST = -3.0  # nepers, between harmonics
# Emphasis of voices of 110 Hz and below and of 200 Hz and above, linear in between.
EMPHASIS_LOW, EMPHASIS_HIGH = 0.7, 0.2
STEP_LOW, STEP_HIGH = (1 + PER_OCTAVE * math.log2(f / LOWEST) for f in (110, 200))


def comb_table() -> Tensor:
    """Log-mel of harmonics over log-mel of noise: ``[FINE * STEPS, 80]``."""
    bank = mel_bank(MEL_BANDS).double().numpy()  # [bins, 80]
    bins = FFT // 2 + 1
    rows = []
    for f0 in hertz(1 + np.arange(FINE * STEPS) / FINE):
        centres = np.arange(f0, RATE / 2 + f0, f0) * FFT / RATE  # in bins
        offsets = np.arange(bins)[None] - centres[:, None]
        near = np.abs(offsets) < 2
        d = np.where(near & (np.abs(np.abs(offsets) - 1) > 1e-6), offsets, 0.5)
        lobe = np.where(near, np.sinc(d) / (1 - d**2), 0.0)
        lobe = np.where(near & (np.abs(np.abs(offsets) - 1) <= 1e-6), 0.5, lobe)
        power = (lobe**2).sum(0)
        # Of equal power: a harmonic stands for f0 of bandwidth, a bin of noise for one bin, 1.5
        # being the noise bandwidth of the window.
        amplitude = np.sqrt(power * f0 * FFT / RATE / 1.5)
        rows.append(np.log(np.maximum(amplitude @ bank, 1e-9) / (np.ones(bins) @ bank)))
    return torch.from_numpy(np.clip(np.stack(rows), LEAST, -LEAST)).float()


class PitchInput(nn.Module):
    """Tracks of pitch -> what is added to the decoder's frames; begins as zero."""

    table: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("table", comb_table(), persistent=False)
        self.into = nn.Linear(MEL_BANDS + 2, width, bias=False)
        nn.init.zeros_(self.into.weight)

    def forward(self, track: Tensor) -> Tensor:
        """``[B, T / 2]`` steps (0 where there is no pitch, -1 where none is known) ->
        ``[B, T, width]``."""
        comb, _ = self._combs(track)
        told = torch.stack([track > 0, track >= 0], dim=-1).repeat_interleave(2, dim=1)
        added: Tensor = self.into(torch.cat([comb, told.to(comb.dtype)], dim=-1))
        return added

    def emphasis(self, track: Tensor) -> Tensor:
        """What brings out the harmonics of a decoded log-mel, ``[B, T, 80]``: a regression flattens
        them where it is unsure, those of low voices most. The counterpart of the pitch postfilter
        of speech coders (Chen and Gersho 1995, "Adaptive postfiltering for quality enhancement of
        coded speech", section V)."""
        comb, steps = self._combs(track)
        octaves = (steps - STEP_LOW) / (STEP_HIGH - STEP_LOW)
        strength = EMPHASIS_LOW + (EMPHASIS_HIGH - EMPHASIS_LOW) * octaves.clamp(0, 1)
        # Bands of many harmonics lie evenly below noise of equal power: they stay as they are.
        return strength[..., None] * (comb - comb[..., EVEN:].mean(-1, keepdim=True))

    def _combs(self, track: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the table ``[B, T, 80]``, zero without pitch, and steps ``[B, T]``."""
        values = track.float()
        padded = torch.cat([values[:, :1], values, values[:, -1:]], dim=1)

        def toward(other: Tensor) -> Tensor:
            close = ((other - values).abs() <= MAX_JUMP) & (other > 0)
            return values + 0.25 * torch.where(close, other - values, 0.0)

        pair = torch.stack([toward(padded[:, :-2]), toward(padded[:, 2:])], dim=-1)
        steps = pair.flatten(1)  # [B, T], frames lie a quarter of a knot from its middle
        voiced = (track > 0).repeat_interleave(2, dim=1)
        index = ((steps - 1) * FINE).round().long().clamp(0, len(self.table) - 1)
        return torch.where(voiced[..., None], self.table[index], 0.0), steps
