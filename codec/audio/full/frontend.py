"""The spectrogram that AudioMAE reads: Kaldi-style filter banks with AudioSet's normalisation.

The sound's mean is removed, 128 log mel bins are taken from 25 ms Hann frames every 10 ms, frames
that are missing at the end are zeros *before* the normalisation, as in the public code. Synthesis
uses another spectrogram of 64 bins, which only the VAE and the vocoder know.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from laconic.codec.audio.full.config import FRAMES, MEL_BINS, PATCH_SAMPLES, RATE

MEAN, DEVIATION = -4.2677393, 4.5689974  # of AudioSet
WINDOW_SAMPLES = 64 * PATCH_SAMPLES  # 163,840: 10.24 s
CONSTANT = 1e-7  # frames of smaller deviation than this are padding


def filter_banks(wave: Tensor) -> Tensor:
    """``[B, samples <= 163840]`` at 16 kHz -> ``[B, 1024, 128]``, normalised, float32."""
    from torchaudio.compliance import kaldi

    padded = F.pad(wave.float(), (0, WINDOW_SAMPLES - wave.shape[1]))
    rows = []
    for sound in padded:
        bank = kaldi.fbank(
            (sound - sound.mean())[None],
            htk_compat=True,
            sample_frequency=RATE,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=MEL_BINS,
            dither=0.0,
            frame_shift=10,
        )
        rows.append(F.pad(bank, (0, 0, 0, FRAMES - len(bank)))[:FRAMES])
    return (torch.stack(rows) - MEAN) / (2 * DEVIATION)


def padded_from(mel: Tensor, positions: int) -> Tensor:
    """``[B]``: the first of ``positions`` that lies wholly in the constant frames at the end.

    ``mel`` is ``[B, frames, bins]``; a window without such frames gives ``positions``.
    """
    sounding = mel.std(-1) > CONSTANT  # [B, frames]
    frames = mel.shape[1]
    last = (sounding * torch.arange(1, frames + 1, device=mel.device)).amax(1)
    return torch.ceil(positions * last.double() / frames).long()
