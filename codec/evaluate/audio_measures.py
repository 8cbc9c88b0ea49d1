"""Measures of decoded recordings: distances of spectra and waveforms, models of hearing, and what
becomes of voices. PESQ, STOI, ViSQOL and most measures of voices need extras.

The two spectral distances are those that the neural audio codecs report: L1 between log10
magnitudes of several window lengths (Descript Audio Codec, arXiv 2306.06546; SemantiCodec, arXiv
2405.00233). SI-SDR (Le Roux et al., arXiv 1811.02508) says nothing about generative codecs, whose
waveforms differ where the audio does not.

PESQ, STOI and ViSQOL hardly punish a man's voice that has become a whisper, since they look at
envelopes in wide bands; nor do they hear that all frames of a vocoder begin alike, or that one
speaker has become another. Hence the measures of voices: whether they sound, at which pitch, how
loud, whether the decoder's frames hum, who speaks and in which words. Pitch is Praat's (Boersma
1993), from the package praat-parselmouth. Speakers are compared by the vectors of Wan et al.,
"Generalized end-to-end loss for speaker verification" (ICASSP 2018), with the weights of the
package Resemblyzer; words by those that the recogniser of the package pocketsphinx hears in
English speech.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laconic.formats.audio import Audio, resample
from laconic.formats.errors import ParameterError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

    from laconic.codec.audio.speaker import SpeakerNetwork

WINDOWS = (2048, 512)
MELS = {2048: 150, 512: 80}
FLOOR = 1e-5
LOWEST, HIGHEST = 60.0, 500.0  # Hz
STEP = 0.01  # seconds between frames of pitch
FRAME_RATE = 62.5  # Hz, of the small models' synthesis
ENVELOPE_RATE, ENVELOPE_WINDOW = 1000, 1024  # 62.5 Hz is bin 64
LINES = 4  # harmonics of the frame rate that are looked at
ELSEWHERE = (0.8, 0.87, 0.94, 1.06, 1.13, 1.2)  # of the frame rate: where lines are chance


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


def _pitch(sound: Audio) -> NDArray[np.float64]:
    """Hz of frames every 10 ms, 0 where there is no voice."""
    return _pitch_of(_mono_16k(sound).astype(np.float64).tobytes())


@lru_cache(maxsize=8)
def _pitch_of(samples: bytes) -> NDArray[np.float64]:
    try:
        import parselmouth
    except ImportError as error:
        raise UnsupportedError(
            "the metrics voicing and f0 need the package praat-parselmouth: pip install"
            " praat-parselmouth"
        ) from error
    wave = np.frombuffer(samples)
    if len(wave) < 16000 * 4 / LOWEST:
        raise ParameterError("the audio is too short for a pitch")
    sound = parselmouth.Sound(wave, 16000)
    track = sound.to_pitch_ac(time_step=STEP, pitch_floor=LOWEST, pitch_ceiling=HIGHEST)
    found: NDArray[np.float64] = track.selected_array["frequency"]
    return found


def _pitches(a: Audio, b: Audio) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = _pitch(a), _pitch(b)
    frames = min(len(x), len(y))
    if not x[:frames].any():
        raise ParameterError("there is no voice in the audio")
    return x[:frames], y[:frames]


def voiced_lost(a: Audio, b: Audio) -> float:
    """Share of the voiced frames of ``a`` that have no voice in ``b``, in per cent."""
    x, y = _pitches(a, b)
    return 100 * float((y[x > 0] == 0).mean())


def f0_error(a: Audio, b: Audio) -> float:
    """Mean distance of the pitches in semitones, over frames that are voiced in both."""
    x, y = _pitches(a, b)
    both = (x > 0) & (y > 0)
    if not both.any():
        raise ParameterError("no frame is voiced in both recordings")
    return 12 * float(np.abs(np.log2(y[both] / x[both])).mean())


def level_error(a: Audio, b: Audio) -> float:
    """Distance of the levels (root mean squares) in dB, whichever is louder."""
    levels = [float(np.sqrt((s.samples.astype(np.float64) ** 2).mean())) for s in (a, b)]
    if levels[0] < 1e-7:
        raise ParameterError("the level of silence is not defined")
    return abs(20 * math.log10(max(levels[1], 1e-7) / levels[0]))


def frame_lines(a: Audio, b: Audio) -> float:
    """How far the envelope of ``b`` has lines at multiples of 62.5 Hz that ``a`` has not, in dB
    above what is found at other frequencies by chance; about 0, of either sign, without a hum."""
    before, after = (_envelope_spectrum(_mono_16k(s)) for s in (a, b))
    found = [
        float((_lines(after, FRAME_RATE * share) - _lines(before, FRAME_RATE * share)).max())
        for share in (1.0, *ELSEWHERE)
    ]
    return found[0] - float(np.mean(found[1:]))


def _envelope_spectrum(wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean power spectrum of the envelope, in bins of 1000 / 1024 Hz."""
    block = 16000 // ENVELOPE_RATE
    power = (wave[: len(wave) // block * block].astype(np.float64) ** 2).reshape(-1, block).sum(1)
    if len(power) < ENVELOPE_WINDOW:
        raise ParameterError("the audio is too short for lines of its envelope")
    parts = np.lib.stride_tricks.sliding_window_view(power, ENVELOPE_WINDOW)
    parts = parts[:: ENVELOPE_WINDOW // 4]
    parts = parts / (parts.mean(1, keepdims=True) + 1e-12) - 1
    spectra = np.abs(np.fft.rfft(parts * np.hanning(ENVELOPE_WINDOW))) ** 2
    mean: NDArray[np.float64] = spectra.mean(0) + 1e-12
    return mean


def _lines(spectrum: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Harmonics of ``rate`` over what is beside them, in dB: ``[LINES]``."""
    found = []
    for harmonic in range(1, LINES + 1):
        at = round(harmonic * rate * ENVELOPE_WINDOW / ENVELOPE_RATE)
        beside = np.r_[spectrum[at - 14 : at - 3], spectrum[at + 4 : at + 15]]
        found.append(10 * np.log10(spectrum[at] / np.median(beside)))
    return np.array(found)


def speaker_similarity(a: Audio, b: Audio) -> float:
    """Cosine between the speaker vectors of both, 1 for the same: recordings of one speaker have
    about .85, of two about .55."""
    return float(_speaker_vector(_mono_16k(a)) @ _speaker_vector(_mono_16k(b)))


@cache
def _speaker_network() -> SpeakerNetwork:
    from laconic.codec.audio.speaker import SpeakerNetwork, packaged_weights

    weights = packaged_weights()
    network = SpeakerNetwork()
    network.load_state_dict(weights)
    return network


def _speaker_vector(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vector ``[256]`` of a recording."""
    import torch

    if float(np.sqrt((wave.astype(np.float64) ** 2).mean())) < 1e-7:
        raise ParameterError("there is no speaker in silence")
    found: NDArray[np.float32] = _speaker_network().vector(torch.from_numpy(wave[None]))[0].numpy()
    return found


def word_error(a: Audio, b: Audio) -> float:
    """Edits that turn the words heard in ``b`` into those heard in ``a``, in per cent of the
    latter. For English speech."""
    truth, found = _words(a), _words(b)
    if not truth:
        raise ParameterError("no words are heard in the audio")
    row = list(range(len(found) + 1))
    for i, word in enumerate(truth, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(found, 1):
            best = min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
            diagonal, row[j] = row[j], best
    return 100 * row[-1] / len(truth)


@cache
def _recogniser() -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise UnsupportedError(
            "the metric words needs the package pocketsphinx: pip install pocketsphinx"
        ) from error
    return Decoder(loglevel="FATAL")


def _words(sound: Audio) -> list[str]:
    samples = np.rint(_mono_16k(sound).clip(-1, 1) * 32767).astype("<i2")
    return _words_of(samples.tobytes()) if samples.any() else []  # it hears words in silence


@lru_cache(maxsize=256)
def _words_of(samples: bytes) -> list[str]:
    decoder = _recogniser()
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp()
    return heard.hypstr.split() if heard else []
