"""Distances of recordings: log-mel, multi-resolution STFT, SI-SDR; PESQ, STOI, ViSQOL as extras.

The two spectral distances are those that the neural audio codecs report: L1 between log10
magnitudes of several window lengths (Descript Audio Codec, arXiv 2306.06546; SemantiCodec, arXiv
2405.00233). SI-SDR (Le Roux et al., arXiv 1811.02508) says nothing about generative codecs, whose
waveforms differ where the audio does not.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.audio import Audio, resample
from laconic.formats.errors import ParameterError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

WINDOWS = (2048, 512)
MELS = {2048: 150, 512: 80}
FLOOR = 1e-5


def _pair(a: Audio, b: Audio) -> tuple[Tensor, Tensor]:
    import torch

    if a.samples.shape != b.samples.shape or a.rate != b.rate:
        raise ParameterError(
            f"recordings of {list(a.samples.shape)} at {a.rate} Hz and {list(b.samples.shape)} at"
            f" {b.rate} Hz cannot be compared: expected equal shapes and rates"
        )
    return torch.from_numpy(a.samples), torch.from_numpy(b.samples)


def _magnitudes(x: Tensor, window: int) -> Tensor:
    """``[C, N]`` -> ``[C, window / 2 + 1, frames]``; hop length window / 4."""
    import torch

    if x.shape[1] < window:
        x = torch.nn.functional.pad(x, (0, window - x.shape[1]))
    spectrum = torch.stft(x, window, window // 4, window=torch.hann_window(window),
                          return_complex=True)  # fmt: skip
    return spectrum.abs()


def stft_distance(a: Audio, b: Audio) -> float:
    """Mean over two windows of the L1 distance of log10 magnitudes plus that of magnitudes."""
    x, y = _pair(a, b)
    total = 0.0
    for window in WINDOWS:
        p, q = _magnitudes(x, window), _magnitudes(y, window)
        logs = (p.clamp(min=FLOOR).log10() - q.clamp(min=FLOOR).log10()).abs().mean()
        total += float(logs + (p - q).abs().mean())
    return total / len(WINDOWS)


def mel_distance(a: Audio, b: Audio) -> float:
    """Mean over two windows of the L1 distance of log10 mel spectra (Slaney's scale and norm)."""
    x, y = _pair(a, b)
    total = 0.0
    for window in WINDOWS:
        bank = _mel_bank(window, a.rate)
        p, q = (
            (bank.T @ _magnitudes(signal, window)).clamp(min=FLOOR).log10() for signal in (x, y)
        )
        total += float((p - q).abs().mean())
    return total / len(WINDOWS)


@cache
def _mel_bank(window: int, rate: int) -> Tensor:
    """Filters ``[window / 2 + 1, mels]``."""
    from laconic.codec.audio.semanticodec_small.mae import mel_bank

    return mel_bank(MELS[window], window, rate)


def si_sdr(a: Audio, b: Audio) -> float:
    """Scale-invariant signal-to-distortion ratio of ``b`` in dB, mean over channels."""
    _pair(a, b)
    values = []
    for reference, estimate in zip(a.samples.astype(float), b.samples.astype(float), strict=True):
        reference, estimate = reference - reference.mean(), estimate - estimate.mean()
        energy = float(reference @ reference)
        if energy == 0:
            raise ParameterError("SI-SDR is not defined for silence")
        target = (estimate @ reference / energy) * reference
        noise = float(((estimate - target) ** 2).sum())
        signal = float((target**2).sum())
        values.append(math.inf if noise == 0 else 10 * math.log10(max(signal, 1e-30) / noise))
    return float(np.mean(values))


def _mono_16k(audio: Audio) -> NDArray[np.float32]:
    mono = Audio(audio.samples.mean(0, keepdims=True, dtype=np.float32), audio.rate)
    return resample(mono, 16000).samples[0]


def pesq_wb(a: Audio, b: Audio) -> float:
    """Wide-band PESQ (ITU-T P.862.2), of speech. Needs the package pesq."""
    try:
        import pesq
    except ImportError as error:
        raise UnsupportedError(
            "the metric pesq needs the package pesq: pip install pesq"
        ) from error
    try:
        return float(pesq.pesq(16000, _mono_16k(a), _mono_16k(b), "wb"))
    except (pesq.NoUtterancesError, pesq.BufferTooShortError) as error:
        raise ParameterError(f"PESQ is not defined for this sound: {error}") from error


def stoi(a: Audio, b: Audio, extended: bool = False) -> float:
    """Short-time objective intelligibility of speech, 0..1. Needs the package pystoi."""
    try:
        from pystoi import stoi as compute
    except ImportError as error:
        raise UnsupportedError(
            "the metrics stoi and estoi need the package pystoi: pip install pystoi"
        ) from error
    return float(compute(_mono_16k(a), _mono_16k(b), 16000, extended=extended))


def visqol(a: Audio, b: Audio) -> float:
    """ViSQOL in speech mode with the polynomial map, at 16 kHz. Needs the package visqol-python."""
    api = _visqol()
    reference, degraded = (_mono_16k(s).astype(np.float64) for s in (a, b))
    return float(api.measure_from_arrays(reference, degraded, 16000).moslqo)


@cache
def _visqol() -> Any:
    try:
        from visqol import VisqolApi
    except ImportError as error:
        raise UnsupportedError(
            "the metric visqol needs the package visqol-python: pip install visqol-python"
        ) from error
    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=False)
    return api
