"""Spectrograms: the analysis side (patches for the encoder) and the synthesis side (vocoder).

Both are logarithms of mel magnitudes with centred zero padding, so that ``n`` hops of samples give
exactly ``n`` frames. They differ in rate: 10 ms by 128 bands for the encoder, as in SemantiCodec
(Liu et al. 2024, arXiv 2405.00233, section III), 16 ms by 80 bands for the vocoder, because a
frame every 256 samples costs the vocoder 40 % less.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from laconic.codec.audio.small.config import BANDS, MEL_BANDS, MEL_HOP, RATE

FLOOR = 1e-5  # of mel magnitudes before the logarithm
ANALYSIS_HOP = 160
ANALYSIS_WINDOW = 400  # 25 ms
FFT = 1024
ANALYSIS_MEAN, ANALYSIS_SCALE = -7.0, 2.5  # about the mean and deviation of speech


def mel_bank(bands: int) -> Tensor:
    """Slaney's filters ``[FFT / 2 + 1, bands]`` up to half the rate."""
    # Constants: they need memory also where a network is sketched without any.
    with torch.device("cpu"), warnings.catch_warnings():
        # The lowest filters may fall between two bins.
        warnings.simplefilter("ignore")
        bank: Tensor = melscale_fbanks(
            FFT // 2 + 1, 0.0, RATE / 2, bands, RATE, norm="slaney", mel_scale="slaney"
        )
    return bank


class LogMel(nn.Module):
    """``[B, samples]`` -> ``[B, samples / hop, bands]``, natural logarithms."""

    window: Tensor
    bank: Tensor

    def __init__(self, bands: int, hop: int, window: int) -> None:
        super().__init__()
        self.hop = hop
        left = (FFT - window) // 2
        padded = F.pad(torch.hann_window(window), (left, FFT - window - left))
        self.register_buffer("window", padded, persistent=False)
        self.register_buffer("bank", mel_bank(bands), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        edge = FFT - self.hop
        padded = F.pad(wave.float(), (edge // 2, edge - edge // 2))
        spectrum = torch.stft(
            padded, FFT, self.hop, window=self.window, center=False, return_complex=True
        )
        magnitude = torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-14).sqrt()
        mel = (magnitude.transpose(1, 2) @ self.bank).float()  # half precision in training
        return mel.clamp(min=FLOOR).log()


class Analysis(LogMel):
    """What the encoder sees: ``[B, samples / 160, 128]``, about zero mean and unit variance."""

    def __init__(self) -> None:
        super().__init__(BANDS, ANALYSIS_HOP, ANALYSIS_WINDOW)

    def forward(self, wave: Tensor) -> Tensor:
        return (super().forward(wave) - ANALYSIS_MEAN) / ANALYSIS_SCALE


class Synthesis(LogMel):
    """What the vocoder hears: ``[B, samples / 256, 80]``."""

    def __init__(self) -> None:
        super().__init__(MEL_BANDS, MEL_HOP, FFT)
